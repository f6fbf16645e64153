"""What a value may be, written into its type: `lr: Positive`, `batch: Count`, `kind: Literal["none", "r1"]`.

`harness.config.reader` enforces it. A check is any object with `problem(value) -> str | None`.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from harness.device import NAMES, PATTERN

LARGEST = 2**53  # of whole numbers: exact in float64, JSON and every library that reads them


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included unless `above` or `below` excludes them."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def problem(self, value: float) -> str | None:
        """Say what is wrong with a number; None if nothing is."""
        if value < self.low or (self.above and value == self.low):
            return f"must be {'above' if self.above else 'at least'} {_written(self.low)}"
        if value > self.high or (self.below and value == self.high):
            return f"must be {'below' if self.below else 'at most'} {_written(self.high)}"
        return None


def _written(bound: float) -> str:
    """A bound as a user would type it: whole numbers with all their digits."""
    return str(int(bound)) if float(bound).is_integer() else f"{bound:g}"


@dataclass(frozen=True)
class Matches:
    """Text that matches a pattern as a whole; `words` says which text that is."""

    pattern: str
    words: str

    def problem(self, value: str) -> str | None:
        """Say what is wrong with a text; None if nothing is."""
        return None if re.fullmatch(self.pattern, value, re.ASCII) else f"must be {self.words}"


@dataclass(frozen=True)
class Written:
    """Whole numbers and text that, as text, match: what YAML reads as either."""

    matches: Matches

    def problem(self, value: object) -> str | None:
        """Say what is wrong with a value; None if nothing is."""
        return self.matches.problem(str(value) if type(value) in (int, str) else "")


@dataclass(frozen=True)
class Distinct:
    """Lists of at least one value, none of them twice; 8 and "8" are the same."""

    def problem(self, values: Sequence[object]) -> str | None:
        """Say what is wrong with a list; None if nothing is."""
        if not values:
            return "is empty; name at least one, or delete the key"
        twice = [value for value, n in Counter(map(str, values)).items() if n > 1]
        return f"names {twice[0]} more than once; delete the repetition" if twice else None


NAME = Matches(
    r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}",
    "a name of at most 100 letters, digits, - and _, because it becomes a path, a stage name and a shell word",
)

Count = Annotated[int, Range(low=1, high=LARGEST)]
Images = Annotated[int, Range(low=0, high=LARGEST)]  # an image count, a place in a training
Several = Annotated[int, Range(low=2, high=LARGEST)]  # images that a covariance is taken of
Threads = Annotated[int, Range(low=1, high=4096)]
Seed = Annotated[int, Range(low=0, high=2**32 - 1)]
Positive = Annotated[float, Range(low=0, above=True)]
NonNegative = Annotated[float, Range(low=0)]
Fraction = Annotated[float, Range(low=0, high=1)]
Decay = Annotated[float, Range(low=0, high=1, below=True)]
Name = Annotated[str, NAME]
ShellWord = Annotated[
    str, Matches(r"[A-Za-z0-9_./][A-Za-z0-9@%+=:,./_-]*", "one shell word: letters, digits and @ % + = : , . / _ -")
]
Folder = Annotated[
    str, Matches(r"([A-Za-z0-9_.][A-Za-z0-9@%+=:,./_-]*)?", "a relative path of letters, digits, . / _ -")
]
Device = Annotated[str, Matches(PATTERN, NAMES)]
Sha256 = Annotated[str, Matches(r"[0-9a-f]{64}", "a sha256, 64 hexadecimal digits")]
SNAPSHOT = Matches(r"last|best|[1-9][0-9]{0,15}", "`last`, `best` or an image count")
Snapshot = Annotated[str, SNAPSHOT]
Seeds = Annotated[tuple[Seed, ...], Distinct()]
Snapshots = Annotated[tuple[Annotated[Any, Written(SNAPSHOT)], ...], Distinct()]  # image counts are numbers in YAML
