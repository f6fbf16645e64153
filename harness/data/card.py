"""What a data set is: its definition (experiments/datasets.yaml) before, and its card (card.json) after packing."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from harness.config.ranges import Count, Matches, Range, Sha256
from harness.config.reader import check_name, read
from harness.config.yaml_file import read_yaml
from harness.data.arrays import MAX_SIDE
from harness.data.image_file import Conversion
from harness.data.packed import CARD, seal
from harness.errors import HarnessError, nearest
from harness.paths import Checkout

DEFINITIONS = Path("experiments") / "datasets.yaml"


Side = Annotated[int, Range(low=1, high=MAX_SIDE)]
Md5 = Annotated[str, Matches(r"([0-9a-f]{32})?", "32 hexadecimal digits")]
Crop = Annotated[str, Matches(r"none|center-square|center-[1-9][0-9]{0,4}", "none, center-square or center-N (pixels)")]


@dataclass(frozen=True)
class Definition:
    """One entry of experiments/datasets.yaml. Split, crop and kernel are part of the protocol of every score."""

    source: Literal["standin", "cifar10", "stl10", "celeba", "folder"]
    split: str
    resolution: Side
    licence: str
    version: Count = 1  # bumped when the packed pixels change
    crop: Crop = "none"  # center-N: an N x N square; center-square: the largest
    resize: Literal["none", "bilinear", "bicubic", "lanczos", "box"] = "none"  # Pillow, antialiased
    count: Count | None = None  # images; None: as many as there are (source: folder)
    source_count: Count | None = None  # images in the source, of which the first `count` are packed; None: all are
    source_size: tuple[Side, Side] | None = None  # height, width before crop and resize; None: any
    pixels_sha256: Sha256 | None = None  # of the packed pixels in C order; None where no official value is known
    local: tuple[str, ...] = ()  # names looked for in HARNESS_DATA, best first
    members: dict[str, Md5] = field(default_factory=dict)  # the source's files that are read, in order: name -> md5
    archive: str = ""  # file name of the official archive ...
    archive_md5: Md5 = ""  # ... and its published md5
    path: str = ""  # source: folder: the folder or npz, absolute or from the repository root
    held_out: str = ""  # the data set with images of the same kind of which this one has none
    convert: tuple[Conversion, ...] = ()  # source: folder: files other than 8-bit RGB PNGs that are accepted


def definitions(root: Path) -> dict[str, Definition]:
    """Read all data set definitions of the repository at `root`.

    Raises:
        HarnessError: unreadable file, unknown key or a value that makes no sense.
    """
    file = Path(root) / DEFINITIONS
    out = {}
    for name, value in read_yaml(file).items():
        entry = out[check_name(name, str(file))] = read(Definition, value, f"{file}: {name}")
        _check(entry, f"{file}: {name}")
    for name in out:
        _check_held_out(name, out, str(file))
    return out


def _check(entry: Definition, where: str) -> None:
    """Refuse keys that make no sense together."""
    if entry.source == "folder" and not entry.path:
        raise HarnessError(f"{where}: a `source: folder` needs `path`, an image folder or an npz.")
    if entry.source != "folder" and (entry.path or entry.convert):
        raise HarnessError(f"{where}: `path` and `convert` are keys of a `source: folder`.")
    if entry.source != "folder" and entry.count is None:
        raise HarnessError(f"{where}: missing key 'count'; only a `source: folder` may leave it open.")
    if entry.source_count is not None and (entry.count is None or entry.count > entry.source_count):
        raise HarnessError(f"{where}: `source_count` is {entry.source_count:,}; give a `count` of at most that.")


def _check_held_out(name: str, known: dict[str, Definition], file: str) -> None:
    """Refuse images held out that do not exist, are the same or of another size."""
    held_out = known[name].held_out
    if not held_out:
        return
    if held_out not in known or held_out == name:
        raise HarnessError(f"{file}: {name}.held_out: no other data set '{held_out}'.{nearest(held_out, known)}")
    mine, other = known[name].resolution, known[held_out].resolution
    if mine != other:
        raise HarnessError(f"{file}: {name}.held_out: '{held_out}' is of {other} px, '{name}' of {mine}; name another.")


def definition(name: str, root: Path) -> Definition:
    """Return one definition.

    Raises:
        HarnessError: no such data set; the message names the nearest one.
    """
    known = definitions(root)
    if name not in known:
        raise HarnessError(f"{Path(root) / DEFINITIONS}: no data set '{name}'.{nearest(name, known)}")
    return known[name]


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
    return not differences(card, name, entry)


def differences(card: dict[str, Any], name: str, entry: Definition) -> list[str]:
    """Return the keys in which `card` is not what packing `entry` would make."""
    asked = {key: getattr(entry, key) for key in ("version", "source", "split", "crop", "resize", "resolution")}
    asked["name"] = name
    if entry.source == "folder":
        asked |= {"path": entry.path, "convert": list(entry.convert)}
    pinned = {"count": entry.count, "pixels_sha256": entry.pixels_sha256}
    asked |= {key: value for key, value in pinned.items() if value is not None}
    return [key for key, value in asked.items() if card.get(key) != value]


def check_definition(card: dict[str, Any], folder: Path, root: Path | None) -> None:
    """Hold the card of a packed data set against the definition of its name; what the checkout does not define passes.

    Args:
        card: {} for images that are no data set.
        root: the checkout; None: that of the working folder, if there is one.

    Raises:
        HarnessError: the definition is another one by now.
    """
    name = card.get("name")
    try:
        checkout = Checkout.find(root)
    except HarnessError:
        return
    entry = definitions(checkout.root).get(name) if isinstance(name, str) else None
    other = differences(card, str(name), entry) if entry is not None else []
    if other:
        raise HarnessError(
            f"{folder / CARD}: made by another definition of '{name}' than {checkout.datasets} has now "
            f"({', '.join(other)} differ); run `harness data {name} --out {folder}`, or take the change back."
        )
