"""One table in three formats: csv holds numbers, markdown and LaTeX hold the same table in words."""

import functools
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.comparison import tidy_csv

NONE = "—"  # nothing to show
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

Words = Mapping[str, Callable[[Mapping[str, Any]], str]]  # heading -> what it says of a row


def as_text(key: str) -> Callable[[Mapping[str, Any]], str]:
    """Return a column in words that shows a column of data as it is; a dash where there is nothing."""
    return lambda row: (
        NONE if row[key] == "" or (pd.api.types.is_scalar(row[key]) and pd.isna(row[key])) else str(row[key])
    )


@dataclass(frozen=True)
class Table:
    """One table: `data` holds one number, name or nothing a cell, `words` says how a row of it is printed.

    `words` in its order makes the columns of markdown and LaTeX; without it, every column is shown as it is.
    """

    name: str
    title: str
    data: pd.DataFrame
    words: Words | None = None
    note: str = ""

    @functools.cached_property
    def frame(self) -> pd.DataFrame:
        """The table as printed: text only."""
        words = self.words if self.words is not None else {str(name): as_text(name) for name in self.data}
        rows = [[say(row) for say in words.values()] for row in self.data.to_dict("records")]
        return pd.DataFrame(rows, columns=list(words), dtype=object)


def data(rows: list[dict[str, Any]], columns: Iterable[str]) -> pd.DataFrame:
    """Return rows as the data of a table: whole numbers stay whole beside missing ones."""
    return pd.DataFrame(rows, columns=list(columns), dtype=object)


def files(table: Table) -> dict[str, str]:
    """Return a table as csv (numbers), markdown and LaTeX (words): file name -> content."""
    return {
        f"{table.name}.csv": tidy_csv.text(table.data),
        f"{table.name}.md": markdown(table),
        f"{table.name}.tex": latex(table),
    }


# ---------------------------------------------------------------- markdown and terminal

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


def _escaped(cell: Any, special: Mapping[str, str]) -> str:
    """Return a cell on one line, without control characters, its special characters replaced."""
    return "".join(special.get(c, c) for c in CONTROL.sub("\ufffd", str(cell)))


# ---------------------------------------------------------------- LaTeX

LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_\allowbreak{}",
    "/": r"/\allowbreak{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "[": "{[}",  # at the beginning of a row it would be an argument of the \\ before
    "*": "{*}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "†": r"$\dagger$",
    "—": r"\textemdash{}",
    "×": r"$\times$",
    "<": r"$<$",
    ">": r"$>$",
}
LINE = 84  # characters in a line: \scriptsize (7 pt) in the 345 pt of the article class
PAGE = 56  # lines on a page of it, with room for a heading
GAP = 2  # characters between two columns
WIDEST = 30  # characters of a column; a longer cell is broken
WIDEST_KEY = 16  # the same of a column that every part repeats
KEYS = ("data set", "model", "variant", "experiment", "seed", "snapshot")  # what tells rows apart, first needed first


def latex(table: Table) -> str:
    r"""Return a table for LaTeX, as text to `\input`: booktabs rules, columns of fixed width (package array).

    Columns that say nothing are left out. A table that is too wide or too long for a page is split: each part has as
    many columns as fit a line, after those that tell the rows apart, and as many rows as fit a page.
    """
    out = [f"% {_escaped(table.title, LATEX)}", r"% needs \usepackage{array,booktabs}"]
    frame = table.frame
    shown = frame[[name for name in frame if frame.empty or (frame[name] != NONE).any()]]
    for part, widths in _parts(shown):
        out += ["", *_tabular(part, widths)]
    note = ["", rf"\par\noindent{{\scriptsize {_latex(table.note.strip())}\par}}"] if table.note else []
    return "\n".join([*out, *note, ""])


def _latex(cell: Any) -> str:
    """Return a cell for LaTeX: a letter that pdflatex may lack is written as its code."""
    text = _escaped(cell, LATEX).replace("--", "-{}-")
    return "".join(c if c.isascii() or _accented(c) else f"U+{ord(c):04X}" for c in text)


def _accented(letter: str) -> bool:
    """Whether a character is an ASCII letter with an accent, of ISO 8859-1."""
    return letter <= "\xff" and letter.isalpha() and bool(unicodedata.decomposition(letter))


def _parts(frame: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, dict[str, int]]]:
    """Yield the parts of a table and their columns' widths in characters; each fits a line and a page."""
    keys = _keys(frame)
    widths = {
        name: min(WIDEST_KEY if name in keys else WIDEST, 1 + max(map(len, [name, *frame[name]]))) for name in frame
    }
    room = LINE - sum(widths[name] + GAP for name in keys)
    blocks: list[list[str]] = [[]]
    for name in (name for name in frame if name not in keys):
        if blocks[-1] and sum(widths[other] + GAP for other in [*blocks[-1], name]) > room:
            blocks.append([])
        blocks[-1].append(name)
    for block in blocks:
        columns = [*keys, *block]
        start = used = 0
        for i, row in enumerate(frame[columns].to_dict("records")):
            lines = max(math.ceil(1.2 * len(cell) / widths[name]) for name, cell in row.items())  # words break early
            if used + lines > PAGE:
                yield frame.iloc[start:i][columns], widths
                start, used = i, 0
            used += lines
        yield frame.iloc[start:][columns], widths


def _keys(frame: pd.DataFrame) -> list[str]:
    """Return the columns that tell the rows of a table apart, at least one."""
    keys: list[str] = []
    for name in (name for name in KEYS if name in frame and (name != "data set" or frame[name].nunique() > 1)):
        keys.append(name)
        if not frame.duplicated(keys).any():
            break
    return keys or list(frame)[:1]


def _tabular(frame: pd.DataFrame, widths: Mapping[str, int]) -> list[str]:
    def line(cells: Iterable[Any]) -> str:
        return " & ".join(map(_latex, cells)) + r" \\"

    whole = max(LINE, sum(widths[name] + GAP for name in frame))
    columns = "".join(rf">{{\raggedright\arraybackslash}}p{{{widths[c] / whole:.3f}\linewidth}}" for c in frame)
    return [
        rf"\par\noindent{{\scriptsize\setlength{{\tabcolsep}}{{{GAP / 2 / whole:.4f}\linewidth}}%",
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"\toprule",
        line(frame.columns),
        r"\midrule",
        *(line(row) for row in frame.values.tolist()),
        r"\bottomrule",
        r"\end{tabular}\par}\medskip",
    ]
