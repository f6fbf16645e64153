"""A launch on a terminal: a table that moves; anywhere else: a line for each thing that happens."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, TextIO

from harness.cluster import attempt_folder as state
from harness.cluster.driver import View
from harness.cluster.graph import Row
from harness.cluster.shown import AT_WORK, DONE, Shown

if TYPE_CHECKING:
    from rich.table import Table

FINISHED_SHOWN = 5


class Lines(View):
    """One line for each change of a stage; those that were up to date are only counted."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self.stream = stream

    def warn(self, what: str) -> None:
        """Print a line."""
        print(f"warning: {what}", file=self.stream, flush=True)

    def tell(self, row: Row, what: str) -> None:
        """Print a line."""
        if row.state != "up to date":
            about = f": {what}" if what else ""
            print(f"{time.strftime('%H:%M:%S')} {row.name} {row.state}{about}", file=self.stream, flush=True)


class Live(View):
    """A table of what runs, what ended last, and how much is left."""

    def __init__(self) -> None:
        from rich.live import Live as RichLive

        self.live: Any = RichLive(refresh_per_second=2, transient=False)
        self.last: list[str] = []

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def warn(self, what: str) -> None:
        """Print a line above the table."""
        self.live.console.print(f"warning: {what}", markup=False, highlight=False)

    def tell(self, row: Row, what: str) -> None:
        """Note what ended; a failure stays on the screen above the table."""
        if row.state == "failed":
            self.live.console.print(f"{row.name} failed: {what}", markup=False, highlight=False)
        if row.state not in ("queued", "running", "waiting", "up to date"):
            self.last = [*self.last, row.name][-FINISHED_SHOWN:]

    def show(self, rows: Sequence[Row]) -> None:
        """Draw the table anew."""
        self.live.update(table(rows, self.last))


def table(rows: Sequence[Shown], last: Sequence[str]) -> "Table":
    """Return the table of the stages that run and of those named in `last`."""
    from rich.table import Table
    from rich.text import Text

    out = Table(title=summary(rows), title_justify="left")
    numbers = ("GPUs", "elapsed", "hours left", "attempt")
    for name in ("stage", "state", "node", *numbers, "last line of the log"):
        out.add_column(name, justify="right" if name in numbers else "left", no_wrap=True)
    running = [row for row in rows if row.state in AT_WORK]
    for row in [*(row for row in rows if row.name in last and row not in running), *running]:
        seconds = time.time() - row.started if row.state == "running" else row.seconds
        line = state.last_line(row.folder / f"{row.attempt}.log") if row.state == "running" else row.note
        out.add_row(
            *map(Text, (row.name, row.state, row.host, str(row.gpus))),
            *map(Text, (f"{seconds:.0f} s" if seconds else "", f"{row.hours_left:,.1f}" if row.hours_left else "")),
            *map(Text, (str(row.attempt or ""), line)),
        )
    return out


def summary(rows: Sequence[Shown]) -> str:
    """Return how many stages are in which state, and what is left: `3 of 9 done, 6 waiting; 9.5 GPU-hours left`.

    Hours are those of stages with an estimate; if any stage is given a GPU, of those that are.
    """
    counted = Counter("done" if row.state in DONE else row.state for row in rows)
    rest = [f"{counted[one]} {one}" for one in sorted(counted.keys() - {"done"})]
    text = ", ".join([f"{counted['done']} of {len(rows)} done", *rest])
    on_gpu = any(row.gpus for row in rows)
    left = sum(row.hours_left * (row.gpus if on_gpu else 1) for row in rows)
    return f"{text}; {left:,.1f} {'GPU-hours' if on_gpu else 'hours'} left" if left else text
