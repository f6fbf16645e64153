"""Images in npy and npz files, read slice by slice; nothing is allocated or unpickled on the word of a header."""

import io
import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from harness.errors import HarnessError

MAX_SIDE = 8192  # pixels of an image
_MAX_HEADER = 1 << 14  # bytes; NumPy's own limit is 10,000 characters
_BOMB_BYTES, _BOMB_RATIO = 1 << 30, 200  # members of a zip that grow to more than both are refused


AT_ONCE = 1 << 24  # values of images that are read together, apart from what a scorer's batch holds


def step(shape: tuple[int, ...], most: int) -> int:
    """Return how many images of [N, H, W, C] to read together: `most`, or fewer if they are large."""
    return max(1, min(most, AT_ONCE // max(1, math.prod(shape[1:]))))


class Slices(Protocol):
    """Anything that gives uint8 [n, R, R, 3] for a slice; nothing is held in memory between slices."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (N, R, R, 3)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: slice) -> np.ndarray: ...


@dataclass(frozen=True)
class Header:
    """What an npy file says of its array; the values begin `offset` bytes after its start."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    offset: int

    @property
    def nbytes(self) -> int:
        """Size of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


class NpyFile:
    """Slices of an npy file read with plain reads: pages of a memory map would count as this process's memory."""

    def __init__(self, path: Path):
        self._path = path
        with _explained(path, "NumPy array"), open(path, "rb") as handle:
            self.header = _read_header(handle, path.stat().st_size)
        self.shape = self.header.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice) -> np.ndarray:
        start, stop, _ = key.indices(len(self))
        dtype, row = self.header.dtype, math.prod(self.shape[1:])
        offset = self.header.offset + start * row * dtype.itemsize
        with _explained(self._path, "NumPy array"):
            values = np.fromfile(self._path, dtype, (stop - start) * row, offset=offset)
        if values.size != (stop - start) * row:
            raise HarnessError(f"{self._path}: became shorter while it was read; write it again.")
        return values.reshape(-1, *self.shape[1:])


class NpzArray:
    """Slices of one array of an npz, unpacked as they are read; going back begins again at the first."""

    def __init__(self, path: Path, names: tuple[str, ...]):
        self._path = path
        with _explained(path, "npz"), zipfile.ZipFile(path) as archive:
            held = [name.removesuffix(".npy") for name in archive.namelist()]
            self.name = next((name for name in names if name in held), "")
            if not self.name:
                wanted = " or ".join(f"`{name}`" for name in names)
                raise HarnessError(f"{path}: not an npz of images: holds {', '.join(held)}; expected {wanted}.")
            if held.count(self.name) > 1:
                raise HarnessError(f"{path}: holds `{self.name}` twice; save it with np.savez.")
            info = archive.getinfo(f"{self.name}.npy")
            if info.file_size > _BOMB_BYTES and info.file_size > _BOMB_RATIO * info.compress_size:
                raise HarnessError(
                    f"{path}: `{self.name}` grows from {info.compress_size:,} to {info.file_size:,} bytes, more than "
                    f"{_BOMB_RATIO} times; save it uncompressed with np.savez."
                )
            with archive.open(info) as handle:
                self.header = _read_header(handle, info.file_size)
        self.shape = self.header.shape
        self._at = 0
        self._handle: IO[bytes] | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice) -> np.ndarray:
        start, stop, _ = key.indices(len(self))
        row = math.prod(self.shape[1:]) * self.header.dtype.itemsize
        with _explained(self._path, "npz"):
            if self._handle is None or start < self._at:
                self._handle = zipfile.ZipFile(self._path).open(f"{self.name}.npy")  # noqa: SIM115  (kept for the next)
                _exactly(self._handle, self.header.offset)
                self._at = 0
            while self._at < start:
                _exactly(self._handle, row)
                self._at += 1
            data = _exactly(self._handle, max(0, stop - start) * row)  # the last byte brings the check of the checksum
            self._at = max(start, stop)
        return np.frombuffer(data, self.header.dtype).reshape(-1, *self.shape[1:])

    def check(self) -> None:
        """Read the array once, for its checksum.

        Raises:
            HarnessError: damaged.
        """
        step = max(1, (1 << 20) // max(1, math.prod(self.shape[1:])))
        for start in range(0, len(self), step):
            self[start : start + step]


def read_labels(path: Path, count: int) -> np.ndarray | None:
    """Return the array `labels` of an npz, `count` integers, or None if it has none.

    Raises:
        HarnessError: of another shape or type.
    """
    with _explained(path, "npz"), zipfile.ZipFile(path) as archive:
        if "labels.npy" not in archive.namelist():
            return None
    array = NpzArray(path, ("labels",))
    if array.shape != (count,) or array.header.dtype.kind not in "iu":
        found = f"{array.header.dtype} {list(array.shape)}"
        raise HarnessError(f"{path}: `labels` is {found}, expected {count} integers.")
    return array[0:count]


def _read_header(handle: IO[bytes], size: int) -> Header:
    """Read the header of an npy stream of `size` bytes, which must hold the array and nothing else."""
    start = io.BytesIO(handle.read(_MAX_HEADER))
    version = np.lib.format.read_magic(start)
    readers: dict[tuple[int, int], Callable[..., Any]] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of the format")
    shape, fortran, dtype = readers[version](start)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which could run code")
    header = Header(tuple(map(int, shape)), dtype, fortran, start.tell())
    if min(header.shape, default=0) < 0 or header.offset + header.nbytes != size:
        raise ValueError(f"its header speaks of {header.nbytes:,} bytes, {size - header.offset:,} are there")
    return header


def _exactly(handle: IO[bytes], size: int) -> bytes:
    data = handle.read(size)
    if len(data) != size:
        raise EOFError(f"ends {size - len(data):,} bytes too early")
    return data


@contextmanager
def _explained(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except (HarnessError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib, lzma, struct, tokenize and NumPy's header parser share no base class
        raise HarnessError(f"{path}: not a readable {what} ({error}); truncated?") from None


# ---------------------------------------------------------------- what images must be


def check_images(array: "NpyFile | NpzArray", path: Path, floats: bool = False) -> None:
    """Refuse an array that does not hold uint8 (declared as floats: float32) RGB images [N, H, W, 3] in C order.

    Raises:
        HarnessError: another dtype (the hint fits its values), order, shape or size.
    """
    header = array.header
    if floats and header.dtype != np.dtype("<f4"):
        raise HarnessError(
            f"{path}: dtype {header.dtype}, declared as floats; expected float32 on the scale 0..255: save "
            "images.astype('float32') if it is so, or drop the declaration."
        )
    if not floats and header.dtype != np.uint8:
        raise HarnessError(f"{path}: dtype {header.dtype}{_hint(array)}")
    if header.fortran:
        raise HarnessError(f"{path}: stored in Fortran order; save np.ascontiguousarray(images).")
    shape = header.shape
    hint = ""
    if len(shape) == 4 and shape[1] == 3 and shape[2] == shape[3]:
        hint = " It is channels first: save images.transpose(0, 2, 3, 1)."
    if len(shape) == 4 and shape[3] in (1, 4):
        hint = " Grey images and alpha channels are not scored: convert them to RGB on purpose."
    if len(shape) != 4 or shape[3] != 3 or min(shape[1:]) < 1:
        raise HarnessError(f"{path}: shape {list(shape)}, expected RGB images [N, H, W, 3].{hint}")
    if max(shape[1:3]) > MAX_SIDE:
        raise HarnessError(f"{path}: images of {shape[2]} x {shape[1]} pixels; a side may have {MAX_SIDE:,}.")


def check_square(shape: tuple[int, ...], path: Path) -> None:
    """Refuse images that cannot be scored: not square, or fewer than two."""
    if shape[1] != shape[2]:
        raise HarnessError(
            f"{path}: shape {list(shape)}, expected square RGB images [N, R, R, 3]; crop or resize them on purpose."
        )
    if shape[0] < 2:
        raise HarnessError(f"{path}: holds {shape[0]} image(s); a score needs at least 2.")


def _hint(array: "NpyFile | NpzArray") -> str:
    """Say what values an array that is not uint8 holds in its first rows, and how such values are quantised."""
    expected = ", expected uint8 in 0..255"
    if array.header.dtype.kind not in "iuf" or not array.header.nbytes:
        return f"{expected}."
    row = array.header.nbytes // len(array) if array.shape else 0
    if not 0 < row < 1 << 26:
        return f"{expected}."
    values = array[0 : max(1, (1 << 26) // row)]
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        return f" with values that are not finite{expected}; look for what made them."
    span = f" with values {low:.4g}..{high:.4g}{expected}; "
    if -1 <= low < 0 and high <= 1:
        return f"{span}quantise on purpose: ((x + 1) * 127.5).round().clip(0, 255).astype('uint8')."
    if low >= 0 and high <= 1:
        return f"{span}quantise on purpose: (x * 255).round().clip(0, 255).astype('uint8')."
    if low >= 0 and high <= 255:
        return f"{span}quantise on purpose: x.round().astype('uint8'), or score floats: --declare quantisation=float."
    return f"{span}the range is none of -1..1, 0..1 and 0..255: bring it to 0..255 on purpose."


LOOK = 1000  # images whose values are looked at


class ValueRange:
    """Tells images in 0..1, and images in -1..1 that were cast to uint8, from images in 0..255.

    Both kinds of mistake leave only the values 0, 1 and 255; so one other value among the first images is enough.
    """

    def __init__(self, path: Path | str):
        self._path = path
        self._seen: set[int] = set()
        self._looked = 0
        self.decided = False

    def look(self, images: np.ndarray) -> None:
        """Take note of the values of uint8 images [n, H, W, 3].

        Raises:
            HarnessError: enough images were looked at, and all of them are of the wrong range.
        """
        if self.decided:
            return
        self._seen |= set(np.flatnonzero(np.bincount(images.ravel(), minlength=256)).tolist())
        self._looked += len(images)
        self.decided = bool(self._seen - {0, 1, 255})
        if self._looked >= LOOK:
            self.finish()

    def finish(self) -> None:
        """Judge what was seen.

        Raises:
            HarnessError: the values are of the wrong range.
        """
        if self.decided or not self._looked:
            return
        values = ", ".join(map(str, sorted(self._seen)))
        if self._seen <= {0, 1}:
            why = "images in 0..1 must be multiplied by 255 before they are quantised"
        else:
            why = (
                "that is what a cast of images in -1..1 leaves; "
                "quantise with ((x + 1) * 127.5).round().clip(0, 255).astype('uint8')"
            )
        raise HarnessError(f"{self._path}: the first {self._looked} images hold no other values than {values}; {why}.")


# Values of samples that were never clamped: those of a generator whose output leaves its range -1..1 by twice as much.
_FLOAT_LOW, _FLOAT_HIGH = -255.0, 510.0
# Of values that reach below 0 the middle decides: it is 127.5 for 0..255, and 0 for -127.5..127.5, the output of a
# generator times 127.5 without the shift. The limit lies half-way.
_FLOAT_BELOW, _FLOAT_MIDDLE = -4.0, 63.75


class FloatRange:
    """Tells float images on the scale 0..255 from those in 0..1, -1..1 or -127.5..127.5, by their extremes."""

    def __init__(self, path: Path | str):
        self._path = path
        self._low, self._high = math.inf, -math.inf
        self._looked = 0
        self.decided = False

    def look(self, images: np.ndarray) -> None:
        """Take note of the values of float32 images [n, H, W, 3].

        Raises:
            HarnessError: a value is not finite, or enough images were looked at and show another range.
        """
        if not np.isfinite(images).all():
            raise HarnessError(f"{self._path}: holds values that are not finite; look for what made them.")
        self._low, self._high = min(self._low, float(images.min())), max(self._high, float(images.max()))
        self._looked += len(images)
        if self._looked >= LOOK:
            self.finish()
            self.decided = True

    def finish(self) -> None:
        """Judge what was seen.

        Raises:
            HarnessError: the values are of another range.
        """
        centred = self._low < _FLOAT_BELOW and (self._low + self._high) / 2 < _FLOAT_MIDDLE
        if not self._looked or (self._low >= _FLOAT_LOW and 4 < self._high <= _FLOAT_HIGH and not centred):
            return
        fix = "bring them to 0..255 on purpose"
        if self._low >= -4 and self._high <= 4:
            fix = "save images * 255 if they are in 0..1, (images + 1) * 127.5 if they are in -1..1"
        elif centred and self._low >= _FLOAT_LOW / 2 - 1:
            fix = "save images + 127.5 if they are in -127.5..127.5"
        span = f"values {self._low:.4g}..{self._high:.4g}"
        raise HarnessError(f"{self._path}: declared as floats, with {span}; expected the scale 0..255: {fix}.")
