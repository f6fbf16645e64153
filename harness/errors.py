"""Errors a user can act on: the message names the file, the value and the fix."""

import difflib
import re
from collections.abc import Iterable

STAND_IN = re.compile(r"stand-?in|quick")  # how the names of stand-ins, and of what runs on them, begin


class HarnessError(Exception):
    """A mistake in input or environment; the command line prints it without a traceback and exits with `exit_code`."""

    exit_code = 1


class TrainingDiverged(HarnessError):
    """A loss, a gradient or a weight became NaN or infinite before `nimg` images; never zeroed, never scored."""

    exit_code = 3

    def __init__(self, message: str, nimg: int) -> None:
        super().__init__(message)
        self.nimg = nimg


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the closest valid name, else the list of valid names.

    A stand-in is offered only to who began to type one: its scores mean nothing.
    """
    names = sorted(valid)
    meant = bool(difflib.get_close_matches(name[:5], ("stand", "quick"), cutoff=0.6))
    close = difflib.get_close_matches(name, [n for n in names if meant or not STAND_IN.match(n)], n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else f" Valid: {', '.join(names)}."
