"""Packed data sets as every later stage reads them: a folder with `train.npy`, perhaps `labels.npy`, and `card.json`.

Reading needs NumPy only.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.arrays import NpyFile
from harness.errors import HarnessError
from harness.files import read_json, sha256_json, sha256_pixels

IMAGES, LABELS, CARD = "train.npy", "labels.npy", "card.json"
SEAL = "card_sha256"


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
    """Open a packed data set without reading its pixels into memory; `check_content` compares them with the card.

    Raises:
        HarnessError: the folder is missing or incomplete, its card was changed, or its arrays are not what it says.
    """
    folder = Path(folder)
    card = read_card(folder)
    fix = f"run `harness data {card.get('name', folder.name)} --out {folder}`"
    try:
        expected = (card["count"], card["resolution"], card["resolution"], 3)
        labelled = card["labels"]
    except KeyError as error:
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


def check_content(images: ImageSet, folder: Path) -> None:
    """Read all pixels and labels and compare them with the card.

    Raises:
        HarnessError: they are others; the message names both.
    """
    labels = None if images.labels is None else sha256_labels(images.labels)
    for file, key, found in (
        (IMAGES, "pixels_sha256", sha256_pixels(images.images)),
        (LABELS, "labels_sha256", labels),
    ):
        stated = images.card.get(key)
        if found != stated:
            raise HarnessError(
                f"{folder / file}: the contents are not those of its card: sha256 is {found}, "
                f"but {folder / CARD} says {stated}; "
                f"run `harness data {images.card.get('name', folder.name)} --out {folder}`."
            )


def sha256_labels(labels: np.ndarray) -> str:
    """Return the sha256 of labels as int64."""
    return hashlib.sha256(np.ascontiguousarray(labels, np.int64).data).hexdigest()


def seal(card: dict[str, Any]) -> dict[str, Any]:
    """Return the card with `card_sha256`, the sha256 of its other entries."""
    body = {key: value for key, value in card.items() if key != SEAL}
    return {**body, SEAL: sha256_json(body)}


def is_packed(folder: Path) -> bool:
    """Return whether a folder is a packed data set, whole or not; a `card.json` of another program makes none."""
    if not (folder / CARD).is_file():
        return False
    if (folder / IMAGES).exists():
        return True
    try:
        card = read_json(folder / CARD)
    except HarnessError:
        return False
    return isinstance(card, dict) and SEAL in card


def read_card(folder: Path) -> dict[str, Any]:
    """Read the card of a packed data set; the arrays are left alone.

    Raises:
        HarnessError: it is missing or was changed.
    """
    path = folder / CARD
    if not path.is_file():
        raise HarnessError(
            f"{folder}: no packed data set here (no {CARD}); run `harness data {folder.name} --out {folder}`."
        )
    card = read_json(path)
    if not isinstance(card, dict) or SEAL not in card:
        raise HarnessError(
            f"{path}: not the card of a data set (missing '{SEAL}'); another program wrote it: name {folder / IMAGES} "
            f"itself, or move {CARD} away."
        )
    if seal(card) != card:
        raise HarnessError(
            f"{path}: was changed after it was written ({SEAL} does not fit its entries); "
            f"run `harness data {card.get('name', folder.name)} --out {folder}`."
        )
    return card


def _open(path: Path, fix: str) -> np.ndarray:
    try:
        NpyFile(path)  # its header fits its size
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (HarnessError, ValueError, OSError) as error:
        if not path.exists():
            raise HarnessError(f"{path}: no such file; {fix}.") from None
        raise HarnessError(f"{path}: not a readable NumPy array ({error}); {fix}.") from None
