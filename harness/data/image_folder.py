"""A folder of images: which of its files are read, which are left out and why. One rule for packing and scoring."""

import hashlib
import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from harness import progress
from harness.data.image_file import check_image, is_jpeg, only, read_image
from harness.errors import HarnessError

_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
_OTHER_IMAGES = (
    *(".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".avif"),
    *(".heic", ".jp2", ".jxl", ".exr", ".psd", ".svg"),
)
_SYSTEM = ("thumbs.db", "desktop.ini", "__macosx", "@eadir")


@dataclass(frozen=True)
class ImageFolder:
    """The image files under `folder` in the order of their relative POSIX paths, and what was skipped, by reason."""

    folder: Path
    files: tuple[Path, ...]
    skipped: dict[str, int]
    convert: tuple[str, ...]

    @property
    def parents(self) -> list[tuple[str, ...]]:
        """The folders of each file, below `folder`."""
        return [file.relative_to(self.folder).parts[:-1] for file in self.files]

    @cached_property
    def jpegs(self) -> int:
        """How many files are JPEGs by their first bytes, whatever they are called; only where JPEGs are accepted."""
        return sum(is_jpeg(file) for file in self.files) if "jpeg" in self.convert else 0

    def found(self, side: int | None = None) -> str:
        """Say what was found, and its size in pixels if it is known."""
        kinds = {"JPEGs": self.jpegs, "PNGs": len(self.files) - self.jpegs}
        folders = len(set(self.parents))
        size = f" of {side} px" if side else ""
        where = f" in {folders} folder{'s' * (folders > 1)}" if any(self.parents) else ""
        listed = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.skipped.items()))
        total = sum(self.skipped.values())
        left_out = f"; {total:,} file{'s' * (total != 1)} skipped ({listed})" if total else ""
        return " and ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count) + size + where + left_out

    @property
    def caveats(self) -> tuple[str, ...]:
        """What a score of these images must say beside it."""
        nested = any(self.parents)
        return (
            *([f"{self.jpegs:,} of {len(self.files):,} images are JPEGs"] if self.jpegs else []),
            *(["images of several folders, in the order of their paths"] if nested else []),
        )

    def digest(self) -> str:
        """Return a sha256 of names, sizes and times of the files: a cheap sign that the pixels may have changed."""
        digest = hashlib.sha256()
        for file in self.files:
            try:
                status = file.stat()
            except OSError as error:
                raise HarnessError(f"{file}: cannot be read ({error.strerror}).") from None
            name = os.fsencode(file.relative_to(self.folder).as_posix())
            digest.update(b"%s\0%d\0%d\n" % (name, status.st_size, status.st_mtime_ns))
        return digest.hexdigest()


def list_images(folder: Path, convert: Collection[str] = ()) -> ImageFolder:
    """Look through `folder` and its subfolders; links to folders are not followed.

    Raises:
        HarnessError: no image, one of a format that is not read, or a folder that cannot be opened.
    """
    files: list[Path] = []
    skipped: Counter[str] = Counter()

    def fail(error: OSError) -> None:
        raise HarnessError(f"{error.filename}: cannot be read ({error.strerror}).")

    for place, folders, names in os.walk(folder, onerror=fail):
        skipped["linked folder"] += sum(os.path.islink(os.path.join(place, name)) for name in folders)
        for name in names:
            file = Path(place, name)
            reason = _reason_to_skip(file, folder)
            if reason:
                skipped[reason] += 1
                continue
            suffix = file.suffix.lower()
            if suffix in _OTHER_IMAGES or (suffix in _JPEG and "jpeg" not in convert):
                form = "JPEG" if suffix in _JPEG else suffix[1:].upper()
                raise HarnessError(f"{file}: is {form}; {only(form)}.")
            files.append(file)
    files.sort(key=lambda file: file.relative_to(folder).as_posix())
    listing = ImageFolder(folder, tuple(files), {k: n for k, n in skipped.items() if n}, tuple(convert))
    if not files:
        raise HarnessError(f"{folder}: no images here{listing.found()}; give a folder of PNGs.")
    return listing


def _reason_to_skip(file: Path, folder: Path) -> str:
    parts = file.relative_to(folder).parts
    if any(part.startswith(".") or part.lower() in _SYSTEM for part in parts):
        return "hidden"
    if not file.is_file():
        return "broken link" if file.is_symlink() else "special file"
    suffix = file.suffix.lower()
    return "" if suffix in (".png", *_JPEG, *_OTHER_IMAGES) else suffix or "without suffix"


class FolderPixels:
    """The images of a folder, square and of one size, decoded slice by slice: uint8 [n, R, R, 3]."""

    def __init__(self, listing: ImageFolder):
        sizes: dict[tuple[int, int], Path] = {}
        files = listing.files
        for file in progress.over(files, len(files), "image", f"look at {listing.folder.name}", is_brief=True):
            sizes.setdefault(check_image(file, listing.convert)[1], file)
        folder = listing.folder
        how = (
            "give images of one square size, or define a data set with a crop or resize "
            "(`source: folder`, docs/data.md) and score its packed form"
        )
        if len(sizes) > 1:
            (a, file_a), (b, file_b), *_ = sizes.items()
            raise HarnessError(
                f"{folder}: mixed sizes ({file_a.name} is {a[1]} x {a[0]}, {file_b.name} is {b[1]} x {b[0]}); {how}."
            )
        ((height, width),) = sizes
        if height != width:
            raise HarnessError(f"{folder}: images of {width} x {height} pixels are not square; {how}.")
        self.shape = (len(listing.files), height, width, 3)
        self._listing = listing

    def __len__(self) -> int:
        return len(self._listing.files)

    def __getitem__(self, key: slice) -> np.ndarray:
        files = self._listing.files[key]
        out = np.empty((len(files), *self.shape[1:]), np.uint8)
        for i, file in enumerate(files):
            image = read_image(file, self._listing.convert)
            if image.shape != self.shape[1:]:
                raise HarnessError(f"{file}: changed its size while the folder was read; begin again.")
            out[i] = image
        return out
