"""Packed data sets as every later stage reads them: a folder with `train.npy`, perhaps `labels.npy`, and `card.json`.

Reading needs NumPy only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.files import read_json

IMAGES, LABELS, CARD = "train.npy", "labels.npy", "card.json"


@dataclass(frozen=True)
class ImageSet:
    """Images of one size with the card that says where they come from.

    `images`: uint8 [N, R, R, 3], RGB, a read-only memory map. `labels`: integers [N], or None. `card`: docs/data.md.
    """

    images: np.ndarray
    labels: np.ndarray | None
    card: dict[str, Any]

    def __len__(self) -> int:
        return len(self.images)


def load(folder: Path) -> ImageSet:
    """Open a packed data set without reading its pixels into memory.

    Raises:
        HarnessError: the folder is missing or incomplete, or its arrays are not what its card says.
    """
    folder = Path(folder)
    fix = f"run `harness data {folder.name} --out {folder}`"
    if not (folder / CARD).is_file():
        raise HarnessError(f"{folder}: no packed data set here (no {CARD}); {fix}.")
    card = read_json(folder / CARD)
    try:
        expected = (card["count"], card["resolution"], card["resolution"], 3)
        labelled = card["labels"]
    except (KeyError, TypeError) as error:
        raise HarnessError(f"{folder / CARD}: not the card of a data set (missing {error}); {fix}.") from None
    images = _open(folder / IMAGES, fix)
    if images.dtype != np.uint8 or images.shape != expected:
        found = f"{images.dtype} {list(images.shape)}"
        raise HarnessError(f"{folder / IMAGES}: holds {found}, but its card says uint8 {list(expected)}; {fix}.")
    labels = _open(folder / LABELS, fix) if labelled else None
    if labels is not None and (labels.shape != expected[:1] or labels.dtype.kind not in "iu"):
        found = f"{labels.dtype} {list(labels.shape)}"
        raise HarnessError(f"{folder / LABELS}: holds {found}, but its card says {expected[0]} integers; {fix}.")
    return ImageSet(images, labels, card)


def _open(path: Path, fix: str) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such file; {fix}.") from None
    except (ValueError, EOFError, OSError) as error:
        raise HarnessError(f"{path}: not a readable NumPy array ({error}); {fix}.") from None
