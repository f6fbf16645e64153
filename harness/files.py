"""Files that are whole or absent: everything is written to a temporary, flushed, then renamed."""

import errno
import fcntl
import glob
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError

_HASHED_AT_ONCE = 1 << 24  # bytes


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a sentence about `path`.

    Raises:
        HarnessError: the disk is full or read-only, or permissions forbid it.
    """
    try:
        yield
    except OSError as error:
        raise HarnessError(
            f"{path}: could not be written ({error.strerror or error}). The previous file, if any, is intact; "
            "free disk space or fix permissions and run again."
        ) from error


@contextmanager
def replacing(path: Path, temporaries: Path | None = None) -> Iterator[Path]:
    """Yield an empty temporary file; rename it to `path` only if the block succeeds.

    The new file has the permissions that the umask gives. Temporaries that killed writers of `path` left are removed.

    Args:
        path: the file to be written; a symbolic link is replaced, never followed.
        temporaries: folder for the temporary, where a pipeline hashes the folder of `path`; default, and where it lies
            on another disk: the folder of `path`.

    Raises:
        HarnessError: the disk is full or the folder cannot be written (nothing stands under `path` but what was there).
    """
    path = Path(path)
    with writing(path):
        make_folder(path.parent)
        folder = path.parent
        if temporaries is not None and temporaries.stat().st_dev == folder.stat().st_dev:
            folder = temporaries
        sweep(folder, path.name)
        temporary, descriptor = _create_temporary(folder, path.name)
        try:
            yield temporary
            with open(temporary, "rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        finally:
            os.close(descriptor)
        sync_folder(path.parent)


def _create_temporary(folder: Path, name: str) -> tuple[Path, int]:
    """Create `.name.<random>.part` and lock it, so that `sweep` knows its writer lives; return it and a descriptor."""
    while True:
        path = folder / f".{name}.{secrets.token_hex(8)}.part"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():  # else swept between its creation and its lock
            return path, descriptor
        os.close(descriptor)


def sweep(folder: Path, name: str = "*") -> None:
    """Remove temporaries of killed writers of `name` (default: of any file) from a folder."""
    pattern = "*" if name == "*" else glob.escape(name)
    for path in Path(folder).glob(f".{pattern}.*.part"):
        with suppress(OSError):  # not ours to remove, or gone
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while the writer lives
                os.unlink(path)
            finally:
                os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, and let their names reach the disk."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in missing:
        sync_folder(place.parent)


def sync_folder(folder: Path) -> None:
    """Let the names in a folder reach the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot
            raise
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; the system releases it when the process ends, however it ends.

    Raises:
        HarnessError: another process holds it (its id is named), or the file cannot be written or locked.
    """
    with writing(path):
        make_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 100).decode(errors="replace").strip() or "unknown"
            raise HarnessError(
                f"{path.parent}: process {holder} is working here; wait until it is done, or stop it."
            ) from None
        except OSError as error:
            raise HarnessError(f"{path}: cannot be locked ({error.strerror}); use a folder on another disk.") from error
        with writing(path):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()} on {os.uname().nodename}\n".encode())
        yield
    finally:
        os.close(descriptor)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process (or thread) at a time read and rewrite the files of a folder; the others wait.

    The folder itself is locked, so nothing is left behind; a file system without locks lets everybody in.
    """
    with writing(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, if it is there, and let that reach the disk.

    Raises:
        HarnessError: it cannot be removed.
    """
    try:
        path.unlink()
        sync_folder(path.parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise HarnessError(f"{path}: could not be removed ({error.strerror or error}); fix permissions.") from error


def copy(source: Path, target: Path, sha256: str | None = None, temporaries: Path | None = None) -> None:
    """Copy one file atomically; `temporaries`: see `replacing`.

    Raises:
        HarnessError: `source` has another sha256 than given, or the target cannot be written.
    """
    with replacing(target, temporaries) as temporary:
        shutil.copyfile(source, temporary)
        found = sha256_file(temporary) if sha256 is not None else None
        if found != sha256:
            raise HarnessError(
                f"{source}: has sha256 {found}, but {sha256} was written there: it changed on the disk. Nothing was "
                f"published from it; delete it and run again."
            )


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
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, a number of 5,000 digits
        raise HarnessError(f"{path}: not valid JSON ({error}); delete it and run its stage again.") from None


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes as hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Return the sha256 of a JSON-able value with sorted keys, as 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sha256_pixels(images: np.ndarray) -> str:
    """Return the sha256 of uint8 pixels [N, R, R, 3] in C order, a few MB at once: a memory map stays on disk."""
    digest = hashlib.sha256()
    step = max(1, _HASHED_AT_ONCE * len(images) // max(1, images.nbytes))
    for start in range(0, len(images), step):
        digest.update(np.ascontiguousarray(images[start : start + step]).data)
    return digest.hexdigest()
