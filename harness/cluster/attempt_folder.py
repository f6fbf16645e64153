"""What one stage's attempts leave in `.launch/<stage>/`, and the locks and leases in it.

The supervisor of an attempt starts with every stage, so nothing here imports more than the standard library.
"""

import fcntl
import json
import os
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

LOST = 254  # exit code of a supervisor that could not begin: the attempt did nothing
TERMINATED = 143  # 128 + SIGTERM
ENDED = "ended by its supervisor"  # the `why` of a result whose stage was told to end

MARK = "HARNESS_STAGE"  # in the environment of every process of a stage: `<folder>#<attempt>`


def escaped(stage: str) -> str:
    """Return a stage's name as that of a folder, other bytes as `%` and two digits; `unescaped` gives it back."""
    return re.sub(rb"[^\w@.-]|^\.", lambda m: b"%%%02X" % m[0][0], stage.encode()).decode()


def unescaped(folder: str) -> str:
    """Return the stage's name that a folder's name stands for."""
    return re.sub(rb"%([0-9A-F]{2})", lambda m: bytes([int(m[1], 16)]), folder.encode()).decode()


def write(path: Path, value: Any) -> None:
    """Write JSON by rename, so that a reader finds the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
    os.replace(temporary, path)


def read(path: Path) -> dict[str, Any] | None:
    """Return a JSON mapping, or None where there is no such file or it holds anything else.

    Raises:
        OSError: the folder cannot be reached.
    """
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def lease(folder: Path) -> int:
    """Return the number of the attempt that may run, 0 where none may; OSError: the folder cannot be reached."""
    number = (read(folder / "lease.json") or {}).get("attempt")
    return number if isinstance(number, int) else 0


def last_attempt(folder: Path) -> int:
    """Return the highest number that an attempt of this stage had."""
    number = (read(folder / "lease.json") or {}).get("last")
    return number if isinstance(number, int) else 0


def grant(folder: Path, attempt: int) -> None:
    """Let `attempt` run, and no older one."""
    write(folder / "lease.json", {"attempt": attempt, "last": attempt})


def revoke(folder: Path) -> None:
    """Let no attempt run; a supervisor that sees it ends its stage."""
    write(folder / "lease.json", {"attempt": 0, "last": last_attempt(folder)})


def open_lock(folder: Path) -> int:
    """Return an inheritable descriptor of the stage's lock file, not yet locked."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    os.set_inheritable(descriptor, True)
    return descriptor


def try_lock(descriptor: int) -> bool:
    """Lock a descriptor; False while another attempt's processes hold the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def locks_work(folder: Path) -> bool:
    """Return whether a file in `folder` that is locked once cannot be locked again."""
    first, second = open_lock(folder), open_lock(folder)
    try:
        return try_lock(first) and not try_lock(second)
    except OSError:
        return False
    finally:
        os.close(first)
        os.close(second)
        with suppress(OSError):
            os.unlink(folder / "lock")


def last_line(log: Path, most: int = 4096) -> str:
    """Return the last line of a log that is not empty, of its last `most` bytes; progress bars overwrite theirs."""
    try:
        with open(log, "rb") as handle:
            handle.seek(max(0, os.fstat(handle.fileno()).st_size - most))
            text = handle.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in re.split(r"[\r\n]", text) if line.strip()]
    return "".join(c for c in lines[-1] if c.isprintable()) if lines else ""


def now() -> float:
    """Return seconds since 1970."""
    return time.time()
