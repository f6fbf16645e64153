"""Pack a source into `train.npy`, `labels.npy` and `card.json`: streamed, hashed on the way, renamed when whole."""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from harness import progress
from harness.data.arrays import ValueRange, step
from harness.data.card import Definition, make_card, matches
from harness.data.packed import CARD, IMAGES, LABELS, SEAL, check_content, load, sha256_labels
from harness.data.source import Picture, Source
from harness.errors import HarnessError
from harness.files import make_folder, read_json, sync_folder, write_json, write_npy

CHUNK = 256  # images held in memory at once, at most
PUBLISHING = ".publishing"  # stands in a folder whose files are being replaced: whatever lies there is ours


def pack(name: str, entry: Definition, source: Source, out: Path) -> dict[str, Any]:
    """Write the data set under `out` and return its card.

    Everything is first written into `.NAME.part` beside `out`; the card is renamed last: a folder with a card is whole.

    Raises:
        HarnessError: wrong count or pixels, unreadable images, or no space; nothing new stands under `out` then.
    """
    expected = entry.source_count or entry.count
    if expected is not None and source.count != expected:
        raise HarnessError(f"{source.origin}: holds {source.count:,} images, {name} takes {expected:,}: not {name}.")
    if min(source.count, entry.count or source.count) < 2:
        raise HarnessError(f"{source.origin}: holds {source.count} image(s) for {name}; a data set needs at least 2.")
    if entry.source_count is not None:
        assert entry.count is not None, "definitions() demands it"
        source = source.first(entry.count)
    part = out.parent / f".{out.name}.part"
    shutil.rmtree(part, ignore_errors=True)  # left by a killed process; the lock says that none is at work on it
    try:
        make_folder(part)
        _check_space(part, source.count * entry.resolution**2 * 3)
        digest, labels = _write_images(part / IMAGES, entry, source, name)
        if entry.pixels_sha256 and digest != entry.pixels_sha256:
            raise HarnessError(
                f"{source.origin}: the pixels have sha256 {digest}, {name} has {entry.pixels_sha256}: other images."
            )
        if labels is not None:
            write_npy(part / LABELS, labels)
        pinned = {"count": entry.count, "pixels sha256": entry.pixels_sha256}
        card = make_card(
            name,
            entry,
            count=source.count,
            labels=labels is not None,
            classes=int(labels.max()) + 1 if labels is not None else None,
            origin=source.origin,
            archive_sha256=source.archive_sha256,
            pixels_sha256=digest,
            labels_sha256=sha256_labels(labels) if labels is not None else None,
            **source.card,
            verified=[*source.verified, *(key for key, value in pinned.items() if value is not None)],
        )
        write_json(part / CARD, card)
        _publish(part, out)
    except OSError as error:
        raise HarnessError(
            f"{out}: could not be written ({error.strerror or error}); free disk space or fix permissions, run again."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return card


def check_place(name: str, out: Path) -> None:
    """Refuse a folder that holds what packing would replace and this data set's packing did not write.

    Raises:
        HarnessError: files without the card of this data set.
    """
    held = [file for file in (IMAGES, LABELS, CARD) if (out / file).exists()]
    if not held or (out / PUBLISHING).exists():
        return
    maker = "no data set that this harness packed"
    if CARD in held:
        try:
            card = read_json(out / CARD)
        except HarnessError:
            return  # a damaged card
        if isinstance(card, dict) and SEAL in card:
            if card.get("name") == name:
                return
            maker = f"data set {card.get('name')}"
    raise HarnessError(
        f"{out}: holds {', '.join(held)}, {maker}, and packing {name} would replace them; move them away, or name "
        "another folder with --out."
    )


def packed_card(name: str, entry: Definition, out: Path) -> dict[str, Any] | None:
    """Return the card of a packed, undamaged data set that fits its definition, else None (and why on stderr)."""
    if not (out / CARD).exists():
        return None
    try:
        found = load(out)
        if not matches(found.card, name, entry):
            print(f"{out / CARD}: made by another definition of {name}; packing it again.", file=sys.stderr)
            return None
        check_content(found, out)
    except HarnessError as error:
        print(f"{error} Packing it again.", file=sys.stderr)
        return None
    return found.card


@contextmanager
def exclusive(path: Path, doing: str) -> Iterator[None]:
    """Hold the lock file `path`; a second process says on stderr what it waits for, and waits."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{doing}: another process is at it; waiting ({path})", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def fit(image: np.ndarray, entry: Definition) -> np.ndarray:
    """Crop and resize one uint8 [H, W, 3] image to [R, R, 3] as the definition says.

    Crops are centred with torchvision's rounding (half the margin, rounded), resizing is Pillow's (antialiased): what
    torchvision's CenterCrop and Resize do to PIL images.
    """
    if entry.crop != "none":
        side = min(image.shape[:2]) if entry.crop == "center-square" else int(entry.crop.removeprefix("center-"))
        top, left = round((image.shape[0] - side) / 2), round((image.shape[1] - side) / 2)
        if min(top, left) < 0:
            raise HarnessError(
                f"an image of {image.shape[1]} x {image.shape[0]} pixels is too small for crop {entry.crop}"
            )
        image = image[top : top + side, left : left + side]
    if entry.resize != "none":
        from PIL import Image

        kernel = Image.Resampling[entry.resize.upper()]
        size = (entry.resolution, entry.resolution)
        image = np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size, kernel))
    if image.shape != (entry.resolution, entry.resolution, 3) or image.dtype != np.uint8:
        raise HarnessError(
            f"an image comes out as {image.dtype} {list(image.shape)}, not {entry.resolution} x {entry.resolution}; "
            "give the definition a crop or resize"
        )
    return image


def _write_images(path: Path, entry: Definition, source: Source, name: str) -> tuple[str, np.ndarray | None]:
    """Write an npy file through plain writes: a memory map on a full disk ends in SIGBUS, a write in an error."""
    digest = hashlib.sha256()
    labels: list[int | None] = []
    shape = (source.count, entry.resolution, entry.resolution, 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with open(path, "wb") as handle, progress.bar(source.count, "image", name) as bar:
        np.lib.format.write_array_header_1_0(handle, header)
        pictures = _checked(source, entry)
        while chunk := list(islice(pictures, step(shape, CHUNK))):
            block = np.ascontiguousarray(np.stack([image for image, _ in chunk]))
            digest.update(block.data)
            handle.write(block.data)
            labels.extend(label for _, label in chunk)
            bar.update(len(chunk))
        handle.flush()
        os.fsync(handle.fileno())
    if len(labels) != source.count:
        raise HarnessError(f"{source.origin}: ended after {len(labels):,} of {source.count:,} images; it is damaged.")
    known = [label for label in labels if label is not None]
    return digest.hexdigest(), np.array(known, np.int64) if known and len(known) == len(labels) else None


def _checked(source: Source, entry: Definition) -> Iterator[Picture]:
    values = ValueRange(source.origin)
    for index, (image, label) in enumerate(_readable(source)):
        if index == source.count:
            raise HarnessError(f"{source.origin}: holds more than the expected {source.count:,} images.")
        if entry.source == "folder":
            values.look(image[None])
        if entry.source_size is not None and image.shape != (*entry.source_size, 3):
            height, width = entry.source_size
            raise HarnessError(
                f"{source.origin}: image {index} has shape {list(image.shape)}, expected {[height, width, 3]}: "
                "crop and resize are part of the protocol, so only original pixels are read."
            )
        try:
            yield fit(image, entry), label
        except HarnessError as error:
            raise HarnessError(f"{source.origin}: image {index}: {error}.") from None
    values.finish()


def _readable(source: Source) -> Iterator[Picture]:
    """Yield the pictures; what decompressors, decoders and unpicklers say about a damaged file becomes one sentence."""
    pictures = iter(source.pictures)
    while True:
        try:
            picture = next(pictures)
        except StopIteration:
            return
        except (HarnessError, MemoryError):
            raise
        except Exception as error:  # zlib, tarfile, zipfile, pickle and struct have no base class of their own
            raise HarnessError(f"{source.origin}: truncated or damaged ({error}); fetch it again.") from error
        yield picture


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + (1 << 20):
        raise HarnessError(
            f"{folder.parent}: needs {needed / 1e9:.2f} GB of disk, {free / 1e9:.2f} GB are free; free some."
        )


def _publish(part: Path, out: Path) -> None:
    make_folder(out)
    (out / PUBLISHING).touch()
    (out / CARD).unlink(missing_ok=True)  # from here to the last rename the folder is not a data set
    (out / LABELS).unlink(missing_ok=True)
    for file in (IMAGES, LABELS, CARD):
        if (part / file).exists():
            os.replace(part / file, out / file)
    (out / PUBLISHING).unlink()
    sync_folder(out)
