"""Progress of long work: a bar on a terminal, a line now and then in a log file. TQDM_DISABLE=1 silences both."""

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

LINE_SEC = 30.0  # between two lines of a log
T = TypeVar("T")


class Bar(tqdm):
    """tqdm's bar; where its file is no terminal, whole lines, the first after `LINE_SEC` seconds.

    Takes tqdm's arguments, so that libraries that make bars can be given this class.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        """See tqdm."""
        file = options.get("file") or sys.stderr
        self.is_log = not _is_terminal(file)
        if self.is_log:
            options |= {"mininterval": LINE_SEC, "maxinterval": LINE_SEC, "delay": LINE_SEC, "miniters": 1}
        else:
            options.setdefault("dynamic_ncols", True)
        super().__init__(*args, **options)

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        """Return what prints one state of the bar."""
        if _is_terminal(file):
            in_place: Callable[[str], None] = tqdm.status_printer(file)
            return in_place

        def line(text: str) -> None:
            file.write(f"{text}\n")
            file.flush()

        return line

    def __str__(self) -> str:
        """Return the state as text; a log's line has no bar."""
        if self.is_log:
            unit = "B" if self.unit == "B" else f" {self.unit}s"
            known = f" of {{total_fmt}}{unit}, {{rate_noinv_fmt}}, {{remaining}} left"
            self.bar_format = "{desc}: {n_fmt}" + (known if self.total else f"{unit}, {{rate_noinv_fmt}}")
        return str(super().__str__())

    def close(self) -> None:
        """End the bar; a log gets no last line, as the command says itself what it has done."""
        if self.is_log:
            self.delay = math.inf  # for tqdm it was never shown
        super().close()


def _is_terminal(file: Any) -> bool:
    return bool(getattr(file, "isatty", lambda: False)())


def bar(total: int | None, unit: str, what: str, start: int = 0, shown: bool = True) -> Bar:
    """Return a bar on stderr.

    Args:
        total: how many there are.
        unit: what is counted, in the singular, e.g. `image`.
        what: is done; stands in front.
        start: how many were done before.
        shown: else it counts in silence.
    """
    silent = {} if shown else {"disable": True}  # left out, TQDM_DISABLE decides
    return Bar(total=total, initial=start, unit=unit, desc=what, **silent)


def brief(total: int, unit: str, what: str) -> Bar:
    """Return a bar for what is mostly over in a second: it appears after that, and is wiped out at the end."""
    return Bar(total=total, unit=unit, unit_scale=unit == "B", desc=what, leave=False, delay=1)


def over(items: Iterable[T], total: int, unit: str, what: str, is_brief: bool = False) -> Iterator[T]:
    """Yield items behind a bar that counts them."""
    with (brief if is_brief else bar)(total, unit, what) as shown:
        for item in items:
            yield item
            shown.update()
