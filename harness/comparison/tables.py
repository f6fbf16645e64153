"""Tables of what was reported and what was measured, as data frames of text.

`harness tables` makes the numbers; `harness check` writes the same tables with a verdict in each row, so that a changed
tolerance reruns nothing but check and report.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.comparison import protocols, reported
from harness.comparison.reported import Ledger
from harness.comparison.table_formats import NONE, Table
from harness.config import reader, schema
from harness.records.results import Results

MARK = " †"  # of an unverified reported value
KEY = ("source", "model", "variant", "experiment", "snapshot")
REFERENCE_SCORERS = ("tf", "torch")  # TF-Inception numbers, best first


@dataclass(frozen=True)
class Spec:
    """Which ledger rows make a table (`results/reported/tables.yaml`)."""

    title: str
    ledger: tuple[str, ...]
    keep: dict[str, Any] | None = None


def specs(path: Path) -> dict[str, Spec]:
    """Read the tables' definitions."""
    return {name: reader.read(Spec, value, f"{path}: {name}") for name, value in reader.read_yaml(path).items()}


# ---------------------------------------------------------------- the paper's tables


def paper_table(
    name: str,
    spec: Spec,
    results: Results,
    comparisons: pd.DataFrame,
    book: Ledger,
    experiments: Mapping[str, schema.Experiment],
    unverified: bool = False,
) -> Table:
    """One of the paper's tables: a line per reported row and measurement that answers it; rows without one stay."""
    rows = book.rows[book.rows["table"].isin(spec.ledger)]
    for column, value in (spec.keep or {}).items():
        rows = rows[rows[column] == value]
    if not unverified:
        rows = rows[rows["confidence"] != "unverified"]
    reported: dict[str, list[dict[str, Any]]] = {}  # by link, in the order of the table's definition
    for cell in sorted(rows.to_dict("records"), key=lambda cell: spec.ledger.index(cell["table"])):
        reported.setdefault(cell["link"], []).append(cell)
    lines = []
    for link, cells in reported.items():
        answers = [
            name
            for name, experiment in sorted(experiments.items())
            if link in {r.rstrip("/") for r in experiment.reported}
            and cells[0]["dataset"] == protocols.family(experiment.dataset)
        ]
        measured = _main_groups(results.scores[results.scores["experiment"].isin(answers)]) if answers else []
        said = [_measured(first, group, cells, results, comparisons) for first, group in measured]
        lines += [line | _reported(cells, book) for line in said or [NOT_RUN]]
    note = f"{MARK.strip()} recalled, not verified. " if unverified else ""
    note += (
        "A question mark: presumed, as the source does not say. Differences are shown where protocols can be compared."
    )
    return Table(name, spec.title, pd.DataFrame(lines, columns=PAPER_COLUMNS), note)


PAPER_COLUMNS = (
    "model",
    "variant",
    "experiment",
    "snapshot",
    "IS reported",
    "IS",
    "ΔIS",
    "FID reported",
    "FID",
    "ΔFID",
    "clean FID",
    "clean KID",
    "seeds",
    "GPU h",
    "images seen",
    "comparable",
    "reported protocol",
    "confidence",
    "source",
)


def _reported(cells: list[dict[str, Any]], book: Ledger) -> dict[str, str]:
    first = cells[0]
    printed = {cell["metric"]: cell["printed"] + (MARK if cell["confidence"] == "unverified" else "") for cell in cells}
    order = ("verified", "secondary", "unverified")
    return {
        "source": first["table"],
        "model": first["model"],
        "variant": first["variant"] or NONE,
        "confidence": max((cell["confidence"] for cell in cells), key=order.index),
        "reported protocol": reported.short(book.protocols[first["protocol"]]),
        "IS reported": printed.get("is", NONE),
        "FID reported": printed.get("fid", NONE),
    }


NOT_RUN = dict.fromkeys(PAPER_COLUMNS, NONE) | {"experiment": "not run"}


def _measured(
    first: dict[str, Any],
    group: pd.DataFrame,
    cells: list[dict[str, Any]],
    results: Results,
    comparisons: pd.DataFrame,
) -> dict[str, str]:
    same = (results.scores["experiment"] == first["experiment"]) & (results.scores["snapshot"] == first["snapshot"])
    clean = results.scores[same & (results.scores["scorer"] == "clean")]
    mine = comparisons[
        (comparisons["experiment"] == first["experiment"])
        & (comparisons["snapshot"] == first["snapshot"])
        & (comparisons["scorer"] == first["scorer"])
        & (comparisons["protocol_id"] == first["protocol_id"])
        & (comparisons["table"] == cells[0]["table"])
        & (comparisons["model"] == cells[0]["model"])
        & (comparisons["variant"] == cells[0]["variant"])
    ]
    return {
        "experiment": first["experiment"],
        "snapshot": first["snapshot"],
        "IS": mean_sd(group["is_mean"], 2),
        "FID": mean_sd(group["fid"], 2),
        "clean FID": mean_sd(clean["fid"], 2),
        "clean KID": mean_sd(clean["kid"], 4),
        "ΔIS": _difference(mine, "is"),
        "ΔFID": _difference(mine, "fid"),
        "comparable": _comparable(mine),
        "seeds": str(len(group)),
        **cost(results.training, first["experiment"], group["seed"]),
    }


def _main_groups(scores: pd.DataFrame) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Groups of the best TF-Inception scorer that each (experiment, snapshot) has."""
    kept = []
    for _, part in scores.groupby(["experiment", "snapshot"], sort=True):
        have = [s for s in REFERENCE_SCORERS if s in set(part["scorer"])] or ["clean"]
        kept += protocols.groups(part[part["scorer"] == have[0]])
    return kept


def _difference(lines: pd.DataFrame, metric: str) -> str:
    line = lines[(lines["metric"] == metric) & lines["comparable"].astype(bool)]
    if line.empty:
        return NONE
    values = [float(v) for v in line.iloc[0]["values"].split()]
    return f"{sum(values) / len(values) - line.iloc[0]['reported']:+.2f}"


def _comparable(lines: pd.DataFrame) -> str:
    said = {line["metric"].upper(): comparable_words(line) for line in lines.to_dict("records")}
    if not said:
        return NONE
    if len(set(said.values())) == 1:
        return next(iter(said.values()))
    return "; ".join(f"{metric}: {words}" for metric, words in sorted(said.items()))


def comparable_words(line: Mapping[str, Any]) -> str:
    """`yes`, `presumed (fields)` or `no (fields)` of one comparison."""
    if line["comparable"]:
        return f"presumed ({', '.join(fields(line['presumed'], ' '))})" if line["presumed"] else "yes"
    return f"no ({', '.join(fields(line['reason'], ':'))})"


def fields(text: str, end: str) -> list[str]:
    """Names of the fields in a `reason` or `presumed` text, each once."""
    return list(dict.fromkeys(part.split(end)[0] for part in text.split("; ")))


def cost(training: pd.DataFrame, experiment: str, seeds: Iterable[int]) -> dict[str, str]:
    """Device hours and images seen of some seeds of an experiment, summed; hours on a CPU say so."""
    mine = training[(training["experiment"] == experiment) & training["seed"].isin(list(seeds))]
    if mine.empty:
        return {"GPU h": NONE, "images seen": NONE}
    on_cpu = mine["device"].str.startswith("cpu")
    gpu, cpu = mine.loc[~on_cpu, "device_sec"].sum() / 3600, mine.loc[on_cpu, "device_sec"].sum() / 3600
    hours = f"{gpu:.2f}" if not on_cpu.any() else f"{gpu:.2f} (and {cpu:.2f} on CPU)"
    return {"GPU h": hours, "images seen": count(int(mine["nimg"].sum()))}


def mean_sd(values: pd.Series, digits: int) -> str:
    """`mean`, or `mean ± sd` of several values; a dash if there is none."""
    values = values.dropna().astype(float)
    if values.empty:
        return NONE
    mean = f"{values.mean():.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {values.std():.{digits}f}"


def count(n: int) -> str:
    """A number of images: 640, 10k, 1.5M."""
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if n >= unit:
            return f"{n / unit:.3g}{letter}"
    return str(n)


# ---------------------------------------------------------------- everything measured


SIDES = ("n_fake", "n_real", "dataset", "split", "inception", "layer")
SHOWN = (  # scorer, entry of its JSON, heading, digits
    ("tf", "is_mean", "TF IS", 2),
    ("tf", "fid", "TF FID", 2),
    ("torch", "is_mean", "torch IS", 2),
    ("torch", "fid", "torch FID", 2),
    ("clean", "fid", "clean FID", 2),
    ("clean", "kid", "clean KID", 4),
)


def runs_table(results: Results, experiments: Mapping[str, schema.Experiment]) -> Table:
    """Every score there is, with its protocol in short, whether or not the paper has a row for it.

    One line per dump and images it was scored against; a column for each scorer's IS, FID or KID.
    """
    lines = []
    keys = ["experiment", "seed", "nimg", "snapshot", *SIDES]
    for _, part in results.scores.groupby(keys, sort=True, dropna=False):
        first = part.iloc[0].to_dict()
        experiment = experiments.get(first["experiment"])
        tables = dict.fromkeys(link.split("/")[0] for link in (experiment.reported if experiment else ()))
        lines.append(
            {
                "experiment": first["experiment"],
                "seed": str(first["seed"]),
                "snapshot": first["snapshot"],
                "images seen": count(int(first["nimg"])),
                **{
                    title: mean_sd(part.loc[part["scorer"] == scorer, column], digits)
                    for scorer, column, title, digits in SHOWN
                },
                "protocol": measured_protocol(first),
                "beware": ", ".join(beware(first)) or NONE,
                "answers": ", ".join(tables) or "no paper row",
                "GPU h": cost(results.training, first["experiment"], [first["seed"]])["GPU h"],
            }
        )
    note = "TF and torch: the 2015 Inception with TensorFlow's resize; clean: clean-fid's. GPU h is the training's."
    return Table("runs", "Every measured score", pd.DataFrame(lines), note)


def measured_protocol(row: Mapping[str, Any]) -> str:
    """A measured protocol in a few words, e.g. `2k vs 10k cifar10 train, trunk 768`."""
    real = f"{count(int(row['n_real']))} {row['dataset']} {row['split']}"
    return f"{count(int(row['n_fake']))} vs {real}, {row['inception']} {row['layer']}"


def beware(row: Mapping[str, Any]) -> list[str]:
    """What keeps a score from being held against any reported one."""
    marks = []
    if row["stand_in_data"]:
        marks.append("STAND-IN DATA")
    if row["stand_in_inception"]:
        marks.append("STAND-IN INCEPTION")
    if row["partial"]:
        marks.append(f"partial run ({count(int(row['nimg']))} of {count(int(row['planned_nimg']))})")
    if row["layer"] != 2048:
        marks.append(f"{row['layer']}-channel layer")
    return marks


# ---------------------------------------------------------------- one protocol for all


def protocol_table(
    results: Results, experiments: Mapping[str, schema.Experiment], book: Ledger, unverified: bool = False
) -> Table:
    """All models under one protocol per data set, beside what was reported under many, and how the order changes.

    Per data set the protocol that most experiments share is taken; ranks count only models that have both numbers.
    """
    lines: list[dict[str, Any]] = []
    scores = results.scores[results.scores["scorer"].isin(REFERENCE_SCORERS) & results.scores["fid"].notna()]
    for dataset, part in scores.groupby("dataset", sort=True):
        spread = part.groupby("protocol_id")["experiment"].nunique()
        chosen = part[part["protocol_id"] == spread.sort_index().idxmax()]
        block = []
        for first, group in protocols.groups(chosen):
            reported = _reported_fid(first["experiment"], experiments, book, unverified)
            block.append(
                {
                    "data set": dataset,
                    "experiment": first["experiment"],
                    "snapshot": first["snapshot"],
                    "one protocol": f"{measured_protocol(first)}, {first['resizer']}",
                    "FID here": float(group["fid"].mean()),
                    "seeds": str(len(group)),
                    "beware": ", ".join(beware(first)) or NONE,
                    **reported,
                }
            )
        lines += _ranked(block)
    columns = (
        "data set",
        "rank here",
        "experiment",
        "snapshot",
        "FID here",
        "one protocol",
        "seeds",
        "rank reported",
        "FID reported",
        "reported protocol",
        "rank change",
        "beware",
    )
    return Table("protocol", "All models under one protocol", pd.DataFrame(lines, columns=columns), PROTOCOL_NOTE)


PROTOCOL_NOTE = (
    "Reported FIDs come from different protocols (sample counts, split, network), so their order means little; "
    "the rank change is where a model goes when all are scored alike. Ranks count models that have both numbers."
)


UNREPORTED: dict[str, Any] = {"reported": None, "FID reported": NONE, "reported protocol": NONE}


def _reported_fid(
    experiment: str, experiments: Mapping[str, schema.Experiment], book: Ledger, unverified: bool
) -> dict[str, Any]:
    spec = experiments.get(experiment)
    if spec is None:
        return UNREPORTED
    for link in spec.reported:
        for row in protocols.answered(book, link, spec).to_dict("records"):
            if row["metric"] == "fid" and (unverified or row["confidence"] != "unverified"):
                words = reported.short(book.protocols[row["protocol"]])
                return {"reported": row["value"], "FID reported": row["printed"], "reported protocol": words}
    return UNREPORTED


def _ranked(block: list[dict[str, Any]]) -> list[dict[str, Any]]:
    block = sorted(block, key=lambda line: (line["FID here"], line["experiment"], line["snapshot"]))
    both = [line for line in block if line["reported"] is not None]
    here = {id(line): i + 1 for i, line in enumerate(both)}
    there = {id(line): 1 + sum(other["reported"] < line["reported"] for other in both) for line in both}
    out = []
    for line in block:
        change = there[id(line)] - here[id(line)] if id(line) in here else None
        out.append(
            line
            | {
                "FID here": f"{line['FID here']:.2f}",
                "rank here": str(here.get(id(line), NONE)),
                "rank reported": str(there.get(id(line), NONE)),
                "rank change": NONE if change is None else "same" if change == 0 else f"{change:+d}",
            }
        )
    return out
