"""From comparisons and tolerances to verdicts: a csv, JUnit XML, a summary, the tables with verdicts, an exit code.

Verdicts are always made from the records; what lies in `tables/` and `check/` is only compared with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.comparison import claims, dvc_views, foreign, history, table_formats, tables, verdicts, words
from harness.comparison.junit import junit
from harness.comparison.reported import Ledger
from harness.comparison.run_tables import REFERENCE_SCORERS
from harness.comparison.table_formats import Table, Words, as_text
from harness.comparison.tables import Measured
from harness.comparison.verdicts import Tolerances
from harness.errors import HarnessError, nearest
from harness.files import write_text

if TYPE_CHECKING:
    from harness.config.experiments import Scale

COLUMNS = (
    "kind",
    "experiment",
    "snapshot",
    "scorer",
    "protocol",
    "table",
    "model",
    "variant",
    "metric",
    "confidence",
    "measured",
    "sd",
    "evaluation_sd",
    "seeds",
    "reported",
    "reported_low",
    "reported_high",
    "verdict",
    "status",
    "blocking_fields",
    "presumed_fields",
    "declared_fields",
    "reason",
)
ONE_VERDICT = [  # lines that differ by seed only; seeds that cannot be compared are apart from those that can
    "experiment",
    "snapshot",
    "scorer",
    "protocol_id",
    "table",
    "model",
    "variant",
    "metric",
    "blocking_fields",
]
LISTING: Words = {
    "kind": as_text("kind"),
    "experiment": as_text("experiment"),
    "row": words.row_name,
    "score": words.score_name,
    "measured": lambda line: words.number(line["metric"], line["measured"]),
    "seeds": as_text("seeds"),
    "reported": lambda line: words.number(line["metric"], line["reported"]),
    "verdict": words.verdict,
    "status": as_text("status"),
}
STATUSES = ("pass", "fail", "undecided", "none")


@dataclass(frozen=True)
class Checked:
    """A scale's verdicts, and its tables with them."""

    measured: Measured
    verdicts: pd.DataFrame
    tables: tuple[Table, ...]
    claims: pd.DataFrame

    def listing(self) -> Table:
        """The verdicts as a table for people."""
        return self.measured.marked(listing(self.verdicts))

    def claims_table(self) -> Table:
        """The claims as a table for people."""
        return self.measured.marked(claims.table(self.claims))


def check(scale: "Scale", others: Sequence[Path] = ()) -> Checked:
    """Make the verdicts of a scale from its records, the ledger, the tolerances and our own history.

    Args:
        others: see `tables.measure`.

    Raises:
        HarnessError: no planned scores; a broken record, ledger, tolerances file or history.
    """
    tolerances, known = verdicts.load(scale.checkout.tolerances), history.read(scale.checkout.history)
    measured = tables.measure(scale, others=others)
    check_controls(tolerances, measured.ledger, str(scale.checkout.tolerances))
    found = judge_all(measured.comparisons, tolerances)
    ours = history.regressions(measured.results.scores, known, tolerances)
    if len(ours) and not measured.overlay:  # what was recorded was made without one
        found = pd.concat([found, ours.reindex(columns=COLUMNS)]) if len(found) else ours.reindex(columns=COLUMNS)
    found = found.sort_values("kind", key=lambda kinds: kinds.map(verdicts.KINDS.index), kind="stable")
    found = found.reset_index(drop=True)
    argued = claims.of_scale(scale, measured.results.scores, measured.experiments, measured.ledger)
    return Checked(measured, found, tuple(judged_table(table, found) for table in measured.tables), argued)


def check_controls(tolerances: Tolerances, ledger: Ledger, where: str) -> None:
    """Raise HarnessError, with the nearest row, if a control is no row of the ledger."""
    links = set(ledger.rows["link"])
    for link in (*tolerances.control.rows, *tolerances.control.secondary):
        if link not in links:
            raise HarnessError(f"{where}: control: no ledger row '{link}'.{nearest(link, links)}")


def judge_all(comparisons: pd.DataFrame, tolerances: Tolerances) -> pd.DataFrame:
    """Return one verdict per comparison: the lines of `protocols.comparisons` with their seeds put together.

    `verdict` is a verdict or a range `best to worst`; `blocking_fields` forbid a comparison, for the `reason`.
    """
    lines = []
    for _, part in comparisons.groupby(ONE_VERDICT, sort=False, dropna=False):
        row = part.iloc[0].to_dict()
        link = "/".join((row["table"], row["model"], row["variant"])).rstrip("/")
        row["kind"] = verdicts.kind(link, bool(row["released"]), tolerances.control)
        values = part["measured"].astype(float)
        row["is_std"] = part["is_std"].astype(float).mean()
        row["evaluation_sd"] = part["evaluation_sd"].astype(float).max()  # NaN: records without intervals
        found: Sequence[str] = ("not-comparable",)
        if not row["blocking_fields"]:
            found = verdicts.judge(row, list(values), tolerances)
        row |= {"kind": foreign.KIND} if row["scale"] == foreign.KIND else {}
        row |= {
            "measured": values.mean(),
            "sd": values.std(),
            "seeds": len(values),
            "verdict": words.verdict_range(found),
            "status": verdicts.status(found, tolerances.statuses),
            "reason": "; ".join(dict.fromkeys(reason for reason in part["reason"] if reason)),
        }
        lines.append({key: row.get(key) for key in COLUMNS})
    return pd.DataFrame(lines, columns=COLUMNS)


# ---------------------------------------------------------------- tables with verdicts


def judged_table(table: Table, found: pd.DataFrame) -> Table:
    """Return the table with a verdict for IS and FID in each row (`not run`, or nothing where nothing was reported)."""
    if table.words is None or not set(tables.KEY) <= set(table.data.columns):
        return table
    frame = table.data.copy()
    for metric in ("is", "fid"):
        found_here = [_verdict_of(row, metric, found) for row in frame.to_dict("records")]
        frame.insert(frame.columns.get_loc(f"{metric}_difference") + 1, f"{metric}_verdict", found_here)
    said = {}
    for heading, say in table.words.items():
        said[heading] = say
        if heading.startswith("Δ"):
            said[f"verdict {heading[1:]}"] = as_text(f"{heading[1:].lower()}_verdict")
    return replace(table, data=frame, words=said)


def _verdict_of(row: dict[str, Any], metric: str, found: pd.DataFrame) -> str:
    if not row["seeds"]:
        return tables.NOT_RUN
    mine = found[
        (found["table"] == row["source"])
        & (found["model"] == row["model"])
        & (found["variant"] == row["variant"])
        & (found["experiment"] == row["experiment"])
        & (found["snapshot"] == row["snapshot"])
        & (found["metric"] == metric)
    ]
    for scorer in (*REFERENCE_SCORERS, "clean"):
        said = [words.verdict(line) for line in mine[mine["scorer"] == scorer].to_dict("records")]
        if said:
            return words.AND.join(dict.fromkeys(said))
    return ""


# ---------------------------------------------------------------- for CI


def exit_code(found: pd.DataFrame, require: Sequence[str] = ()) -> int:
    """Return 0 pass, 1 fail, 2 all not-comparable.

    A fail is a failed verdict, a required experiment that is `undecided`, and a recorded score of ours that is gone or
    was made otherwise.
    """
    statuses = set(found["status"])
    gone = (found["kind"] == "regression") & (found["verdict"] == "not-comparable")
    if "fail" in statuses or gone.any() or any(undecided(found, name) for name in require):
        return 1
    return 0 if "pass" in statuses else 2


def undecided(found: pd.DataFrame, experiment: str) -> bool:
    """Return whether an experiment has neither a pass nor a fail, or a score with too few runs for one."""
    mine = found[found["experiment"] == experiment]
    too_few = mine["verdict"].astype(str).str.contains("insufficient-runs")
    return bool(too_few.any()) or not set(mine["status"]) & {"pass", "fail"}


def listing(found: pd.DataFrame) -> Table:
    """Return verdicts as a table for people."""
    counts = found["status"].value_counts()
    note = ", ".join(f"{counts.get(s, 0)} {s}" for s in STATUSES)
    return Table("verdicts", "Verdicts", found, LISTING, note)


# ---------------------------------------------------------------- files


def files(checked: Checked) -> dict[str, str]:
    """Return the check stage's files: name -> content."""
    out = {f"tables/{name}": text for table in checked.tables for name, text in table_formats.files(table).items()}
    out[f"tables/{tables.INDEX}"] = tables.index(checked.tables)
    out["verdicts.csv"] = checked.measured.tidy(checked.verdicts)
    out["claims.csv"] = checked.measured.tidy(checked.claims)
    out["junit.xml"] = junit(checked.verdicts)
    summary = "\n".join(
        table_formats.markdown(table) for table in (checked.listing(), checked.claims_table(), *checked.tables)
    )
    out["summary.md"] = f"## harness check\n\n{summary}"
    return out


def write(scale: "Scale", checked: Checked) -> Path:
    """Write `check/` of a scale; return the folder."""
    for name, text in files(checked).items():
        write_text(scale.folder.check / name, text)
    return scale.folder.check


def stale(scale: "Scale", checked: Checked) -> list[str]:
    """Return sentences on folders of a scale that do not say what its records say now."""
    out = []
    scores, curves = dvc_views.files(checked.measured.results)
    for folder, names, fix in (
        (scale.folder.metrics, tables.differing(scale.folder.metrics, scores), "harness tables"),
        (scale.folder.plots, tables.differing(scale.folder.plots, curves), "harness tables"),
        (scale.folder.tables, tables.stale(scale, checked.measured), "harness tables"),
        (scale.folder.check, tables.differing(scale.folder.check, files(checked)), "harness check --write"),
    ):
        if names and folder.is_dir():
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            out.append(f"{folder}: stale or edited ({shown}); run `{fix}`.")
    return out
