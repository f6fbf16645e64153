"""Formats of a table: nothing in a cell acts as markup, and LaTeX fits a page and compiles."""

import csv
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from harness.comparison import table_formats
from harness.comparison.table_formats import Table
from tests.tree import committed
from tests.tree import name as place


def cells_of_markdown(text: str) -> list[list[str]]:
    """Header, rule and rows of the first table."""
    rows = []
    for line in (line for line in text.splitlines() if line.startswith("|")):
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for plain, escaped in reversed(table_formats.MARKDOWN.items()):
            cells = [cell.replace(escaped, plain) for cell in cells]
        rows.append(cells)
    return rows


def parts_of_latex(text: str) -> list[list[list[str]]]:
    """The rows of every tabular of a LaTeX table, heads first."""
    back = sorted(table_formats.LATEX.items(), key=lambda pair: -len(pair[1]))
    parts = []
    for body in re.findall(r"\\toprule(.*?)\\bottomrule", text, re.DOTALL):
        rows = []
        for line in filter(None, (line.strip().removesuffix(r" \\") for line in body.splitlines())):
            cells = [cell.replace("-{}-", "--") for cell in re.split(r"(?<!\\) & ", line)]
            for plain, escaped in back:
                cells = [cell.replace(escaped, plain) for cell in cells]
            rows += [cells] if cells != [r"\midrule"] else []
        parts.append(rows)
    return parts


@pytest.mark.parametrize("path", committed("*.tex"), ids=place)
def test_markdown_and_latex_say_the_same(path: Path) -> None:
    """Every cell of markdown is in some part of the LaTeX table, but for columns that say nothing."""
    header, _, *rows = cells_of_markdown(path.with_suffix(".md").read_text(encoding="utf-8"))
    whole = pd.DataFrame(rows, columns=header)
    found: dict[str, list[str]] = {}
    for head, *body in parts_of_latex(path.read_text(encoding="utf-8")):
        for i, name in enumerate(head):  # columns that tell rows apart come again and again
            found.setdefault(name, []).extend(row[i] for row in body)
    for name in whole:
        said = list(whole[name])
        assert found.get(name, said)[: len(said)] == said, name
        assert name in found or set(said) == {table_formats.NONE}, name


HOSTILE = {
    "a_b": [
        "50 % & {x}",
        "p|q",
        "<b>",
        "[x](y)",
        "* z",
        "caf\u00e9 \u4e2d \u2014",
        "a\nb",
        "\x1b[31m",
        r"\\x $1 #2 ~3 ^4 --",
    ],
    "Δ": ["1 ± 2 †", "—", "-0.50", "=cmd()", "+1+1", "@x", "-a", "+0.52", "50k/20k?"],
}


def test_awkward_cells_survive_all_formats() -> None:
    frame = pd.DataFrame({"a_b": ["50 % & {x}", "p|q", "<b>"], "Δ": ["1 ± 2 †", "—", "-0.50"]})
    files = table_formats.files(Table("t", "T", frame))
    expected = [["a_b", "Δ"], ["50 % & {x}", "1 ± 2 †"], ["p|q", "—"], ["<b>", "-0.50"]]
    assert list(csv.reader(files["t.csv"].splitlines())) == expected
    header, _, *rows = cells_of_markdown(files["t.md"])
    assert [header, *rows] == expected
    assert parts_of_latex(files["t.tex"]) == [expected]
    assert r"50 \% \& \{x\}" in files["t.tex"]


def test_a_cell_is_neither_markup_nor_a_formula_nor_a_second_line() -> None:
    hostile = ["<script>alert(1)</script>", "=cmd()", "+1+1", "@x", "-a", "a\nb | c", "[x](y) ![z](w)", "\x1b[31m"]
    files = table_formats.files(Table("t", "<i>", pd.DataFrame({"a": hostile}), note="<u>"))
    assert "<" not in files["t.md"]
    assert "[x](" not in files["t.md"].replace("\\[x](", "")
    assert len(files["t.md"].splitlines()) == 4 + len(hostile) + 2
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", files["t.md"] + files["t.tex"])
    cells = [row[0] for row in csv.reader(files["t.csv"].splitlines(keepends=True))]
    assert not any(cell.startswith(("=", "+", "@", "-")) for cell in cells)
    numbers = ["-0.02", "+0.52", "-2", "+1e-3", "12.4"]
    assert table_formats.files(Table("t", "T", pd.DataFrame({"a": numbers})))["t.csv"].split() == ["a", *numbers]


def test_numbers_are_written_once_and_said_in_words() -> None:
    rows = [{"n": 3, "fid": 1.23456}, {"n": 0, "fid": None}]
    table = Table("t", "T", table_formats.data(rows, ("n", "fid")), {"FID": lambda row: f"{row['n']} of 3"})
    assert table_formats.files(table)["t.csv"] == "n,fid\n3,1.23456\n0,\n"
    assert cells_of_markdown(table_formats.markdown(table))[2:] == [["3 of 3"], ["0 of 3"]]


def test_a_wide_and_long_table_is_split_into_parts_that_a_page_holds() -> None:
    frame = pd.DataFrame({"model": [f"model {i}" for i in range(100)], **{f"c{j}": ["x" * 20] * 100 for j in range(9)}})
    parts = parts_of_latex(table_formats.latex(Table("t", "T", frame)))
    assert all(part[0][0] == "model" for part in parts), "every part names its rows"
    assert all(len(part) <= table_formats.PAGE + 1 for part in parts)
    assert all(sum(map(len, part[1])) <= table_formats.LINE for part in parts)
    assert sorted({name for part in parts for name in part[0]}) == sorted(frame)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex (Debian: texlive-latex-recommended)")
def test_latex_compiles_and_fits_the_page(tmp_path: Path) -> None:
    """The committed tables and one of awkward cells, in the article class; no line is wider than the page."""
    awkward = Table("awkward", "100 % {of_it}", pd.DataFrame(HOSTILE), note="a_b & [c] -- 中")
    texts = [path.read_text(encoding="utf-8") for path in committed("*.tex")]
    body = "\n\\clearpage\n".join([*texts, table_formats.latex(awkward)])
    head = r"\documentclass{article}\usepackage{array,booktabs}\begin{document}"
    (tmp_path / "all.tex").write_text(f"{head}\n{body}\n\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=60)
    log = (tmp_path / "all.log").read_text(encoding="latin-1")
    assert done.returncode == 0, log[-2000:]
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([0-9.]+)pt", log)]
    assert not [points for points in wide if points > 5], log
    assert "Overfull \\vbox" not in log
    assert "Missing character" not in log
