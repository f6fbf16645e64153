"""How many images the stages of a scale draw and read: the one place where an estimate looks at a scale's scoring."""

from dataclasses import dataclass

from harness.config.experiments import Scale
from harness.pipeline import suite


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
    """Return the counts of every dump, choice and reference of a scale."""
    scoring, runs = scale.params.scoring, scale.params.runs
    scorers = scorers_of(scale)
    dumps = {}
    for key, dump in scale.params.dumps.items():
        n_fake = scoring.counts_of(dump.dataset)[0]
        dumps[key] = DumpCounts(n_fake, 1, dict.fromkeys(scorers, n_fake))
    references = {}
    for dataset in dict.fromkeys(run.dataset for run in runs.values()):
        choosing = any(choice.dataset == dataset for choice in scale.params.choices.values())
        for scorer in dict.fromkeys([*scorers, *["torch"] * choosing]):  # `choose` scores with torch
            references[scorer, dataset] = scoring.counts_of(dataset)[1]
    return ImageCounts(dumps, dict.fromkeys(scale.params.choices, scoring.n_choose), references)


def scorers_of(scale: Scale) -> tuple[str, ...]:
    """Return the scorers of a scale's suite; of a scale written by hand, those that a suite has by default."""
    if suite.suite_file(scale.checkout, scale.params.scale).is_file():
        return suite.read(scale.checkout, scale.params.scale).scorers
    return suite.Suite.scorers
