"""What a dump says of itself, as a type: `samples.json`, validated and sealed when it is written."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from harness.config import protocols, reader
from harness.config.ranges import Count, Images, Matches, Name, Seed, Snapshot
from harness.files import write_json
from harness.records.chain import sealed

SCHEMA = 3
Sha256 = Annotated[str, Matches(r"[0-9a-f]{64}", "a sha256, 64 hexadecimal digits")]
VARIANTS: dict[str, str] = {  # name of a dump's file -> quantisation of its images, as protocols name it
    variant: quantisation for quantisation, variant in protocols.VARIANTS.items()
}


@dataclass(frozen=True)
class SampleFile:
    """One file of a dump: `sha256` is of its pixels in C order, float32 for `float`."""

    quantisation: str
    sha256: Sha256


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
    schema: int = SCHEMA


def write(path: Path, record: SampleRecord) -> None:
    """Validate, seal and write one record atomically; `chain.check_sample` checks what is read.

    Raises:
        HarnessError: an impossible value, or a full disk.
    """
    value = dataclasses.asdict(record)
    reader.read(SampleRecord, value, str(path))
    write_json(path, sealed(value))
