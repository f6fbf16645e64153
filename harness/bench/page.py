"""What the pages of the benches share."""

from collections.abc import Iterable, Sequence

from tabulate import tabulate


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
