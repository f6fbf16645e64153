"""Images as lossless WebP sheets: half the size of raw arrays, for moving samples and data sets between machines."""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from harness.errors import HarnessError
from harness.files import replacing

COLUMNS, ROWS = 25, 40
PER_SHEET = COLUMNS * ROWS
EFFORT = {"lossless": True, "quality": 80, "method": 4}  # more effort saves under 2 % and takes 15 times as long


def tile(images: np.ndarray) -> np.ndarray:
    """Lay uint8 [n <= 1000, R, R, 3] row by row on a sheet uint8 [rows R, 25 R, 3]; missing tiles are black."""
    count, side = len(images), images.shape[1]
    assert 0 < count <= PER_SHEET, f"a sheet holds 1 to {PER_SHEET} images, not {count}"
    rows = -(-count // COLUMNS)
    full = np.zeros((rows * COLUMNS, side, side, 3), np.uint8)
    full[:count] = images
    grid = full.reshape(rows, COLUMNS, side, side, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(grid).reshape(rows * side, COLUMNS * side, 3)


def untile(sheet: np.ndarray, count: int) -> np.ndarray:
    """Return the first `count` images of a sheet: the inverse of `tile`."""
    side = sheet.shape[1] // COLUMNS
    grid = sheet.reshape(-1, side, COLUMNS, side, 3).transpose(0, 2, 1, 3, 4)
    return grid.reshape(-1, side, side, 3)[:count]


def write(images: np.ndarray, folder: Path) -> list[Path]:
    """Write uint8 [N, R, R, 3] as sheets `<first image>-<count>.webp`; sheets that are there already are kept.

    Returns:
        Their paths, in order.
    """
    starts = range(0, len(images), PER_SHEET)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # the encoder works outside Python's lock
        return list(pool.map(lambda start: _write(images[start : start + PER_SHEET], folder, start), starts))


def _write(images: np.ndarray, folder: Path, first: int) -> Path:
    from PIL import Image

    path = Path(folder) / f"{first:06d}-{len(images)}.webp"
    if not path.is_file():
        with replacing(path) as temporary:
            Image.fromarray(tile(images)).save(temporary, format="WEBP", **EFFORT)
    return path


def read(folder: Path) -> np.ndarray:
    """Read the sheets of a folder from image 0 up to the first gap: uint8 [N, R, R, 3].

    Raises:
        HarnessError: no sheet that begins with image 0, a damaged sheet, or one of another size.
    """
    blocks = list(_blocks(Path(folder)))
    if not blocks:
        raise HarnessError(f"{folder}: no sheet 000000-N.webp here; unpack the part that holds the first images.")
    if len({block.shape[1:] for block in blocks}) > 1:
        raise HarnessError(f"{folder}: sheets of several image sizes; keep one set of images in a folder.")
    return np.concatenate(blocks)


def _blocks(folder: Path) -> Iterator[np.ndarray]:
    from PIL import Image

    expected = 0
    for path in sorted(folder.glob("*.webp")):
        match = re.fullmatch(r"(\d{6})-(\d+)\.webp", path.name)
        if match is None or int(match[1]) != expected:
            return
        count = int(match[2])
        try:
            with Image.open(path) as image:
                block = untile(np.asarray(image.convert("RGB")), count)
        except (OSError, ValueError) as error:
            raise HarnessError(f"{path}: not a readable sheet ({error}); copy it again.") from None
        if len(block) != count:
            raise HarnessError(f"{path}: holds {len(block)} tiles, its name says {count}; copy it again.")
        expected += count
        yield block
