"""Images to be scored, from this harness or from anywhere, read in slices and refused clearly when they are not fit."""

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness import progress
from harness.data.arrays import FloatRange, NpyFile, NpzArray, Slices, ValueRange, check_images, check_square, step
from harness.data.image_folder import FolderPixels, list_images
from harness.data.packed import CARD, IMAGES, is_packed, load
from harness.errors import HarnessError
from harness.files import read_json
from harness.paths import ScaleFolder

_FORMS = "a folder of PNGs, an .npy, or an .npz with `images` or `arr_0`"
_RECORD_KEYS = {"experiment", "seed", "snapshot", "nimg", "n"}  # one of them shows a damaged record, not a foreign file
_LOOKED_AT_ONCE = 50  # images whose values are looked at together, at most
_HASHED_AT_ONCE = 1024  # images, at most


@dataclass(frozen=True)
class Recorded:
    """The sha256 that a file states for the pixels of a set."""

    sha256: str
    file: Path
    fix: str


@dataclass(frozen=True)
class Images:
    """A set of images: `pixels` uint8 [N, R, R, 3], where they come from, and the card of a packed data set.

    Samples declared as floats are float32 on the scale of pixels, 0..255, neither rounded nor clamped. `found` says in
    one sentence what was opened, `caveats` what a score of these images must say beside it. `recorded` is the sha256
    that a card or a record states for all the pixels of `whole`, of which `pixels` may be the first ones, and
    `quantisation` how a record says that they were made.
    """

    pixels: Slices
    path: Path
    card: dict[str, Any] = field(default_factory=dict)
    found: str = ""
    caveats: tuple[str, ...] = ()
    recorded: Recorded | None = None
    whole: Slices | None = None
    quantisation: str | None = None

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

    def stream(self, batch: int, counts: Collection[int] = ()) -> "HashedPass":
        """Return one pass over the images in order, `batch` at a time; it hashes what it yields.

        Args:
            counts: the first so many images are hashed by themselves, too.
        """
        return HashedPass(self, batch, counts)

    def sha256(self) -> str:
        """Return the sha256 of the pixels in C order.

        Raises:
            HarnessError: the pixels are not the recorded ones.
        """
        return self.hashes([len(self)])[len(self)]

    def hashes(self, counts: Collection[int]) -> dict[int, str]:
        """Return the sha256 of the pixels of the first so many images, for each count, from one reading.

        Raises:
            HarnessError: the pixels are not the recorded ones.
        """
        done = self.stream(step(self.pixels.shape, _HASHED_AT_ONCE), counts)
        with progress.brief(len(self), "image", f"hash {self.path.name}") as bar:
            for batch in done:
                bar.update(len(batch))
        return {n: done.hashes[n] for n in counts}


class HashedPass:
    """One pass over images: yields uint8 [n, R, R, 3] in order; `sha256` is that of all the pixels it yielded.

    When the last batch was taken, the pixels are compared with the recorded sha256, if there is one. If only the first
    of a set were asked for, the others are read for that comparison.

    Raises:
        HarnessError: the pixels are not the recorded ones.
    """

    def __init__(self, images: Images, batch: int, counts: Collection[int] = ()):
        assert all(0 < n <= len(images) for n in counts), f"{counts} of {len(images)} images"
        self._images, self._counts = images, {*counts, len(images)}
        self._batches = self._read(batch)
        self._hashes: dict[int, str] | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        return self._batches

    @property
    def sha256(self) -> str:
        """Of the pixels in C order; known when all batches were taken."""
        return self.hashes[len(self._images)]

    @property
    def hashes(self) -> dict[int, str]:
        """Of the pixels of the first so many images, for each count; known when all batches were taken."""
        assert self._hashes is not None, "the pass is not over"
        return self._hashes

    def _read(self, batch: int) -> Iterator[np.ndarray]:
        images, digest, hashes = self._images, hashlib.sha256(), {}
        for start in range(0, len(images), batch):
            pixels = np.ascontiguousarray(images.pixels[start : start + batch])
            done = 0
            for n in sorted(n for n in self._counts if start < n <= start + len(pixels)):
                digest.update(pixels[done : n - start].data)
                hashes[n], done = digest.hexdigest(), n - start
            digest.update(pixels[done:].data)
            yield pixels
        if images.recorded is not None:
            whole = images.whole if images.whole is not None else images.pixels
            for start in range(len(images), len(whole), batch):
                digest.update(np.ascontiguousarray(whole[start : start + batch]).data)
            if digest.hexdigest() != images.recorded.sha256:
                raise HarnessError(
                    f"{images.path}: sha256 of the pixels is {digest.hexdigest()}, but {images.recorded.file} says "
                    f"{images.recorded.sha256}; {images.recorded.fix}."
                )
        self._hashes = hashes


def open_images(path: Path, known_range: bool = False, allow_jpeg: bool = False, floats: bool = False) -> Images:
    """Open a folder of PNGs, an npy or an npz (`images` or `arr_0`), or a packed data set (train.npy beside card.json).

    Unless their range is known to be 0..255, images whose values show another one are refused.

    Args:
        known_range: a record says what made the values.
        floats: the images are declared to be float32 on the scale 0..255; as anything else they are refused.

    Raises:
        HarnessError: missing; a wrong dtype, range, shape, mode or file type; mixed sizes; damaged.
    """
    path = Path(path)
    if not path.exists():
        raise HarnessError(f"{path}: no such file or folder; give {_FORMS}.")
    if floats and path.suffix not in (".npy", ".npz"):
        raise HarnessError(f"{path}: declared as floats, which only an .npy or an .npz holds; drop the declaration.")
    if path.is_dir() and is_packed(path):
        return _open_packed(path)
    if not (path.is_dir() or path.is_file()):
        raise HarnessError(f"{path}: neither a file nor a folder; give {_FORMS}.")
    if path.is_dir():
        images = _open_folder(path, ("jpeg",) if allow_jpeg else ())
    elif path.suffix == ".npy":
        array = NpyFile(path)
        check_images(array, path, floats)
        images = Images(array, path)
    elif path.suffix == ".npz":
        unpacked = NpzArray(path, ("images", "arr_0"))
        check_images(unpacked, path, floats)
        unpacked.check()
        images = Images(unpacked, path)
    else:
        raise HarnessError(f"{path}: cannot be read as images ('{path.suffix}'); give {_FORMS}.")
    check_square(images.pixels.shape, path)
    if not known_range:
        _check_values(images.pixels, FloatRange(path) if floats else ValueRange(path))
    return replace(images, found=images.found or f"{len(images):,} images of {images.resolution} px, {path.suffix[1:]}")


def _open_packed(path: Path) -> Images:
    card = load(path).card  # checks the arrays against the card
    sha256 = card.get("pixels_sha256")
    fix = f"the pixels are not those of the card, run `harness data {card.get('name', path.name)} --out {path}`"
    pixels = NpyFile(path / IMAGES)
    check_square(pixels.shape, path)
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


def record_of(path: Path) -> Path | None:
    """Return the record that lies with samples: `samples.json` beside a `samples.npy`, or where a scale keeps it.

    A scale's dump is `SCALE/runs/EXPERIMENT/seedS/SNAPSHOT/samples/VARIANT.npy`, and its record lies among
    `SCALE/records`. None: there is none.
    """
    place = Path(os.path.abspath(path))
    if not place.is_file():
        return None
    beside = place.with_name("samples.json")
    if place.name == "samples.npy" and beside.is_file():
        return path.with_name(beside.name)
    parts = re.fullmatch(r".*/([^/]+)/seed(0|[1-9][0-9]*)/([^/]+)/samples/([^/]+)\.npy", place.as_posix())
    if parts is None:
        return None
    folder, (experiment, seed, snapshot, variant) = ScaleFolder(place.parents[5]), parts.groups()
    if folder.dump(experiment, int(seed), snapshot, variant) != place:
        return None
    record = folder.sample_record(experiment, int(seed), snapshot)
    return record if record.is_file() else None


def open_dump(
    path: Path, record: Path | None = None, allow_jpeg: bool = False, floats: bool = False
) -> tuple[Images, dict[str, Any]]:
    """Open samples and the record that describes them: `record`, or that of `record_of`.

    The record is {} for foreign samples. A JSON of that name with nothing of a record in it belongs to somebody else;
    it is left alone, and `Images.found` says so.

    Args:
        floats: foreign samples are declared to be floats; see `open_images`. A record says it itself.

    Raises:
        HarnessError: unfit images, a file that the record does not name, or pixels whose sha256 is not the recorded
            one.
    """
    path, is_named = Path(path), record is not None
    if record is not None and not record.is_file():
        raise HarnessError(f"--run {record}: no such file; name the samples.json that was written with the samples.")
    record = record or record_of(path)
    if record is None:
        return open_images(path, allow_jpeg=allow_jpeg, floats=floats), {}
    stated = read_json(record)
    if not isinstance(stated, dict) or "samples_sha256" not in stated:
        if is_named or not stated or _RECORD_KEYS & _keys(stated):
            raise HarnessError(f"{record}: has no `samples_sha256`; write the dump again with `harness sample`.")
        images = open_images(path, floats=floats)
        return replace(images, found=f"{images.found}; {record} is no record of this harness"), {}
    sha256, quantisation = _said_of(path, stated, record)
    fix = "the dump was changed or cut short, write it again with `harness sample`"
    # a collapsed generator may well draw black
    images = open_images(path, known_range=True, floats=quantisation == "float")
    images = replace(images, recorded=Recorded(sha256, record, fix), quantisation=quantisation)
    images.sha256()  # compared before anything is computed, and again in the pass
    return images, stated


def _said_of(path: Path, stated: dict[str, Any], record: Path) -> tuple[str, str | None]:
    """Return the sha256 and the quantisation that a record states for one file of samples.

    A dump of the harness is one drawing in one or several files, listed in `files`; a record written by hand is of one.
    """
    files = stated.get("files")
    if files is None:
        return stated["samples_sha256"], stated.get("quantisation")
    said = files.get(path.name) if isinstance(files, dict) else None
    if not isinstance(said, dict) or not {"sha256", "quantisation"} <= said.keys():
        names = ", ".join(sorted(_keys(files))) or "no file"
        raise HarnessError(f"{record}: says nothing of {path.name}, only of {names}.")
    return said["sha256"], said["quantisation"]


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


def _check_values(pixels: Slices, values: ValueRange | FloatRange) -> None:
    together = step(pixels.shape, _LOOKED_AT_ONCE)
    for start in range(0, len(pixels), together):
        if values.decided:
            break
        values.look(pixels[start : start + together])
    values.finish()
