"""Any folder of images, or an npz with `images` and perhaps `labels`, as the source of a data set."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.data.arrays import NpzArray, check_images, read_labels, step
from harness.data.card import Definition
from harness.data.image_file import read_image
from harness.data.image_folder import ImageFolder, list_images
from harness.data.source import Picture, Source, hash_file
from harness.errors import HarnessError

_DECODED = {"jpeg_library": None}  # whoever made the npz decoded the images
CHUNK = 256  # images of an npz read at once, at most


def open_source(path: Path, entry: Definition) -> Source:
    """Open a folder of images (with its subfolders, in the order of the relative paths) or an npz.

    If every image lies in one of two or more subfolders, the subfolders in sorted order are the classes.

    Raises:
        HarnessError: nothing there, not such a file, or an image that is not read.
    """
    if path.is_dir():
        listing = list_images(path, entry.convert)
        print(f"{path}: {listing.found()}", file=sys.stderr)
        what = {"found": listing.found(), "listing_sha256": listing.digest()}
        return Source(len(listing.files), _from_folder(listing), f"image folder {path.name}", card=what)
    if path.suffix == ".npz" and path.is_file():
        source = open_npz(path)
        return replace(source, card={**source.card, **state(path, entry)})
    raise HarnessError(f"{path}: neither a folder of images nor an npz.")


def state(path: Path, entry: Definition) -> dict[str, str]:
    """Return what the card of a data set from `path` holds of its files: a digest of names, sizes and times.

    Raises:
        HarnessError: nothing there.
    """
    if path.is_dir():
        return {"listing_sha256": list_images(path, entry.convert).digest()}
    if not path.is_file():
        raise HarnessError(f"{path}: neither a folder of images nor an npz.")
    return {"listing_sha256": ImageFolder(path.parent, (path,), {}, ()).digest()}


def open_npz(path: Path) -> Source:
    """Open an npz with `images` uint8 [N, H, W, 3] and optionally `labels` [N]; the images are streamed from it.

    Raises:
        HarnessError: not an npz, arrays missing, or of another shape or type.
    """
    images = NpzArray(path, ("images",))
    check_images(images, path)
    labels = read_labels(path, len(images))
    return Source(len(images), _from_npz(images, labels), f"npz {path.name}", hash_file(path)[1], card=_DECODED)


def _from_npz(images: NpzArray, labels: np.ndarray | None) -> Iterator[Picture]:
    together = step(images.shape, CHUNK)
    for start in range(0, len(images), together):
        for i, image in enumerate(images[start : start + together], start):
            yield image, None if labels is None else int(labels[i])


def _from_folder(listing: ImageFolder) -> Iterator[Picture]:
    parents = listing.parents
    classes = sorted({parts[0] for parts in parents if parts})
    labelled = len(classes) > 1 and all(parents)
    for file, parts in zip(listing.files, parents, strict=True):
        yield read_image(file, listing.convert), classes.index(parts[0]) if labelled else None
