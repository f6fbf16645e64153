"""How the `best` snapshot of a training was chosen, as a type: `choice.json`, validated and sealed."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config.ranges import Images, Sha256, Snapshot
from harness.errors import HarnessError
from harness.files import write_json
from harness.records import seal


@dataclass(frozen=True)
class Candidate:
    """One snapshot, and the FID of the samples that were drawn of it to choose by."""

    snapshot: Snapshot
    nimg: Images
    fid: float
    weights_sha256: Sha256


@dataclass(frozen=True)
class ChoiceRecord:
    """The snapshot of lowest FID, the first of equals."""

    chosen: Snapshot
    weights_sha256: Sha256  # of `chosen/best.safetensors`, whose metadata differ from the candidate's
    selection: str  # the sentence that scores of it carry
    candidates: tuple[Candidate, ...]
    protocol: dict[str, Any]
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        """Refuse a choice that its candidates do not give."""
        best = min(self.candidates, key=lambda one: one.fid).snapshot if self.candidates else None
        if self.chosen != best:
            raise HarnessError(f"not the record of a choice: chosen is '{self.chosen}', lowest FID has '{best}'.")


def read(path: Path) -> ChoiceRecord:
    """Read and validate one `choice.json`.

    Raises:
        HarnessError: missing, not JSON, changed since it was written, an unknown or missing key, or an impossible
            value.
    """
    return seal.read(ChoiceRecord, path, "Delete the file and run `harness choose` again.")


def write(path: Path, record: ChoiceRecord) -> None:
    """Seal and write one record atomically.

    Raises:
        HarnessError: a full disk.
    """
    write_json(path, seal.sealed(dataclasses.asdict(record)))
