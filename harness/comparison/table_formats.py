"""One table in three formats: csv, markdown and LaTeX (booktabs) hold the same cells."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.comparison import tidy_csv

NONE = "—"  # nothing to show
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Table:
    """One table: `frame` holds text only, as printed."""

    name: str
    title: str
    frame: pd.DataFrame
    note: str = ""


def files(table: Table) -> dict[str, str]:
    """Return a table as csv, markdown and LaTeX: file name -> content."""
    return {
        f"{table.name}.csv": tidy_csv.text(table.frame),
        f"{table.name}.md": markdown(table),
        f"{table.name}.tex": latex(table),
    }


MARKDOWN = {"\\": "\\\\", "|": "\\|", "<": "&lt;", ">": "&gt;", "&": "&amp;", "`": "\\`", "*": "\\*", "[": "\\["}


def markdown(table: Table) -> str:
    """Return a table as GitHub markdown; nothing in a cell acts as markup or HTML."""
    from tabulate import tabulate

    cells = [[_escaped(cell, MARKDOWN) for cell in row] for row in table.frame.values.tolist()]
    headers = [_escaped(name, MARKDOWN) for name in table.frame.columns]
    body = tabulate(cells, headers, tablefmt="pipe", disable_numparse=True)
    return f"### {_escaped(table.title, MARKDOWN)}\n\n{body}\n" + (
        f"\n{_escaped(table.note, MARKDOWN)}\n" if table.note else ""
    )


def plain(table: Table) -> str:
    """Return a table with aligned columns, for a terminal."""
    from tabulate import tabulate

    cells = [[_escaped(cell, {}) for cell in row] for row in table.frame.values.tolist()]
    body = tabulate(cells, list(table.frame.columns), tablefmt="plain", disable_numparse=True)
    return f"{body}\n\n{table.note}"


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


def _escaped(cell: Any, special: dict[str, str]) -> str:
    """Return a cell on one line, without control characters, its special characters replaced."""
    return "".join(special.get(c, c) for c in CONTROL.sub("\ufffd", str(cell)))


def latex(table: Table) -> str:
    """Return a table as a LaTeX tabular with booktabs rules."""

    def line(cells: Iterable[Any]) -> str:
        return " & ".join(_escaped(cell, LATEX) for cell in cells) + r" \\"

    return "\n".join(
        [
            f"% {_escaped(table.title, LATEX)}",
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
