"""Tables of everything measured: every score, and all models under one protocol."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from harness.comparison import protocols, reported, words
from harness.comparison.reported import Ledger
from harness.comparison.table_formats import NONE, Table
from harness.config import schema
from harness.records.results import Results
from harness.records.score_record import compared_fields

REFERENCE_SCORERS = ("tf", "torch")  # TF-Inception numbers, best first
ONE_PROTOCOL = tuple(name for name in compared_fields("fid") if name != "snapshot")  # that models are ranked under
SHOWN = (  # scorer, column of `Results.scores`, heading, digits
    ("tf", "is_mean", "TF IS", 2),
    ("tf", "fid", "TF FID", 2),
    ("torch", "is_mean", "torch IS", 2),
    ("torch", "fid", "torch FID", 2),
    ("clean", "fid", "clean FID", 2),
    ("clean", "kid", "clean KID", 4),
)


def cost(training: pd.DataFrame, experiment: str, seeds: Iterable[int]) -> dict[str, str]:
    """Return device hours and images seen of some seeds of an experiment, summed; hours on a CPU say so."""
    mine = training[(training["experiment"] == experiment) & training["seed"].isin(list(seeds))]
    if mine.empty:
        return {"GPU h": NONE, "images seen": NONE}
    on_cpu = mine["device"].str.startswith("cpu")
    gpu, cpu = mine.loc[~on_cpu, "device_sec"].sum() / 3600, mine.loc[on_cpu, "device_sec"].sum() / 3600
    hours = f"{gpu:.2f}" if not on_cpu.any() else f"{gpu:.2f} (and {cpu:.2f} on CPU)"
    return {"GPU h": hours, "images seen": words.count(mine["nimg"].sum())}


def runs_table(results: Results, experiments: Mapping[str, schema.Experiment]) -> Table:
    """Return every score there is, with its protocol in short, whether or not the paper has a row for it.

    One line per dump and images it was scored against; a column for each scorer's IS, FID or KID.
    """
    lines = []
    keys = ["experiment", "seed", "nimg", "snapshot", *(name for name in ONE_PROTOCOL if name != "resizer")]
    for _, part in results.scores.groupby(keys, sort=True, dropna=False):
        first = part.iloc[0].to_dict()
        experiment = experiments.get(first["experiment"])
        tables = dict.fromkeys(link.split("/")[0] for link in (experiment.reported if experiment else ()))
        lines.append(
            {
                "experiment": first["experiment"],
                "seed": str(first["seed"]),
                "snapshot": first["snapshot"],
                "images seen": words.count(first["nimg"]),
                **{
                    title: words.mean_sd(part.loc[part["scorer"] == scorer, column], digits)
                    for scorer, column, title, digits in SHOWN
                },
                "protocol": words.measured_protocol(first),
                "caveats": ", ".join(words.caveats(first)) or NONE,
                "reported in": ", ".join(tables) or protocols.NO_ROW,
                "GPU h": cost(results.training, first["experiment"], [first["seed"]])["GPU h"],
            }
        )
    note = "TF and torch: the 2015 Inception with TensorFlow's resize; clean: clean-fid's. GPU h is the training's."
    return Table("runs", "Every measured score", pd.DataFrame(lines), note)


# ---------------------------------------------------------------- one protocol for all


def common_nimg(scores: pd.DataFrame) -> int | None:
    """Return the largest number of images seen that every trained experiment has a snapshot at; None if there is none.

    Only scores of which some experiment has several snapshots need one: None if each has a single one. A chosen
    snapshot (`best`) is none of them.
    """
    trained = scores[(scores["snapshot"] != "best") & (scores["planned_nimg"] > 0)]
    lengths = [set(part["nimg"]) for _, part in trained.groupby("experiment")]
    if not lengths or max(map(len, lengths)) == 1:
        return None
    return max(map(int, set.intersection(*lengths)), default=None)


def compared_snapshots(scores: pd.DataFrame) -> pd.Series:
    """Return which scores stand for their experiments where experiments are compared with each other.

    Those at the largest common snapshot; the last ones where there is no common one. Untrained networks always.
    """
    nimg = common_nimg(scores)
    if nimg is None:
        several = scores.groupby("experiment")["snapshot"].transform("nunique") > 1
        return ~several | (scores["snapshot"] == "last")
    return (scores["planned_nimg"] == 0) | ((scores["nimg"] == nimg) & (scores["snapshot"] != "best"))


def common_note(scores: pd.DataFrame) -> str:
    """Return a sentence on the snapshot at which experiments are compared; empty if each has a single one."""
    nimg = common_nimg(scores)
    return f" Compared with each other after {words.count(nimg)} images, the largest snapshot all have." if nimg else ""


PROTOCOL_COLUMNS = (
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
    "caveats",
)
PROTOCOL_NOTE = (
    "Reported FIDs come from different protocols (sample counts, split, network), so their order means little; "
    "the rank change is where a model goes when all are scored alike. Ranks count models that have both numbers."
)
UNREPORTED: dict[str, Any] = {"reported": None, "FID reported": NONE, "reported protocol": NONE}


def protocol_table(
    results: Results, experiments: Mapping[str, schema.Experiment], ledger: Ledger, unverified: bool = False
) -> Table:
    """Return all models under one protocol per data set, beside what was reported, and how the order changes.

    Per data set the protocol that most experiments share is taken; ranks count only models that have both numbers, at
    the largest snapshot that all have.
    """
    lines: list[dict[str, Any]] = []
    note = PROTOCOL_NOTE
    scores = results.scores[results.scores["scorer"].isin(REFERENCE_SCORERS) & results.scores["fid"].notna()]
    for dataset, part in scores.groupby("dataset", sort=True):
        kinds = part.groupby([*ONE_PROTOCOL, "scorer"], dropna=False).ngroup()
        chosen = part[kinds == part.groupby(kinds)["experiment"].nunique().sort_index().idxmax()]
        compared = compared_snapshots(chosen)
        note += common_note(chosen)
        block = []
        for first, group in protocols.groups(chosen):
            found = _reported_fid(first["experiment"], experiments, ledger, unverified)
            block.append(
                {
                    "data set": dataset,
                    "experiment": first["experiment"],
                    "snapshot": first["snapshot"],
                    "one protocol": f"{words.measured_protocol(first)}, {first['resizer']}",
                    "FID here": float(group["fid"].mean()),
                    "seeds": str(len(group)),
                    "caveats": ", ".join(words.caveats(first)) or NONE,
                    "ranked": bool(compared[group.index].all()),
                    **found,
                }
            )
        lines += _ranked(block)
    return Table("protocol", "All models under one protocol", pd.DataFrame(lines, columns=PROTOCOL_COLUMNS), note)


def _reported_fid(
    experiment: str, experiments: Mapping[str, schema.Experiment], ledger: Ledger, unverified: bool
) -> dict[str, Any]:
    spec = experiments.get(experiment)
    if spec is None:
        return UNREPORTED
    for link in spec.reported:
        for row in reported.reported_rows_for(ledger, link, spec).to_dict("records"):
            if row["metric"] == "fid" and (unverified or row["confidence"] != "unverified"):
                short = reported.short(ledger.protocols[row["protocol"]])
                return {"reported": row["value"], "FID reported": row["printed"], "reported protocol": short}
    return UNREPORTED


def _ranked(block: list[dict[str, Any]]) -> list[dict[str, Any]]:
    block = sorted(block, key=lambda line: (line["FID here"], line["experiment"], line["snapshot"]))
    both = [line for line in block if line["reported"] is not None and line["ranked"]]
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
