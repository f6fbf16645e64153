"""One table in three formats: csv, markdown and LaTeX (booktabs) hold the same cells."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.files import read_json, write_json, write_text

NONE = "—"  # nothing to show


@dataclass(frozen=True)
class Table:
    """One table: `frame` holds text only, as printed."""

    name: str
    title: str
    frame: pd.DataFrame
    note: str = ""


def write_all(tables: Iterable[Table], folder: Path) -> None:
    """Write each table as `<name>.csv`, `.md` and `.tex`, and `index.json` (names, titles and notes, in order)."""
    index = []
    for table in tables:
        write_text(folder / f"{table.name}.csv", table.frame.to_csv(index=False, lineterminator="\n"))
        write_text(folder / f"{table.name}.md", markdown(table))
        write_text(folder / f"{table.name}.tex", latex(table))
        index.append({"name": table.name, "title": table.title, "note": table.note})
    write_json(folder / "index.json", index)


def markdown(table: Table) -> str:
    """A table as GitHub markdown."""
    lines = [list(table.frame.columns), ["---"] * len(table.frame.columns), *table.frame.values.tolist()]
    body = "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"### {table.title}\n\n{body}\n" + (f"\n{table.note}\n" if table.note else "")


LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "†": r"$\dagger$",
    "—": "---",
    "×": r"$\times$",
    "<": r"$<$",
    ">": r"$>$",
}


def latex(table: Table) -> str:
    """A table as a LaTeX tabular with booktabs rules."""

    def line(cells: Iterable[Any]) -> str:
        return " & ".join("".join(LATEX.get(c, c) for c in str(cell)) for cell in cells) + r" \\"

    escaped = line([table.title]).removesuffix(r" \\")
    return "\n".join(
        [
            f"% {escaped}",
            rf"\begin{{tabular}}{{{'l' * len(table.frame.columns)}}}",
            r"\toprule",
            line(table.frame.columns),
            r"\midrule",
            *(line(row) for row in table.frame.values.tolist()),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def read_all(folder: Path) -> list[Table]:
    """Read back the tables that `write_all` wrote."""

    def frame(name: str) -> pd.DataFrame:
        return pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False)

    entries = read_json(folder / "index.json")
    return [Table(e["name"], e["title"], frame(e["name"]), e["note"]) for e in entries]
