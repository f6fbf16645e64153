"""What the pages of the benches share."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from harness.files import write_json, write_text


def write(out: Path, name: str, device: str, report: dict[str, Any], markdown: Callable[[dict[str, Any]], str]) -> None:
    """Write `<name>-<cpu|gpu>.json` and, by `markdown`, the page beside it into the folder `out`."""
    place = Path(out) / f"{name}-{'gpu' if device.startswith('cuda') else 'cpu'}"
    write_json(place.with_suffix(".json"), report)
    write_text(place.with_suffix(".md"), markdown(report))


def table(head: str, rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown.

    Args:
        head: headings, parted by ` | `; a heading that ends with a colon is of numbers and stands on the right.
        rows: cells, as they are to be read.
    """
    names = head.split(" | ")
    return tabulate(
        [list(map(str, row)) for row in rows],
        [name.removesuffix(":") for name in names],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["right" if name.endswith(":") else "left" for name in names],
    )
