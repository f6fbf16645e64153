"""How many images the stages of a scale draw and read: the one place where an estimate looks at a scale's scoring."""

from dataclasses import dataclass
from typing import Any

from harness.config import protocols
from harness.config.experiments import Scale
from harness.config.protocols import Planned


@dataclass(frozen=True)
class DumpCounts:
    """One dump: images drawn, bytes a value over all its files, and images that each scorer's network sees."""

    images: int
    bytes_each: int
    scored: dict[str, int]


@dataclass(frozen=True)
class ImageCounts:
    """All of a scale.

    `dumps` and `choices` (images drawn and scored of each candidate) have the keys of params.yaml; `references`: images
    of each data set that each scorer's network sees once.
    """

    dumps: dict[str, DumpCounts]
    choices: dict[str, int]
    references: dict[tuple[str, str], int]  # (scorer, data set)


def image_counts(scale: Scale) -> ImageCounts:
    """Return the counts of every dump, choice and reference of a scale.

    One pass over a dump, or over a reference, serves all protocols that share its file, scorer, resizer, weights and
    layer: it reads as many images as the largest of them.
    """
    dumps, reals = {}, dict[tuple[Any, ...], int]()
    for key, dump in scale.params.dumps.items():
        fakes, scored = dict[tuple[Any, ...], int](), dict[str, int]()
        for scorer, planned in protocols.of_dump(scale, dump.experiment, dump.seed, dump.snapshot).items():
            for one in planned:
                network = (scorer, one.resizer, one.inception, one.layer)
                _at_least(fakes, (*network, one.quantisation), one.n_fake)
                _at_least(reals, (*network, one.data), _n_real(scale, one))
            scored[scorer] = sum(n for found, n in fakes.items() if found[0] == scorer)
        each = sum(4 if variant == "float" else 1 for variant in dump.variants)
        dumps[key] = DumpCounts(dump.n_fake, each, scored)
    choices = {}
    for key, choice in scale.params.choices.items():
        one = protocols.of_choice(scale, choice.experiment, choice.seed)
        choices[key] = one.n_fake
        _at_least(reals, (one.scorer, one.resizer, one.inception, one.layer, one.data), _n_real(scale, one))
    references = dict[tuple[str, str], int]()
    for (scorer, *_, data), n in reals.items():
        references[scorer, data] = references.get((scorer, data), 0) + n
    return ImageCounts(dumps, choices, references)


def _at_least(counts: dict[tuple[Any, ...], int], key: tuple[Any, ...], n: int) -> None:
    counts[key] = max(counts.get(key, 0), n)


def _n_real(scale: Scale, one: Planned) -> int:
    """Return how many reals a score takes; of a folder of the user's own it is not known before it is packed."""
    return one.n_real or scale.definitions.datasets[one.data].get("count") or 0
