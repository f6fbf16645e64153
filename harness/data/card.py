"""What a data set is: its definition (experiments/datasets.yaml) before, and its card (card.json) after packing."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config.reader import read, read_yaml
from harness.data.arrays import MAX_SIDE
from harness.data.image_file import CONVERSIONS
from harness.data.packed import seal
from harness.errors import HarnessError, nearest

DEFINITIONS = Path("experiments") / "datasets.yaml"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"


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
    convert: tuple[str, ...] = ()  # source: folder: files other than 8-bit RGB PNGs that are accepted (image_file.py)


def definitions(root: Path) -> dict[str, Definition]:
    """Read all data set definitions of the repository at `root`.

    Raises:
        HarnessError: unreadable file, unknown key or a value that makes no sense.
    """
    file = Path(root) / DEFINITIONS
    out = {}
    for name, value in read_yaml(file).items():
        where = f"{file}: {name}"
        if not re.fullmatch(_NAME, str(name)):
            raise HarnessError(f"{where}: a data set's name becomes a folder; letters, digits and . _ - are allowed.")
        out[str(name)] = read(Definition, value, where)
        _check(out[str(name)], where)
    return out


def _check(entry: Definition, where: str) -> None:
    """Refuse values that make no sense."""
    check_choice(entry.source, ("standin", "cifar10", "stl10", "celeba", "folder"), f"{where}.source")
    check_choice(entry.resize, ("none", "bilinear", "bicubic", "lanczos", "box"), f"{where}.resize")
    side = entry.crop.removeprefix("center-")
    if not (entry.crop in ("none", "center-square") or (side != entry.crop and side.isdigit() and int(side) > 0)):
        raise HarnessError(f"{where}.crop: '{entry.crop}' is none of none, center-square, center-N (pixels).")
    ranges = (
        ("resolution", entry.resolution, 1, MAX_SIDE),
        ("version", entry.version, 1, 10**9),
        ("count", entry.count, 1, 10**9),
        ("source_size[0]", entry.source_size and entry.source_size[0], 1, MAX_SIDE),
        ("source_size[1]", entry.source_size and entry.source_size[1], 1, MAX_SIDE),
    )
    for key, value, low, high in ranges:
        if value is not None and not low <= value <= high:
            raise HarnessError(f"{where}.{key}: {value} is out of range ({low} to {high}).")
    hashes = (("pixels_sha256", entry.pixels_sha256, 64), ("archive_md5", entry.archive_md5, 32))
    members = ((f"members.{name}", md5, 32) for name, md5 in entry.members.items())
    for key, digest, length in (*hashes, *members):
        if digest and not re.fullmatch(f"[0-9a-f]{{{length}}}", digest):
            raise HarnessError(f"{where}.{key}: '{digest}' is not {length} hexadecimal digits.")
    for kind in entry.convert:
        check_choice(kind, tuple(CONVERSIONS), f"{where}.convert")
    if entry.source == "folder" and not entry.path:
        raise HarnessError(f"{where}: a `source: folder` needs `path`, an image folder or an npz.")
    if entry.source != "folder" and (entry.path or entry.convert):
        raise HarnessError(f"{where}: `path` and `convert` are keys of a `source: folder`.")
    if entry.source != "folder" and entry.count is None:
        raise HarnessError(f"{where}: missing key 'count'; only a `source: folder` may leave it open.")


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
    """Return the card: what was asked for (`entry`), what was measured, and the libraries that made the pixels."""
    import PIL

    touched = entry.crop != "none" or entry.resize != "none"
    own = {"path": entry.path, "convert": list(entry.convert)} if entry.source == "folder" else {}
    return seal(
        {
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
            "jpeg_library": _jpeg_library() if entry.source == "celeba" or "jpeg" in entry.convert else None,
            "resolution": entry.resolution,
            **own,
            **measured,
        }
    )


def _jpeg_library() -> str:
    """Name the decoder of Pillow: libjpeg-turbo's own version where it is that, else the interface's."""
    from PIL import features

    turbo = features.version_feature("libjpeg_turbo") if features.check_feature("libjpeg_turbo") else None
    return f"libjpeg-turbo {turbo}" if turbo else f"libjpeg (interface {features.version('jpg')})"


def matches(card: dict[str, Any], name: str, entry: Definition) -> bool:
    """Is `card` one that packing `entry` would make?"""
    asked = ("version", "source", "split", "crop", "resize", "resolution")
    same = card.get("name") == name and all(card.get(key) == getattr(entry, key) for key in asked)
    if entry.source == "folder":
        same = same and card.get("path") == entry.path and card.get("convert") == list(entry.convert)
    pinned = (("count", entry.count), ("pixels_sha256", entry.pixels_sha256))
    return same and all(value in (None, card.get(key)) for key, value in pinned)
