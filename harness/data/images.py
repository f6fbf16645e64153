"""Images to be scored, from this harness or from anywhere, read in slices and refused clearly when they are not fit."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.arrays import NpyFile, NpzArray, Slices, ValueRange, check_images, check_square
from harness.data.image_folder import FolderPixels, list_images
from harness.data.packed import CARD, IMAGES, load
from harness.errors import HarnessError
from harness.files import read_json

_FORMS = "a folder of PNGs, an .npy, or an .npz with `images` or `arr_0`"
_RECORD_KEYS = {"experiment", "seed", "snapshot", "nimg", "n"}  # one of them shows a damaged record, not a foreign file
_LOOKED_AT_ONCE = 50  # images whose values are looked at together
_HASHED_AT_ONCE = 1024  # images


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


def open_images(path: Path, quantised: bool = False, allow_jpeg: bool = False) -> Images:
    """Open a folder of PNGs, an npy or an npz (`images` or `arr_0`), or a packed data set (train.npy beside card.json).

    Unless they are known to be `quantised` to 0..255, images whose values show another range are refused.

    Raises:
        HarnessError: missing; a wrong dtype, range, shape, mode or file type; mixed sizes; damaged.
    """
    path = Path(path)
    if not path.exists():
        raise HarnessError(f"{path}: no such file or folder; give {_FORMS}.")
    if path.is_dir() and (path / CARD).is_file():
        return _open_packed(path)
    if not (path.is_dir() or path.is_file()):
        raise HarnessError(f"{path}: neither a file nor a folder; give {_FORMS}.")
    if path.is_dir():
        images = _open_folder(path, ("jpeg",) if allow_jpeg else ())
    elif path.suffix == ".npy":
        array = NpyFile(path)
        check_images(array, path)
        images = Images(array, path)
    elif path.suffix == ".npz":
        unpacked = NpzArray(path, ("images", "arr_0"))
        check_images(unpacked, path)
        unpacked.check()
        images = Images(unpacked, path)
    else:
        raise HarnessError(f"{path}: cannot be read as images ('{path.suffix}'); give {_FORMS}.")
    check_square(images.pixels.shape, path)
    if not quantised:
        _check_values(images.pixels, path)
    return replace(images, found=images.found or f"{len(images):,} images of {images.resolution} px")


def _open_packed(path: Path) -> Images:
    card = load(path).card  # checks the arrays against the card
    sha256 = card.get("pixels_sha256")
    fix = f"the pixels are not those of the card, run `harness data {path.name} --out {path}`"
    pixels = NpyFile(path / IMAGES)
    return Images(
        pixels,
        path,
        card,
        found=f"{len(pixels):,} images of {pixels.shape[1]} px, data set {card.get('name')}",
        recorded=Recorded(sha256, path / CARD, fix) if sha256 else None,
    )


def _open_folder(path: Path, convert: tuple[str, ...]) -> Images:
    listing = list_images(path, convert)
    pixels = FolderPixels(listing)
    return Images(pixels, path, found=listing.found(pixels.shape[1]), caveats=listing.caveats)


def open_dump(path: Path, record: Path | None = None, allow_jpeg: bool = False) -> tuple[Images, dict[str, Any]]:
    """Open samples and the record that describes them: `record`, or the `samples.json` beside a `samples.npy`.

    The record is {} for foreign samples. A JSON of that name with nothing of a record in it belongs to somebody else;
    it is left alone, and `Images.found` says so.

    Raises:
        HarnessError: unfit images, or pixels whose sha256 is not the recorded one.
    """
    path = Path(path)
    beside = path.with_name("samples.json")
    if record is None and not (path.name == "samples.npy" and path.is_file() and beside.is_file()):
        return open_images(path, allow_jpeg=allow_jpeg), {}
    stated = read_json(record or beside)
    if not isinstance(stated, dict) or "samples_sha256" not in stated:
        if record is not None or not stated or _RECORD_KEYS & _keys(stated):
            raise HarnessError(
                f"{record or beside}: has no `samples_sha256`; write the dump again with `harness sample`."
            )
        images = open_images(path)
        return replace(images, found=f"{images.found}; {beside} is no record of this harness"), {}
    fix = "the dump was changed or cut short, write it again with `harness sample`"
    recorded = Recorded(stated["samples_sha256"], record or beside, fix)
    images = replace(open_images(path, quantised=True), recorded=recorded)  # a collapsed generator may well draw black
    images.sha256()  # compared before anything is computed, and again in the pass
    return images, stated


def _keys(value: Any) -> set[str]:
    return set(value) if isinstance(value, dict) else set()


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


def _check_values(pixels: Slices, path: Path) -> None:
    values = ValueRange(path)
    for start in range(0, len(pixels), _LOOKED_AT_ONCE):
        if values.decided:
            break
        values.look(pixels[start : start + _LOOKED_AT_ONCE])
    values.finish()
