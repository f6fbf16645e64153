"""Arrays of an npz, checked before anything is allocated for them."""

import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np

from harness.errors import HarnessError


def read_npz(
    source: Path | IO[bytes], where: str, limit_bytes: int, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Return the arrays of an npz, all of them or those of `names` that it holds.

    The size that each header declares is added up before memory is taken, and must be that of its content.

    Args:
        source: path or open file.
        where: what messages call it.
        limit_bytes: most bytes that the arrays may take together.

    Raises:
        HarnessError: no npz, damaged, arrays of Python objects, or larger than `limit_bytes`.
    """
    arrays, total = {}, 0
    try:
        with zipfile.ZipFile(source) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                if names is not None and name not in names:
                    continue
                with archive.open(entry) as member:
                    shape, is_fortran, dtype = _header(member)
                    size = math.prod(shape) * dtype.itemsize
                    total += size
                    if dtype.hasobject:
                        raise ValueError(f"{name} holds Python objects")
                    if total > limit_bytes:
                        raise ValueError(f"{name} is {list(shape)} of {dtype}, more than {limit_bytes:,} bytes in all")
                    if size > entry.file_size:
                        raise ValueError(f"{name} is {list(shape)} of {dtype}, but holds {entry.file_size:,} bytes")
                    data = member.read(size + 1)
                    if len(data) != size:
                        raise ValueError(f"{name} holds {len(data):,} bytes for {list(shape)} of {dtype}")
                    array = np.frombuffer(bytearray(data), dtype)
                    arrays[name] = array.reshape(shape, order="F" if is_fortran else "C")
    except Exception as error:  # zipfile, zlib, tokenize and NumPy raise whatever they like on damaged bytes
        raise HarnessError(f"{where}: not a readable npz ({error}); truncated? Fetch or make it again.") from None
    return arrays


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, Any]:
    version = np.lib.format.read_magic(member)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"npy version {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(member)
