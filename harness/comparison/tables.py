"""Tables of what was reported and what was measured: numbers, and what says them in words.

`harness tables` makes the numbers; `harness check` makes the same tables with a verdict in each row, so that a changed
tolerance reruns nothing but check and report.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.comparison import (
    dvc_views,
    foreign,
    miniatures,
    named,
    protocols,
    reported,
    run_tables,
    table_formats,
    tidy_csv,
    uncertainty,
    words,
)
from harness.comparison.reported import Ledger
from harness.comparison.run_tables import REFERENCE_SCORERS
from harness.comparison.table_formats import NONE, Table, Words, as_text, data
from harness.config import experiments as catalogue
from harness.config import protocols as named_protocols
from harness.config import reader, schema
from harness.errors import HarnessError, nearest
from harness.files import write_text
from harness.records import planned
from harness.records import results as records
from harness.records.results import Results

if TYPE_CHECKING:
    from harness.config.experiments import Scale

KEY = ("source", "model", "variant", "experiment", "snapshot")
INDEX = "index.json"


@dataclass(frozen=True)
class Spec:
    """Which ledger rows make a table (`results/reported/tables.yaml`)."""

    title: str
    ledger: tuple[str, ...]
    keep: dict[str, Any] | None = None


@dataclass(frozen=True)
class Measured:
    """A scale's planned scores, held against the ledger: numbers, no verdicts."""

    results: Results
    comparisons: pd.DataFrame
    tables: tuple[Table, ...]
    remarks: tuple[str, ...]  # records left out, and planned seeds that are not there; see `records.planned.split`
    ledger: Ledger
    experiments: Mapping[str, schema.Experiment]
    foreign: pd.DataFrame  # scores made elsewhere that were named, as `foreign.scores` gives them
    others: tuple[Path, ...] = ()  # their files
    overlay: str = ""  # that the scale lays over every recipe

    @property
    def scores(self) -> pd.DataFrame:
        """The planned scores, and below them those made elsewhere."""
        return _below(self.results.scores, self.foreign)

    def tidy(self, frame: pd.DataFrame) -> str:
        """Return a frame of these scores as csv; under an overlay a last column names it."""
        return tidy_csv.text(frame.assign(overlay=self._overlays(frame)) if self.overlay else frame)

    def marked(self, table: Table) -> Table:
        """Return a table that names the overlay of its scores in the title and in a last column; without one, as is."""
        if not self.overlay:
            return table
        marked = table.data.assign(overlay=self._overlays(table.frame))
        words = None if table.words is None else {**table.words, "overlay": as_text("overlay")}
        return replace(table, title=f"{table.title} (overlay: {self.overlay})", data=marked, words=words)

    def _overlays(self, frame: pd.DataFrame) -> list[str]:
        """The overlay of every row: none where nothing was run, or was made elsewhere."""
        without = {NOT_RUN, *self.foreign["experiment"]}
        said = frame.get("experiment", pd.Series("", index=frame.index))
        return ["" if one in without else self.overlay for one in said]


def measure(scale: "Scale", unverified: bool = False, others: Sequence[Path] = ()) -> Measured:
    """Read the records that a scale plans and hold them against the ledger.

    Args:
        unverified: show reported numbers that nobody could verify; they are never compared with.
        others: score records made elsewhere, which become rows of their own.

    Raises:
        HarnessError: no planned scores, or a broken record, ledger or experiment.
    """
    checkout = scale.checkout
    ledger, known = reported.load(checkout.reported), catalogue.load(scale.root)
    protocols.check_links(known, ledger)
    named.check_links(ledger, named_protocols.load(scale.root))
    found, remarks = planned.split(_relative(records.load(scale.out), scale.out), scale)
    if found.scores.empty:
        raise HarnessError(f"{scale.out}: none of its scores is planned by {scale.path}; run `dvc repro` first.")
    datasets = catalogue.load_datasets(scale.root)
    comparisons = protocols.comparisons(found.scores, known, ledger, datasets)
    entries = foreign.read(others)
    theirs = foreign.scores(entries)
    everything = replace(found, scores=_below(found.scores, theirs))
    made = [run_tables.protocol_table(found, known, ledger, unverified), run_tables.runs_table(everything, known)]
    for name, spec in specs(checkout.reported / "tables.yaml", ledger).items():
        made.append(paper_table(name, spec, found, comparisons, ledger, known, unverified))
    comparisons = _below(comparisons, foreign.comparisons(entries, known, ledger, datasets))
    overlay = scale.params.overlay
    out = Measured(found, comparisons, (), tuple(remarks), ledger, known, theirs, tuple(others), overlay)
    return replace(out, tables=tuple(map(out.marked, made)))


def _below(frame: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """Return both frames below each other; whole numbers stay whole where the other frame has none."""
    return pd.concat([frame.astype(object), more.astype(object)], ignore_index=True) if len(more) else frame


def _relative(results: Results, folder: Path) -> Results:
    """Return results whose paths are relative to a folder, so that tables are the same on every machine."""
    frames = (results.scores, results.training, results.curves)
    short = [frame.assign(path=frame["path"].str.removeprefix(f"{folder}/")) for frame in frames]
    return Results(*short)


def specs(path: Path, ledger: Ledger) -> dict[str, Spec]:
    """Read the tables' definitions.

    Raises:
        HarnessError: a ledger table or column that is not there.
    """
    found = {name: reader.read(Spec, value, f"{path}: {name}") for name, value in reader.read_yaml(path).items()}
    tables = set(ledger.rows["table"])
    for name, spec in found.items():
        for table in spec.ledger:
            if table not in tables:
                raise HarnessError(f"{path}: {name}: no ledger table '{table}'.{nearest(table, tables)}")
        for column in spec.keep or {}:
            if column not in ledger.rows:
                raise HarnessError(f"{path}: {name}: keep: no column '{column}'.{nearest(column, ledger.rows)}")
    return found


# ---------------------------------------------------------------- files


def files(measured: Measured, unverified: bool) -> dict[str, str]:
    """Return the tables stage's files: name -> content."""
    out = {name: text for table in measured.tables for name, text in table_formats.files(table).items()}
    out["scores.csv"] = measured.tidy(measured.scores)
    out["comparisons.csv"] = measured.tidy(measured.comparisons)
    named_here = {"foreign": [str(path) for path in measured.others]} if measured.others else {}
    out[INDEX] = index(measured.tables, unverified=unverified, remarks=list(measured.remarks), **named_here)
    return out


def index(tables: tuple[Table, ...], **more: Any) -> str:
    """Return names, titles and notes of tables, in order, and whatever else there is to say, as JSON."""
    entries = [{"name": table.name, "title": table.title, "note": table.note} for table in tables]
    return json.dumps({"tables": entries, **more}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write(scale: "Scale", measured: Measured, unverified: bool = False) -> Path:
    """Write `tables/`, `metrics/` and `plots/` of a scale; return the folder of the tables."""
    for name, text in files(measured, unverified).items():
        write_text(scale.folder.tables / name, text)
    dvc_views.write(scale.folder, measured.results)
    return scale.folder.tables


def differing(folder: Path, expected: Mapping[str, str]) -> list[str]:
    """Return the files of a folder that are missing or other than expected: stale, or edited by hand."""
    return [name for name, text in sorted(expected.items()) if _content(folder / name) != text.encode("utf-8")]


def stale(scale: "Scale", measured: Measured) -> list[str]:
    """Return the files of `tables/` that do not say what the records and the ledger say now."""
    folder = scale.folder.tables
    plain = differing(folder, files(measured, unverified=False))
    if not plain or b'"unverified": true' not in _content(folder / INDEX):
        return plain
    return differing(folder, files(measure(scale, True, measured.others), unverified=True))


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


# ---------------------------------------------------------------- the paper's tables

PAPER: Words = {
    "model": as_text("model"),
    "variant": as_text("variant"),
    "experiment": lambda row: NOT_RUN if row["seeds"] == 0 else row["experiment"],
    "snapshot": as_text("snapshot"),
    "IS reported": words.printed("is"),
    "IS": words.mean_sd("is", 2),
    "ΔIS": words.difference("is"),
    "FID reported": words.printed("fid"),
    "FID": words.mean_sd("fid", 2),
    "ΔFID": words.difference("fid"),
    "clean FID": words.mean_sd("clean_fid", 2),
    "clean KID": words.mean_sd("clean_kid", 4),
    **uncertainty.words({"is": "IS", "fid": "FID", "clean_fid": "clean FID", "clean_kid": "clean KID"}),
    "seeds": lambda row: str(row["seeds"]) if row["seeds"] else NONE,
    "GPU h": words.hours,
    "images seen": lambda row: words.count(row["images_seen"]),
    "comparable": as_text("comparable"),
    "reported protocol": as_text("fid_reported_protocol"),  # in words where there is a ledger
    "confidence": as_text("confidence"),
    "source": as_text("source"),
}
MEANS = ("is", "fid", "clean_fid", "clean_kid")
PAPER_DATA = (
    "scale",
    "source",
    "model",
    "variant",
    "dataset",
    "experiment",
    "snapshot",
    "scorer",
    "protocol_id",
    *reported.columns("is"),
    *reported.columns("fid"),
    "is",
    "is_sd",
    "is_difference",
    "fid",
    "fid_sd",
    "fid_difference",
    "seeds",
    "clean_fid",
    "clean_fid_sd",
    "clean_kid",
    "clean_kid_sd",
    "clean_seeds",
    *uncertainty.columns(MEANS),
    *run_tables.COST,
    "comparable",
    "confidence",
)
NOT_RUN = "not run"
HIDDEN = (
    " A reported number that nobody has seen in its source is left out, and so is a row of such numbers that no "
    "experiment answers; `harness reported --unverified` lists them."
)
NOTE = (
    "A question mark: presumed, as the source does not say. Differences are shown where protocols can be compared. "
    f"{uncertainty.NOTE}"
)


def paper_table(
    name: str,
    spec: Spec,
    results: Results,
    comparisons: pd.DataFrame,
    ledger: Ledger,
    experiments: Mapping[str, schema.Experiment],
    unverified: bool = False,
) -> Table:
    """Return one of the paper's tables: a line per reported row and measurement of it; rows without one stay.

    Of a row that nobody could verify the number is left out, and all of it where no experiment answers it.
    """
    rows = ledger.rows[ledger.rows["table"].isin(spec.ledger)]
    for column, value in (spec.keep or {}).items():
        rows = rows[rows[column] == value]
    by_link: dict[str, list[dict[str, Any]]] = {}  # in the order of the table's definition
    for cell in sorted(rows.to_dict("records"), key=lambda cell: spec.ledger.index(cell["table"])):
        by_link.setdefault(cell["link"], []).append(cell)
    lines, shown = [], []
    common = protocols.common_protocols(results.scores)
    absent = {"scale": results.scores["scale"].iloc[0], "seeds": 0}
    for link, cells in by_link.items():
        names = [
            name
            for name, experiment in sorted(experiments.items())
            if link in {r.rstrip("/") for r in experiment.reported}
            and cells[0]["dataset"] == reported.family(experiment.dataset)
        ]
        told = cells if unverified else [cell for cell in cells if cell["confidence"] != "unverified"]
        if not told and not names:
            continue
        theirs = ledger.protocols[cells[0]["protocol"]]
        found = _main_groups(results.scores[results.scores["experiment"].isin(names)], theirs, common) if names else []
        shown += [part for _, part in found]
        said = [_measured(first, part, cells, results, comparisons, common) for first, part in found]
        beside = miniatures.beside(names, results.scores, experiments) or [{}]
        lines += [line | _reported(cells, told) | small for line in said or [absent] for small in beside]
    note = f"{words.MARK.strip()} recalled, not verified. {NOTE}" if unverified else NOTE + HIDDEN
    note += run_tables.common_note(pd.concat(shown)) if shown else ""
    columns, said_as = PAPER_DATA, {**PAPER, **words.reported_protocol(ledger)}
    if any("miniature" in line for line in lines):
        columns, said_as = (*columns, *miniatures.DATA), miniatures.beside_reported(said_as)
        note += miniatures.NOTE
    return Table(name, spec.title, data(lines, columns), said_as, note)


def _reported(cells: list[dict[str, Any]], told: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the name and confidence of a reported row, and the numbers of those of its cells that are told."""
    first = cells[0]
    order = ("verified", "secondary", "unverified")
    out: dict[str, Any] = {
        "source": first["table"],
        **{key: first[key] for key in ("model", "variant", "dataset")},
        "confidence": max((cell["confidence"] for cell in cells), key=order.index),
    }
    for cell in told:
        out |= reported.cells(cell)
    return out


def _measured(
    first: dict[str, Any],
    part: pd.DataFrame,
    cells: list[dict[str, Any]],
    results: Results,
    comparisons: pd.DataFrame,
    common: Mapping[str, str],
) -> dict[str, Any]:
    scores = results.scores
    same = (scores["experiment"] == first["experiment"]) & (scores["snapshot"] == first["snapshot"])
    clean = scores[same & (scores["scorer"] == "clean")]
    if (clean["protocol"] == common.get("clean")).any():  # all models under one, not the mean of several
        clean = clean[clean["protocol"] == common["clean"]]
    mine = comparisons
    for key in ("experiment", "snapshot", "scorer", "protocol_id"):
        mine = mine[mine[key] == first[key]]
    for key in ("table", "model", "variant"):
        mine = mine[mine[key] == cells[0][key]]
    mine = mine[mine["seed"].isin(set(part["seed"]))]
    out = {key: first[key] for key in ("scale", "experiment", "snapshot", "scorer", "protocol_id")}
    for key, (rows, column) in zip(
        MEANS, ((part, "is_mean"), (part, "fid"), (clean, "fid"), (clean, "kid")), strict=True
    ):
        out[key], out[f"{key}_sd"] = run_tables.mean_sd(rows[column])
        out |= uncertainty.cells(rows, rows, column, key)
    return out | {
        "is_difference": _difference(mine, "is"),
        "fid_difference": _difference(mine, "fid"),
        "comparable": words.comparable(mine),
        "seeds": len(part),
        "clean_seeds": len(clean),
        **run_tables.cost(results.training, first["experiment"], part["seed"]),
    }


def _main_groups(
    scores: pd.DataFrame, theirs: reported.Protocol, common: Mapping[str, str]
) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Return groups of the best TF-Inception scorer that each (experiment, snapshot) has under a row's own protocol."""
    kept = []
    for _, part in scores.groupby(["experiment", "snapshot"], sort=True):
        part = protocols.judged_under(part, theirs, common)
        have = [s for s in REFERENCE_SCORERS if s in set(part["scorer"])] or ["clean"]
        kept += protocols.groups(part[part["scorer"] == have[0]])
    return kept


def _difference(lines: pd.DataFrame, metric: str) -> float | None:
    """Return mean measured minus reported score, if every seed can be compared."""
    lines = lines[lines["metric"] == metric]
    if lines.empty or any(lines["blocking_fields"]):
        return None
    return float(lines["measured"].mean() - lines["reported"].iloc[0])
