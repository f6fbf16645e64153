"""The references stage: hashes of packed images in a small file, which the score stages depend on."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.config import reader
from harness.config.experiments import Scale
from harness.data import packed
from harness.data.card import check_definition, definition
from harness.errors import HarnessError
from harness.files import read_json, write_json
from harness.pipeline.planned_scores import together


@dataclass(frozen=True)
class Facts:
    """What a score depends on of a packed data set, from its card; `pixels_sha256` is of all of its images."""

    pixels_sha256: str
    count: int
    resolution: int
    split: str
    crop: str
    resize: str
    stand_in: bool


def write(scale: Scale, names: list[str]) -> Path:
    """Write the facts of packed data sets, by name, and return the file. No image is read.

    Raises:
        HarnessError: a data set that is not defined, with the nearest name, not packed, or packed by another
            definition; a card that was edited.
    """
    path, facts = scale.folder.references(together(names)), {}
    for name in sorted(names):
        folder = scale.checkout.data(name)
        if not (folder / packed.CARD).is_file():
            definition(name, scale.checkout.root)
            raise HarnessError(f"{folder}: data set '{name}' is not packed yet: `harness data {name}`.")
        card = packed.read_card(folder)
        check_definition(card, folder, scale.checkout.root)
        facts[name] = asdict(_facts(card, name))
    write_json(path, facts)
    return path


def check(scale: Scale, name: str, data: set[str]) -> None:
    """Compare a file of references with the packed data sets that scores are about to read.

    Who reads their images compares these with the cards in the same pass.

    Raises:
        HarnessError: no such file, or the images were packed again since and are others.
    """
    path = scale.folder.references(name)
    fix = f"run `harness references {' '.join(sorted(data))}`"
    if not path.is_file():
        raise HarnessError(f"{path}: no such file; {fix}.")
    said = read_json(path)
    if not isinstance(said, dict) or not data <= said.keys():
        raise HarnessError(f"{path}: says nothing of {', '.join(sorted(data))}; {fix}.")
    for one in sorted(data):
        found = asdict(_facts(packed.read_card(scale.checkout.data(one)), one))
        if said[one] != found:
            keys = [key for key in found if not isinstance(said[one], dict) or said[one].get(key) != found[key]]
            raise HarnessError(f"{path}: '{one}' was packed otherwise since ({', '.join(keys)} differ); {fix}.")


def _facts(card: dict[str, Any], name: str) -> Facts:
    return reader.read(Facts, {key: card.get(key) for key in Facts.__dataclass_fields__}, f"card of '{name}'")
