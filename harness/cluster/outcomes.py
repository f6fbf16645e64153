"""What became of an attempt, and what follows from it."""

import enum
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.cluster import attempt_folder as state

DIVERGED = 3  # exit code of `harness train`


class Then(enum.Enum):
    """What the driver does after an attempt."""

    RECORD = "record"
    FAIL = "fail"
    RETRY = "retry"


def outcome(result: dict[str, Any] | None, attempt: int, error: str, outs: Iterable[Path]) -> tuple[Then, str]:
    """Decide what follows from an attempt, and say why.

    Args:
        result: what `result.json` holds.
        attempt: the number of the attempt that is over; a result of another one says nothing about it.
        error: what the engine says, if anything.
        outs: outputs that the stage has to have made.
    """
    if result is None or result.get("attempt") != attempt:
        return Then.RETRY, error or "it ended without a result"
    code = result["code"]
    if result["why"]:
        return Then.RETRY, result["why"]
    if code == state.TERMINATED:
        return Then.RETRY, "it was terminated by somebody else (exit 143)"
    if code == DIVERGED:
        return Then.FAIL, "the training diverged (exit 3)"
    if code > 128 and code - 128 in set(signal.Signals):
        return Then.FAIL, f"it died of {signal.Signals(code - 128).name} (exit {code})"
    if code:
        return Then.FAIL, f"exit {code}"
    missing = [str(path) for path in outs if not path.exists()]
    return (Then.FAIL, f"exit 0, but it did not make {', '.join(missing)}") if missing else (Then.RECORD, "")


def made_from(folder: Path, outs: Iterable[Path]) -> Any:
    """Return the inputs of an attempt that finished well and was not recorded, if its outputs are as it left them."""
    result = state.read(folder / "result.json")
    outs = list(outs)
    if result is None or outcome(result, state.last_attempt(folder), "", outs)[0] is not Then.RECORD:
        return None
    files = [file for out in outs for file in (out, *out.rglob("*"))]
    untouched = all(file.lstat().st_mtime <= result["finished"] for file in files)
    return result["inputs"] if untouched else None
