"""Features kept on disk for KID: written row by row, sealed by a digest, read only if whole."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.files import make_folder, replacing, sweep

_CHUNK_BYTES = 1 << 22
_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class FeatureFile:
    """Features float32 [count, channels] in one file: the rows, then the sha256 of `content` and of the rows.

    `content` is everything the features depend on, as JSON-able values: the digest covers it, so a file that was copied
    to another entry's name is not read for it.
    """

    path: Path
    count: int
    channels: int
    content: dict[str, Any]

    def check_room(self) -> None:
        """Raise HarnessError unless the file can be written: a long pass must not end without its result."""
        folder, needed = self.path.parent, self.count * self.channels * 4
        try:
            make_folder(folder)
            sweep(folder)
            with tempfile.TemporaryFile(dir=folder):
                free = shutil.disk_usage(folder).free
        except OSError as error:
            raise HarnessError(
                f"{folder}: cannot be written ({error.strerror or error}), and features are kept there; name another "
                "folder with --cache, or leave out --kid, --extras and --bootstrap."
            ) from None
        if free < needed:
            raise HarnessError(f"{folder}: needs {needed:,} bytes, {free:,} are free; name another with --cache.")

    @contextmanager
    def writing(self) -> Iterator[Callable[[np.ndarray], None]]:
        """Yield a function that appends rows, float32 [n, channels]; the file gets its name when the block ends.

        Rows are written plainly: writing to a memory map on a full disk kills the process by a signal.

        Raises:
            HarnessError: the disk is full or the folder cannot be written.
        """
        digest, written = self._digest(), 0
        if self.path.parent.is_dir():
            sweep(self.path.parent)  # what killed writers left is as large as this file
        with replacing(self.path) as temporary, open(temporary, "wb") as handle:

            def append(rows: np.ndarray) -> None:
                nonlocal written
                assert rows.shape[1:] == (self.channels,), f"expected [n, {self.channels}], got {rows.shape}"
                data = np.ascontiguousarray(rows, dtype="<f4").data
                digest.update(data)
                handle.write(data)
                written += len(rows)

            yield append
            assert written == self.count, f"{written} of {self.count} rows were written"
            handle.write(digest.digest())

    def read(self) -> np.ndarray | None:
        """Return the features as a read-only memory map, or None if the file is absent, cut short or altered."""
        size = self.count * self.channels * 4
        try:
            with open(self.path, "rb") as handle:
                if os.fstat(handle.fileno()).st_size != size + _DIGEST_BYTES:
                    return None
                digest, left = self._digest(), size
                while left:
                    data = handle.read(min(left, _CHUNK_BYTES))
                    digest.update(data)
                    left -= len(data)
                if handle.read() != digest.digest():
                    return None
                # the open file is mapped, not its name: these are the bytes that were checked
                return np.memmap(handle, dtype="<f4", mode="r", shape=(self.count, self.channels))
        except FileNotFoundError:
            return None

    def _digest(self) -> Any:
        shape = [self.count, self.channels]
        return hashlib.sha256(json.dumps([shape, self.content], sort_keys=True).encode())
