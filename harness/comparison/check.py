"""From comparisons and tolerances to verdicts: a csv, JUnit XML, a summary, the tables with verdicts, an exit code."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from harness.comparison import protocols, table_formats, tables, verdicts
from harness.comparison.table_formats import NONE, Table
from harness.comparison.tables import REFERENCE_SCORERS
from harness.comparison.verdicts import Tolerances
from harness.errors import HarnessError
from harness.files import write_text

COLUMNS = (
    "lane",
    "experiment",
    "snapshot",
    "scorer",
    "table",
    "model",
    "variant",
    "metric",
    "confidence",
    "measured",
    "sd",
    "seeds",
    "reported",
    "reported_low",
    "reported_high",
    "verdict",
    "presumed",
    "status",
    "reason",
)
LANES = ("control", "control (secondary)", "checkpoint", "training", "regression")
HISTORY = ("scale", "experiment", "snapshot", "scorer", "protocol_id", "seed", "metric", "value", "git_commit")


def judge_all(comparisons: pd.DataFrame, tolerances: Tolerances) -> pd.DataFrame:
    """One verdict per comparison, against reported scores.

    `verdict` is a verdict or a range `best to worst`; `presumed` names what was taken on trust; `reason` is what
    forbids a comparison.
    """
    lines = []
    for row in comparisons.to_dict("records"):
        link = "/".join((row["table"], row["model"], row["variant"])).rstrip("/")
        row["lane"] = verdicts.lane(link, row["released"], tolerances.control)
        found = verdicts.judge(row, tolerances)
        values = pd.Series([float(v) for v in str(row["values"]).split()])
        row |= {"measured": values.mean(), "sd": values.std(), "status": verdicts.status(found, tolerances.statuses)}
        lines.append({key: row.get(key) for key in COLUMNS} | {"verdict": words(found)})
    return pd.DataFrame(lines, columns=COLUMNS)


def words(found: Sequence[str]) -> str:
    """A verdict, or `best to worst`."""
    return found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"


def regressions(scores: pd.DataFrame, history: pd.DataFrame, tolerances: Tolerances) -> pd.DataFrame:
    """One verdict per measured score that our own history knows, whatever the paper says."""
    lines = []
    for first, part in protocols.groups(scores):
        for metric, column in protocols.MEASURED.items():
            values = part[column].dropna().astype(float)
            keys = ("scale", "experiment", "snapshot", "scorer")
            known = history[(history["metric"] == metric)]
            for key in keys:
                known = known[known[key].astype(str) == str(first[key])]
            if values.empty or known.empty:
                continue
            alike = known[known["protocol_id"] == first["protocol_id"]]["value"].astype(float)
            reasons = [mark for mark in tables.beware(first) if not mark.endswith("layer")]
            if alike.empty:
                reasons.append("protocol: the recorded runs were scored under another one")
            found = "not-comparable" if reasons else ""
            if not found:
                found = verdicts.regression(list(values), list(alike), metric, tolerances.regression)
            lines.append(
                {
                    **{key: first[key] for key in ("experiment", "snapshot", "scorer")},
                    "lane": "regression",
                    "table": "history",
                    "model": first["experiment"],
                    "variant": "",
                    "metric": metric,
                    "measured": values.mean(),
                    "sd": values.std(),
                    "seeds": len(values),
                    "reported": alike.mean(),
                    "verdict": found,
                    "status": verdicts.status((found,), tolerances.statuses),
                    "reason": "; ".join(reasons),
                }
            )
    return pd.DataFrame(lines, columns=COLUMNS)


def read_history(path: Path) -> pd.DataFrame:
    """Our own recorded scores (`results/history.csv`).

    Raises:
        HarnessError: other columns than the expected ones.
    """
    if not path.is_file():
        return pd.DataFrame(columns=HISTORY)
    history = pd.read_csv(path, dtype={"snapshot": str, "protocol_id": str})
    if tuple(history.columns) != HISTORY:
        raise HarnessError(f"{path}, line 1: expected the columns {', '.join(HISTORY)}.")
    return history


def record(scores: pd.DataFrame, path: Path) -> int:
    """Append the scores that can be a reference (no stand-ins, no partial runs) to the history; return how many."""
    history = read_history(path)
    lines = []
    for row in scores.to_dict("records"):
        if row["stand_in_data"] or row["stand_in_inception"] or row["partial"]:
            continue
        for metric, column in protocols.MEASURED.items():
            if pd.notna(row[column]):
                lines.append({**{key: row.get(key) for key in HISTORY}, "metric": metric, "value": row[column]})
    new = pd.DataFrame(lines, columns=HISTORY)
    both = pd.concat([history, new]) if len(history) else new
    both = both.drop_duplicates([key for key in HISTORY if key != "git_commit"], keep="first")
    write_text(path, both.to_csv(index=False, lineterminator="\n"))
    return len(both) - len(history)


# ---------------------------------------------------------------- tables with verdicts


def judged_table(table: Table, found: pd.DataFrame) -> Table:
    """The table with a verdict for IS and FID in each row (`not run`, or a dash where nothing was reported)."""
    if not set(tables.KEY) <= set(table.frame.columns):
        return table
    frame = table.frame.copy()
    for metric in ("IS", "FID"):
        frame.insert(frame.columns.get_loc(f"Δ{metric}") + 1, f"verdict {metric}", "")
        frame[f"verdict {metric}"] = [_verdict_of(row, metric.lower(), found) for row in frame.to_dict("records")]
    return replace(table, frame=frame)


def _verdict_of(row: dict[str, Any], metric: str, found: pd.DataFrame) -> str:
    if row["experiment"] == "not run":
        return "not run"
    variant = "" if row["variant"] == NONE else row["variant"]
    mine = found[
        (found["table"] == row["source"])
        & (found["model"] == row["model"])
        & (found["variant"].fillna("") == variant)
        & (found["experiment"] == row["experiment"])
        & (found["snapshot"].astype(str) == row["snapshot"])
        & (found["metric"] == metric)
    ]
    for scorer in (*REFERENCE_SCORERS, "clean"):
        for line in mine[mine["scorer"] == scorer].to_dict("records"):
            return verdict_words(line)
    return NONE


def verdict_words(line: dict[str, Any]) -> str:
    """`within`, `near to outside (presumed)`, `not-comparable (n_fake, split)`."""
    if line["verdict"] == "not-comparable":
        return f"not-comparable ({', '.join(tables.fields(line['reason'], ':'))})"
    return (
        f"{line['verdict']} (presumed)" if isinstance(line["presumed"], str) and line["presumed"] else line["verdict"]
    )


# ---------------------------------------------------------------- for CI


def exit_code(found: pd.DataFrame, require: Sequence[str] = ()) -> int:
    """0 pass, 1 fail (a failed verdict, or a required experiment without a decided one), 2 nothing comparable."""
    statuses = set(found["status"])
    if "fail" in statuses or any(undecided(found, name) for name in require):
        return 1
    return 0 if "pass" in statuses else 2


def undecided(found: pd.DataFrame, experiment: str) -> bool:
    """Whether an experiment has neither a pass nor a fail."""
    return not set(found.loc[found["experiment"] == experiment, "status"]) & {"pass", "fail"}


def row_name(line: dict[str, Any]) -> str:
    """A verdict's row in words: table, model, variant."""
    parts = (line["table"], line["model"], line["variant"])
    return " / ".join(part for part in parts if isinstance(part, str) and part)


def _number(metric: str, value: float) -> str:
    return NONE if pd.isna(value) else f"{value:.4f}" if metric == "kid" else f"{value:.2f}"


def listing(found: pd.DataFrame) -> Table:
    """Verdicts as a table for people."""
    lines = [
        {
            "lane": line["lane"],
            "experiment": line["experiment"],
            "row": row_name(line),
            "score": f"{line['metric'].upper()} ({line['scorer']}, {line['snapshot']})",
            "measured": _number(line["metric"], line["measured"]),
            "seeds": str(line["seeds"]),
            "reported": _number(line["metric"], line["reported"]),
            "verdict": verdict_words(line),
            "status": line["status"],
        }
        for line in found.to_dict("records")
    ]
    columns = ("lane", "experiment", "row", "score", "measured", "seeds", "reported", "verdict", "status")
    counts = found["status"].value_counts()
    note = ", ".join(f"{counts.get(s, 0)} {s}" for s in ("pass", "fail", "undecided", "none"))
    return Table("verdicts", "Verdicts", pd.DataFrame(lines, columns=columns), note)


def plain(table: Table) -> str:
    """A table with aligned columns, for a terminal."""
    rows = [list(table.frame.columns), *table.frame.values.tolist()]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", table.note])


def junit(found: pd.DataFrame) -> str:
    """JUnit XML: a suite per lane; undecided and not comparable verdicts are skipped cases."""
    root = ET.Element("testsuites", name="harness check")
    for lane, part in found.groupby("lane", sort=False):
        counts = {s: str(int((part["status"] == s).sum())) for s in ("fail", "pass")}
        skipped = str(len(part) - int(counts["fail"]) - int(counts["pass"]))
        suite = ET.SubElement(
            root,
            "testsuite",
            name=str(lane),
            tests=str(len(part)),
            failures=counts["fail"],
            errors="0",
            skipped=skipped,
        )
        for line in part.to_dict("records"):
            name = f"{row_name(line)}: {line['metric'].upper()} ({line['scorer']}, {line['snapshot']})"
            case = ET.SubElement(suite, "testcase", classname=f"{lane}.{line['experiment']}", name=name)
            message = f"{verdict_words(line)}: measured {_number(line['metric'], line['measured'])}, "
            message += f"reported {_number(line['metric'], line['reported'])}"
            if line["status"] == "fail":
                ET.SubElement(case, "failure", message=message)
            elif line["status"] != "pass":
                why = line["reason"] if isinstance(line["reason"], str) else ""
                ET.SubElement(case, "skipped", message=f"{message}. {why}".rstrip(". "))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def write(out: Path, tolerances_file: Path, history_file: Path) -> pd.DataFrame:
    """The check stage: read `out/tables`, write `out/check`, return the verdicts.

    Raises:
        HarnessError: the tables stage has not run, or a bad tolerances file.
    """
    folder = out / "tables"
    if not (folder / "comparisons.csv").is_file():
        raise HarnessError(f"{folder}: no comparisons.csv; run `harness tables` first.")
    comparisons = pd.read_csv(folder / "comparisons.csv", dtype=TEXT, keep_default_na=False, na_values=EMPTY)
    scores = pd.read_csv(folder / "scores.csv", dtype={"snapshot": str, "protocol_id": str})
    tolerances = verdicts.load(tolerances_file)
    against = judge_all(comparisons, tolerances)
    ours = regressions(scores, read_history(history_file), tolerances)
    found = pd.concat([against, ours]) if len(ours) else against
    found = found.sort_values("lane", key=lambda lanes: lanes.map(LANES.index), kind="stable", ignore_index=True)
    write_text(out / "check" / "verdicts.csv", found.to_csv(index=False, lineterminator="\n"))
    write_text(out / "check" / "junit.xml", junit(found))
    judged = [judged_table(table, found) for table in table_formats.read_all(folder)]
    table_formats.write_all(judged, out / "check" / "tables")
    summary = "\n".join(table_formats.markdown(table) for table in (listing(found), *judged))
    write_text(out / "check" / "summary.md", f"## harness check\n\n{summary}")
    return found


EMPTY = {key: [""] for key in ("is_std", "reported", "reported_low", "reported_high")}
TEXT = {key: str for key in ("experiment", "snapshot", "protocol_id", "table", "model", "variant", "values")}


def read(out: Path) -> pd.DataFrame:
    """Read the verdicts of a scale.

    Raises:
        HarnessError: the check stage has not run.
    """
    path = out / "check" / "verdicts.csv"
    if not path.is_file():
        raise HarnessError(f"{path}: no verdicts; run `harness tables` and `harness check --write` first.")
    found: pd.DataFrame = pd.read_csv(path, dtype={"snapshot": str})
    return found
