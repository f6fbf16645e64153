"""What a dump says of itself, as a type: `samples.json`, validated and sealed when it is written."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.config import protocols, reader
from harness.config.ranges import Count, Fraction, Images, Name, NonNegative, Seed, Sha256, Snapshot
from harness.files import write_json
from harness.records.seal import sealed

SCHEMA = 3
VARIANTS: dict[str, str] = {  # name of a dump's file -> quantisation of its images, as protocols name it
    variant: quantisation for quantisation, variant in protocols.VARIANTS.items()
}


@dataclass(frozen=True)
class SampleFile:
    """One file of a dump: `sha256` is of its pixels in C order, float32 for `float`."""

    quantisation: str
    sha256: Sha256


QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75)  # of the distances of a `Memorisation`
HeldOut = Literal["another data set", "not trained on", "trained on, leave-one-out"]


@dataclass(frozen=True)
class Memorisation:
    """Distances to the nearest image that was trained on: of samples, and of images that were held out.

    `sampling.nearest` measures them, in levels of 0..255; `QUANTILES` of them are kept. Samples that copy lie nearer
    than held-out images do; that none does proves little, since a copy that was moved or recoloured is far in pixels.
    """

    dataset: Name  # that was trained on
    pixels_sha256: Sha256  # of all its images, as its card says
    trained: Count  # how many of them the training had seen, all for weights without a number of images
    mirrored: bool  # the training saw each mirrored, too
    held_out: HeldOut  # the images of `held_out_distances`
    held_out_dataset: Name
    side: Count  # pixels, of the averaged images
    n: Count  # samples, the first of the dump
    n_held_out: Count
    sample_distances: tuple[NonNegative, ...]
    held_out_distances: tuple[NonNegative, ...]
    closer: Fraction  # share of pairs in which the sample is nearer than the held-out image; see `nearest.share_closer`


@dataclass(frozen=True)
class SampleRecord:
    """One dump: which generator drew it, how, and the hashes of both.

    One drawing may lie in several files, which differ in how the generator's output became pixels.
    """

    scale: Name
    experiment: Name
    seed: Seed  # of the training and of the latents
    snapshot: Snapshot
    selection: str | None  # how `best` was chosen
    nimg: Images
    planned_nimg: Images
    partial: bool  # not the end of a whole training; `best` may lie before the end of one
    dataset: Name
    n: Count
    ema: bool
    samples_sha256: Sha256  # of the pixels rounded to uint8, whether they are kept or not: it names the drawing
    files: dict[str, SampleFile]  # by name in the dump's folder
    weights_sha256: Sha256  # of the file that was loaded
    digest: str | None  # of the training; None for released weights
    provenance: dict[str, Any]
    memorisation: Memorisation | None = None  # None where the data set is not packed, and in older records
    schema: int = SCHEMA


def write(path: Path, record: SampleRecord) -> None:
    """Validate, seal and write one record atomically; `chain.check_sample` checks what is read.

    Raises:
        HarnessError: an impossible value, or a full disk.
    """
    value = dataclasses.asdict(record)
    reader.read(SampleRecord, value, str(path))
    write_json(path, sealed(value))
