"""Images to be scored, from this harness or from anywhere, read in slices and refused clearly when they are not fit."""

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from harness.errors import HarnessError
from harness.files import read_json

_FORMS = "a folder of PNGs, an .npy, or an .npz with `images` or `arr_0`"
_LOOK = 1000  # images whose values are looked at before scoring
_HASHED_AT_ONCE = 1024  # images


class Slices(Protocol):
    """Anything that gives uint8 [n, R, R, 3] for a slice; nothing is held in memory between slices."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (N, R, R, 3)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: slice) -> np.ndarray: ...


@dataclass(frozen=True)
class Recorded:
    """The sha256 that a file states for the pixels of a set."""

    sha256: str
    file: Path
    fix: str


@dataclass(frozen=True)
class Images:
    """A set of images: `pixels` uint8 [N, R, R, 3], where they come from, and the card of a packed data set.

    `found` says in one sentence what was opened, `caveats` what a score of these images must say beside it. `recorded`
    is the sha256 that a card or a record states for all the pixels of `whole`, of which `pixels` may be the first ones.
    """

    pixels: Slices
    path: Path
    card: dict[str, Any] = field(default_factory=dict)
    found: str = ""
    caveats: tuple[str, ...] = ()
    recorded: Recorded | None = None
    whole: Slices | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def resolution(self) -> int:
        """Side in pixels."""
        return self.pixels.shape[1]

    def first(self, n: int | None) -> "Images":
        """Return the first `n` images (all of them for None).

        Raises:
            HarnessError: there are fewer.
        """
        if n is not None and n > len(self):
            raise HarnessError(
                f"{self.path}: holds {len(self)} images, {n} are asked for; give more images or a smaller n."
            )
        if n is None or n == len(self):
            return self
        return replace(self, pixels=_Head(self.pixels, n), whole=self.whole or self.pixels)

    def stream(self, batch: int) -> "HashedPass":
        """Return one pass over the images in order, `batch` at a time; it hashes what it yields."""
        return HashedPass(self, batch)

    def sha256(self) -> str:
        """Return the sha256 of the pixels in C order.

        Raises:
            HarnessError: the pixels are not the recorded ones.
        """
        done = self.stream(_HASHED_AT_ONCE)
        for _ in done:
            pass
        return done.sha256


class HashedPass:
    """One pass over images: yields uint8 [n, R, R, 3] in order; `sha256` is that of all the pixels it yielded.

    When the last batch was taken, the pixels are compared with the recorded sha256, if there is one. If only the first
    of a set were asked for, the others are read for that comparison.

    Raises:
        HarnessError: the pixels are not the recorded ones.
    """

    def __init__(self, images: Images, batch: int):
        self._images = images
        self._batches = self._read(batch)
        self._sha256: str | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        return self._batches

    @property
    def sha256(self) -> str:
        """Of the pixels in C order; known when all batches were taken."""
        assert self._sha256 is not None, "the pass is not over"
        return self._sha256

    def _read(self, batch: int) -> Iterator[np.ndarray]:
        images, digest = self._images, hashlib.sha256()
        for start in range(0, len(images), batch):
            pixels = np.ascontiguousarray(images.pixels[start : start + batch])
            digest.update(pixels.data)
            yield pixels
        sha256 = digest.hexdigest()
        if images.recorded is not None:
            whole = images.whole if images.whole is not None else images.pixels
            for start in range(len(images), len(whole), batch):
                digest.update(np.ascontiguousarray(whole[start : start + batch]).data)
            if digest.hexdigest() != images.recorded.sha256:
                raise HarnessError(
                    f"{images.path}: sha256 of the pixels is {digest.hexdigest()}, but {images.recorded.file} says "
                    f"{images.recorded.sha256}; {images.recorded.fix}."
                )
        self._sha256 = sha256


def open_images(path: Path, quantised: bool = False) -> Images:
    """Open a folder of PNGs, an npy or an npz (`images` or `arr_0`), or a packed data set (train.npy beside card.json).

    Unless they are known to be `quantised` to 0..255, arrays whose values do not exceed 1 are refused.

    Raises:
        HarnessError: missing; a wrong dtype, range, shape, mode or file type; mixed sizes; damaged.
    """
    path = Path(path)
    if not path.exists():
        raise HarnessError(f"{path}: no such file or folder; give {_FORMS}.")
    if path.is_dir() and (path / "card.json").is_file():
        from harness.data.packed import load

        images = load(path)  # checks the arrays against the card
        sha256 = images.card.get("pixels_sha256")
        fix = f"the pixels are not those of the card, run `harness data {path.name} --out {path}`"
        recorded = Recorded(sha256, path / "card.json", fix) if sha256 else None
        return Images(_NpyFile(path / "train.npy"), path, images.card, recorded=recorded)
    if path.is_dir():
        return Images(_PngFolder(path), path)
    if path.suffix == ".npy":
        pixels: Slices = _NpyFile(path)
    elif path.suffix == ".npz":
        pixels = _read_npz(path)
    else:
        raise HarnessError(f"{path}: cannot be read as images ('{path.suffix}'); give {_FORMS}.")
    if not quantised:
        _check_values(pixels, path)
    return Images(pixels, path)


def open_dump(path: Path, record: Path | None = None) -> tuple[Images, dict[str, Any]]:
    """Open samples and the `samples.json` that describes them (beside them, or `record`; {} for foreign ones).

    Raises:
        HarnessError: unfit images, or pixels whose sha256 is not the recorded one.
    """
    beside = Path(path).with_name("samples.json")
    if record is None and not (Path(path).is_file() and beside.is_file()):
        return open_images(path), {}
    record = record or beside
    described = read_json(record)
    if not isinstance(described, dict) or "samples_sha256" not in described:
        raise HarnessError(f"{record}: has no `samples_sha256`; write the dump again with `harness sample`.")
    fix = "the dump was changed or cut short, write it again with `harness sample`"
    images = open_images(path, quantised=True)  # a collapsed generator may well draw black
    images = replace(images, recorded=Recorded(described["samples_sha256"], record, fix))
    images.sha256()  # compared before anything is computed, and again in the pass
    return images, described


# ---------------------------------------------------------------- forms of storage


class _Head:
    def __init__(self, pixels: Slices, n: int):
        self._pixels, self._n = pixels, n

    def __len__(self) -> int:
        return self._n

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._n, *self._pixels.shape[1:])

    def __getitem__(self, key: slice) -> np.ndarray:
        start, stop, _ = key.indices(self._n)
        return self._pixels[start:stop]


class _NpyFile:
    """Slices of an npy file read with plain reads: pages of a memory map would count as this process's memory."""

    def __init__(self, path: Path):
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise HarnessError(f"{path}: not a readable NumPy array ({error}); truncated?") from None
        _check_array(array, path)
        if not array.flags.c_contiguous:
            raise HarnessError(f"{path}: stored in Fortran order; save np.ascontiguousarray(images).")
        assert isinstance(array, np.memmap), "np.load maps an npy file"
        self.shape, self._path, self._offset = array.shape, path, array.offset

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice) -> np.ndarray:
        start, stop, _ = key.indices(len(self))
        size = int(np.prod(self.shape[1:]))
        values = np.fromfile(self._path, np.uint8, (stop - start) * size, offset=self._offset + start * size)
        if values.size != (stop - start) * size:
            raise HarnessError(f"{self._path}: became shorter while it was read; write it again.")
        return values.reshape(-1, *self.shape[1:])


class _PngFolder:
    """The PNGs of one folder in the order of their names, decoded slice by slice."""

    def __init__(self, folder: Path):
        from PIL import Image

        # sub-folders would be classes of some data set, whose order is not the names' order
        self._files = sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
        sizes: dict[tuple[int, int], Path] = {}
        for file in self._files:
            if file.suffix.lower() != ".png":
                raise HarnessError(
                    f"{file}: only PNGs are scored (JPEG changes the pixels, and with them FID); "
                    "write the samples losslessly and keep other files elsewhere."
                )
            try:
                with Image.open(file) as image:
                    form, mode, size = image.format, image.mode, image.size
            except OSError as error:
                raise HarnessError(f"{file}: not a readable image ({error}).") from None
            if form != "PNG":
                raise HarnessError(f"{file}: is {form} under the name of a PNG; write the samples losslessly as PNG.")
            if mode != "RGB":
                what = {"L": "grey", "1": "black and white", "P": "palette", "I;16": "16-bit grey"}.get(
                    mode, f"mode {mode}"
                )
                what = "with alpha" if mode in ("RGBA", "LA") else what
                raise HarnessError(
                    f"{file}: {what}, expected 8-bit RGB; convert it on purpose, it is not guessed here."
                )
            sizes.setdefault(size, file)
        if not self._files:
            raise HarnessError(f"{folder}: holds no images; give {_FORMS}.")
        if len(sizes) > 1:
            (a, file_a), (b, file_b), *_ = sizes.items()
            raise HarnessError(
                f"{folder}: mixed sizes ({file_a.name} is {a}, {file_b.name} is {b}); all must have one size."
            )
        ((width, height),) = sizes
        self.shape = (len(self._files), height, width, 3)
        _check_shape(self.shape, folder)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, key: slice) -> np.ndarray:
        from PIL import Image

        files = self._files[key]
        out = np.empty((len(files), *self.shape[1:]), np.uint8)
        for i, file in enumerate(files):
            try:
                with Image.open(file) as image:
                    out[i] = np.asarray(image)
            except OSError as error:
                raise HarnessError(f"{file}: not a readable image ({error}); truncated?") from None
        return out


def _read_npz(path: Path) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as file:
            name = next((n for n in ("images", "arr_0") if n in file.files), None)
            if name is None:
                raise HarnessError(f"{path}: holds {', '.join(file.files)}; expected `images` or `arr_0`.")
            array: np.ndarray = file[name]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise HarnessError(f"{path}: not a readable npz ({error}); truncated?") from None
    _check_array(array, path)
    return np.ascontiguousarray(array)


# ---------------------------------------------------------------- checks


def _check_array(array: np.ndarray, path: Path) -> None:
    if array.dtype != np.uint8:
        span = f" with values {array.min():.4g}..{array.max():.4g}" if array.size and array.dtype.kind in "iuf" else ""
        raise HarnessError(
            f"{path}: dtype {array.dtype}{span}, expected uint8 in 0..255; "
            "quantise on purpose, e.g. ((x + 1) * 127.5).round().clip(0, 255).astype('uint8') for x in -1..1."
        )
    _check_shape(array.shape, path)


def _check_shape(shape: tuple[int, ...], path: Path) -> None:
    hint = ""
    if len(shape) == 4 and shape[1] == 3 and shape[2] == shape[3]:
        hint = " It is channels first: save images.transpose(0, 2, 3, 1)."
    if len(shape) == 4 and shape[3] in (1, 4):
        hint = " Grey images and alpha channels are not scored: convert them to RGB on purpose."
    if len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2] or shape[1] < 1:
        raise HarnessError(f"{path}: shape {list(shape)}, expected square RGB images [N, R, R, 3].{hint}")
    if shape[0] < 2:
        raise HarnessError(f"{path}: holds {shape[0]} image(s); a score needs at least 2.")


def _check_values(pixels: Slices, path: Path) -> None:
    looked = pixels[0:_LOOK]
    if looked.max() <= 1:
        raise HarnessError(
            f"{path}: uint8, but no value of the first {len(looked)} images exceeds {looked.max()}; "
            "images in 0..1 must be multiplied by 255 before they are quantised."
        )
