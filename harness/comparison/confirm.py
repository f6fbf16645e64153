"""The ledger in the hands of a person: its rows as a list, a checklist of those nobody could verify, and confirmations.

A confirmation says in the row itself who checked it against what, and when; the row is `verified` from then on.
"""

import csv
import datetime
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.comparison import foreign, reported
from harness.comparison.reported import CHECKED, Ledger
from harness.comparison.table_formats import NONE, Table, Words, as_text
from harness.errors import HarnessError
from harness.files import one_at_a_time, write_text

LINE = re.compile(r"(?:.*/)?([^/:]+\.csv):([0-9]+)")  # a row by its place: transgan.csv:27
SAID = ("paper", "version", "table", "model", "variant", "dataset", "resolution", "metric", "value", "std", "protocol")
ALSO = ("source", "confidence", "note", *CHECKED, "file", "line")


def select(ledger: Ledger, name: str | None = None, **values: str | None) -> pd.DataFrame:
    """Return rows of the ledger, in the order of its files.

    Args:
        name: a place `FILE.csv:LINE`; else what `foreign.find_rows` takes: a row, a prefix, a data set.
        values: column -> the value that a row must have; None: any.

    Raises:
        HarnessError: no such row.
    """
    rows = ledger.rows
    place = LINE.fullmatch(name or "")
    if place:
        rows = rows[(rows["file"] == place[1]) & (rows["line"] == int(place[2]))]
        if rows.empty:
            raise HarnessError(f"{name}: no row of the ledger begins there; `harness reported` lists them with lines.")
    elif name is not None:
        rows = rows[rows["link"].isin(foreign.find_rows(ledger, name))]
    for column, value in values.items():
        rows = rows if value is None else rows[rows[column] == value]
    return rows


def _place(row: Any) -> str:
    return f"{row['file']}:{row['line']}"


def _checked(row: Any) -> str:
    return f"{row['checked_by']}, {row['checked_on']}" if row["checked_by"] else NONE


LISTING: Words = {
    "row": as_text("link"),
    "data set": as_text("dataset"),
    "metric": lambda row: str(row["metric"]).upper(),
    "value": as_text("printed"),
    "protocol": as_text("protocol"),
    "confidence": as_text("confidence"),
    "checked by": _checked,
    "line": _place,
}


def listing(rows: pd.DataFrame) -> Table:
    """Return rows as a table for people."""
    counts = rows["confidence"].value_counts()
    note = ", ".join(f"{counts.get(each, 0)} {each}" for each in ("verified", "secondary", "unverified"))
    return Table("reported", "Reported scores", rows, LISTING, note)


def as_json(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as objects: the ledger's columns with `row` (its name), `file` and `line`; None for nothing."""
    lines = rows.rename(columns={"link": "row"})[["row", *SAID, *ALSO]].astype(object).to_dict("records")
    return [{str(k): None if pd.isna(v) or v == "" else v for k, v in line.items()} for line in lines]


def checklist(rows: pd.DataFrame, ledger: Ledger) -> str:
    """Return rows as a list to tick off beside the sources: place, score and value as recalled, table by table."""
    if rows.empty:
        return "Nothing to check: every number of these rows is verified, or was read elsewhere (secondary).\n"
    count = len(rows)
    out = [f"{count} numbers that nobody has seen in their source. They decide no verdict until somebody has."]
    for (paper, version, table), part in rows.groupby(["paper", "version", "table"], sort=False):
        sources = "; ".join(dict.fromkeys(part["source"]))
        out += ["", f"{table}: {paper}" + (f" {version}" if version else "") + f" ({sources})"]
        for row in part.to_dict("records"):
            model = " / ".join(filter(None, [row["model"], row["variant"]]))
            score = f"{row['metric'].upper():<4}{row['printed']}"
            out.append(f"  [ ] {_place(row):<22} {score:<18} {model} ({row['dataset']})")
    first = rows.iloc[0]
    out += [
        "",
        "Say what you found, a number or a whole table at once:",
        f"  harness reported --confirm {_place(first)} --by NAME --against 'SOURCE, table, page'",
        f"  harness reported --confirm {_place(first)} --value 1.23 --std 0.04    # it prints another number",
        f"  harness reported --confirm {first['table']}    # all of its numbers are as listed",
    ]
    others = int((ledger.rows["confidence"] == "secondary").sum())
    if others:
        out += ["", f"{others} more were read elsewhere: harness reported --confidence secondary"]
    return "\n".join(out) + "\n"


@dataclass(frozen=True)
class Check:
    """Who checked a row against what, and when (`on`: YYYY-MM-DD); `against`: None for the row's own paper."""

    by: str
    against: str | None = None
    on: str = ""


def confirm(
    folder: Path,
    names: Sequence[str],
    check: Check,
    value: str | None = None,
    std: str | None = None,
    **values: str | None,
) -> list[dict[str, Any]]:
    """Record in the ledger's files that rows were checked, each file written whole or not at all; return them.

    The name of a table stands for its unverified numbers, those of the checklist; that of a row for its numbers that
    are not verified yet. The row's note, and a number that was corrected, are kept as what stood there before.

    Args:
        folder: the ledger (`results/reported`).
        names: see `select`, without unfinished prefixes.
        value, std: what the source prints, where it is another number than the ledger's.
        values: see `select`.

    Raises:
        HarnessError: no such row, or none left; nobody named; a value for several rows; a value that cannot be.
    """
    if not check.by.strip():
        raise HarnessError("nobody is named; say who checked the row with --by WHO.")
    with one_at_a_time(folder):
        return _confirm(folder, names, check, value, std, values)


def _confirm(
    folder: Path,
    names: Sequence[str],
    check: Check,
    value: str | None,
    std: str | None,
    values: dict[str, str | None],
) -> list[dict[str, Any]]:
    ledger = reported.load(folder)
    chosen: dict[tuple[str, int], dict[str, Any]] = {}
    for name in names:
        for row in _to_confirm(ledger, name, values):
            chosen[row["file"], row["line"]] = row
    if (value is not None or std is not None) and len(chosen) != 1:
        places = ", ".join(f"{_place(row)} ({row['metric']})" for row in chosen.values())
        raise HarnessError(f"a value is of one number, these are {len(chosen)}: {places}; name one by its line.")
    on = check.on or datetime.date.today().isoformat()
    changes: dict[str, dict[int, dict[str, str]]] = {}
    for (file, line), row in chosen.items():
        against = check.against or " ".join(filter(None, [row["paper"], row["version"], row["table"]]))
        change = {"confidence": "verified", "checked_by": check.by, "checked_against": against, "checked_on": on}
        given = {key: text for key, text in (("value", value), ("std", std)) if text is not None}
        before = [f"the number was {row['printed']}"] if given else []
        if before := [*filter(None, [row["note"]]), *before]:
            change["note"] = f"Before it was checked: {'; '.join(text.rstrip('.') for text in before)}."
        change |= given
        changes.setdefault(file, {})[line] = change
    texts = {folder / file: _changed(folder, file, lines) for file, lines in changes.items()}
    for path, text in texts.items():
        write_text(path, text)
    again = reported.load(folder).rows
    return [row for row in again.to_dict("records") if (row["file"], row["line"]) in chosen]


def _to_confirm(ledger: Ledger, name: str, values: dict[str, str | None]) -> list[dict[str, Any]]:
    rows = select(ledger, name, **values)
    if not LINE.fullmatch(name):
        whole = rows["link"].map(lambda link: link == name.rstrip("/") or link.startswith(f"{name.rstrip('/')}/"))
        if not whole.all():
            links = ", ".join(dict.fromkeys(rows["link"]))
            raise HarnessError(f"'{name}' is no row or table; name what you checked: {links}.")
    if rows["link"].nunique() > 1:
        rows = rows[rows["confidence"] == "unverified"]
    elif len(rows) > 1:
        rows = rows[rows["confidence"] != "verified"]
    if rows.empty:
        raise HarnessError(
            f"'{name}': none of its numbers is left to confirm; a verified one, or a secondary one of a table, is "
            "confirmed by its line."
        )
    return rows.to_dict("records")


def _changed(folder: Path, file: str, changes: dict[int, dict[str, str]]) -> str:
    """Return the text of a file of the ledger with cells of some lines changed; every changed cell is checked."""
    path = folder / file
    columns, protocols = reported.load_columns(folder), reported.load_protocols(folder / "protocols.yaml")[0]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    with open(path, newline="", encoding="utf-8") as handle:
        rows = csv.reader(handle, strict=True)
        header = next(rows)
        writer.writerow(header)
        for cells in rows:
            change = changes.get(rows.line_num, {})
            for name, text in change.items():
                reported.checked_cell(f"{file}:{rows.line_num}", name, columns[name], text, protocols)
            writer.writerow([change.get(name, cell) for name, cell in zip(header, cells, strict=True)])
    return out.getvalue()
