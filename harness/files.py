"""Files that are whole or absent: everything is written beside its final name, flushed, then renamed."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` only if the block succeeds.

    Raises:
        HarnessError: the disk is full or the folder cannot be written (nothing stands under `path` but what was there).
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise HarnessError(
            f"{path}: could not be written ({error.strerror or error}). The previous file, if any, is intact; "
            "free disk space or fix permissions and run again."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys atomically; NaN and infinity are refused (ValueError)."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_npy(path: Path, array: np.ndarray) -> None:
    """Write one NumPy array atomically."""
    with replacing(path) as temporary, open(temporary, "wb") as handle:
        np.save(handle, array)


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        HarnessError: the file is missing or is not valid JSON (the message says where).
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such file; run the stage that makes it (`dvc repro` runs all).") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: not valid JSON ({error}); delete it and run its stage again.") from None


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes as hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_pixels(images: np.ndarray, chunk: int = 4096) -> str:
    """Return the sha256 of uint8 pixels [N, R, R, 3] in C order, read in chunks so that a memory map stays on disk."""
    digest = hashlib.sha256()
    for start in range(0, len(images), chunk):
        digest.update(np.ascontiguousarray(images[start : start + chunk]).tobytes())
    return digest.hexdigest()
