"""What a data set is: its definition (experiments/datasets.yaml) before, and its card (card.json) after packing."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config.reader import read, read_yaml
from harness.errors import HarnessError, nearest

DEFINITIONS = Path("experiments") / "datasets.yaml"


@dataclass(frozen=True)
class Definition:
    """One entry of experiments/datasets.yaml. Split, crop and kernel are part of the protocol of every score."""

    source: str  # standin | cifar10 | stl10 | celeba | folder
    split: str
    resolution: int
    licence: str
    version: int = 1  # bumped when the packed pixels change
    crop: str = "none"  # none | center-N (an N x N square) | center-square (the largest)
    resize: str = "none"  # none | bilinear | bicubic | lanczos | box (Pillow, antialiased)
    count: int | None = None  # images; None: as many as there are (source: folder)
    source_size: tuple[int, int] | None = None  # height, width before crop and resize; None: any
    pixels_sha256: str | None = None  # of the packed pixels in C order; None where no official value is known
    local: tuple[str, ...] = ()  # names looked for in HARNESS_DATA, best first
    members: dict[str, str] = field(default_factory=dict)  # the source's files that are read, in order: name -> md5
    archive: str = ""  # file name of the official archive ...
    archive_md5: str = ""  # ... and its published md5
    path: str = ""  # source: folder: the folder or npz, absolute or from the repository root


def definitions(root: Path) -> dict[str, Definition]:
    """Read all data set definitions of the repository at `root`.

    Raises:
        HarnessError: unreadable file, unknown key or a value that makes no sense.
    """
    file = Path(root) / DEFINITIONS
    out = {}
    for name, value in read_yaml(file).items():
        where = f"{file}: {name}"
        entry = read(Definition, value, where)
        check_choice(entry.source, ("standin", "cifar10", "stl10", "celeba", "folder"), f"{where}.source")
        check_choice(entry.resize, ("none", "bilinear", "bicubic", "lanczos", "box"), f"{where}.resize")
        side = entry.crop.removeprefix("center-")
        if not (entry.crop in ("none", "center-square") or (side != entry.crop and side.isdigit() and int(side) > 0)):
            raise HarnessError(f"{where}.crop: '{entry.crop}' is none of none, center-square, center-N (pixels).")
        if entry.source == "folder" and not entry.path:
            raise HarnessError(f"{where}: a `source: folder` needs `path`, an image folder or an npz.")
        if entry.source != "folder" and entry.count is None:
            raise HarnessError(f"{where}: missing key 'count'; only a `source: folder` may leave it open.")
        out[name] = entry
    return out


def definition(name: str, root: Path) -> Definition:
    """Return one definition.

    Raises:
        HarnessError: no such data set; the message names the nearest one.
    """
    known = definitions(root)
    if name not in known:
        raise HarnessError(f"{Path(root) / DEFINITIONS}: no data set '{name}'.{nearest(name, known)}")
    return known[name]


def check_choice(value: str, valid: tuple[str, ...], where: str) -> None:
    """Raise HarnessError unless `value` is one of `valid`."""
    if value not in valid:
        raise HarnessError(f"{where}: unknown value '{value}'.{nearest(value, valid)}")


def make_card(name: str, entry: Definition, **measured: Any) -> dict[str, Any]:
    """Return the card: what was asked for (`entry`), what was measured, and the library that cropped and resized."""
    import PIL
    from PIL import features

    touched = entry.crop != "none" or entry.resize != "none"
    return {
        "schema": 1,
        "name": name,
        "version": entry.version,
        "source": entry.source,
        "stand_in": entry.source == "standin",
        "split": entry.split,
        "licence": entry.licence,
        "crop": entry.crop,
        "resize": entry.resize,
        "resize_library": f"Pillow {PIL.__version__}" if touched else None,
        "jpeg_library": f"libjpeg {features.version('jpg')}" if entry.source in ("celeba", "folder") else None,
        "resolution": entry.resolution,
        **measured,
    }


def matches(card: dict[str, Any], name: str, entry: Definition) -> bool:
    """Is `card` one that packing `entry` would make?"""
    asked = ("version", "source", "split", "crop", "resize", "resolution")
    same = card.get("name") == name and all(card.get(key) == getattr(entry, key) for key in asked)
    pinned = (("count", entry.count), ("pixels_sha256", entry.pixels_sha256))
    return same and all(value in (None, card.get(key)) for key, value in pinned)
