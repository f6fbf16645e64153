"""Tidy csv files: lists in cells, text that no spreadsheet takes for a formula, and readers that say what is wrong."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import HarnessError
from harness.files import write_text

SEPARATOR = ";"
NUMBER = re.compile(r"[+-]?[0-9][0-9.,]*([eE][+-]?[0-9]+)?[kM%]?")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def join(names: Iterable[str]) -> str:
    """Return names as one cell."""
    return SEPARATOR.join(names)


def split(cell: str) -> list[str]:
    """Return the names of a cell that `join` made."""
    return cell.split(SEPARATOR) if cell else []


def safe(cell: Any) -> Any:
    """Return a cell that a spreadsheet shows as it is: text it would take for a formula gets an apostrophe in front.

    Numbers stay as they are, a sign in front included; lists and mappings become `;`-joined text.
    """
    if isinstance(cell, Mapping):
        cell = join(f"{key}={value}" for key, value in cell.items())
    if isinstance(cell, tuple | list):
        cell = join(map(str, cell))
    if isinstance(cell, str) and cell.startswith(FORMULA) and not NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def text(frame: pd.DataFrame) -> str:
    """Return a frame as csv, every cell made `safe`."""
    if frame.empty:
        return frame.to_csv(index=False, lineterminator="\n")
    cells = [
        [safe(cell) for cell in row] for row in frame.astype(object).to_numpy()
    ]  # `map` makes whole numbers floats
    return pd.DataFrame(cells, columns=frame.columns, dtype=object).to_csv(index=False, lineterminator="\n")


def write(path: Path, frame: pd.DataFrame) -> None:
    """Write a frame as csv, atomically."""
    write_text(path, text(frame))


def read(path: Path, columns: tuple[str, ...], numbers: tuple[str, ...], fix: str) -> pd.DataFrame:
    """Read a csv with exactly these columns; all are text but `numbers`, which must be finite.

    Args:
        fix: what to do about a broken file, the end of every message.

    Raises:
        HarnessError: not a csv, other columns, a line with other cells, or a number that is none; with file and line.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, on_bad_lines="error")
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such file; {fix}") from None
    except (ValueError, UnicodeDecodeError) as error:  # pandas' own errors are ValueErrors
        raise HarnessError(f"{path}: not a readable csv ({' '.join(str(error).split())}); {fix}") from None
    if tuple(frame.columns) != columns:
        raise HarnessError(f"{path}, line 1: expected the columns {', '.join(columns)}; {fix}")
    if not isinstance(frame.index, pd.RangeIndex):
        raise HarnessError(f"{path}: a line has more cells than there are columns; {fix}")
    for column in numbers:
        numeric = pd.to_numeric(frame[column], errors="coerce")
        bad = ~numeric.abs().lt(float("inf"))
        if bad.any():
            line = int(bad.to_numpy().argmax())
            raise HarnessError(f"{path}, line {line + 2}: `{column}` is '{frame[column][line]}', not a number; {fix}")
        frame[column] = numeric
    return frame
