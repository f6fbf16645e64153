"""Where a training works: a folder keyed by the digest of all that decides its result, locked while it works."""

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.config import reader
from harness.files import locked, read_json, sha256_pixels, sweep, write_json
from harness.records.train_record import differences

if TYPE_CHECKING:
    from harness.config.experiments import Run


@contextmanager
def open_run_folder(checkpoints: Path, run: "Run", images: np.ndarray, writes: bool = True) -> Iterator["RunFolder"]:
    """Open the folder of a training and lock it; what killed processes left half-written there is removed.

    A process that does not write leaves that to the one that does.

    Prints in what the run differs from an earlier one of this experiment and seed, if it is new.

    Raises:
        HarnessError: another process works there, or the folder cannot be written.
    """
    folder = RunFolder(checkpoints, run, images)
    if not writes:
        yield folder
        return
    with locked(folder.path / "lock"):
        for place in (folder.path, folder.weights, folder.grids, folder.diverged):
            sweep(place)
        if not (folder.path / "run.json").is_file():
            older = sorted(folder.path.parent.glob("*/run.json"), key=lambda p: p.stat().st_mtime)
            if older:
                changes = "\n".join(f"  {line}" for line in differences(read_json(older[-1]), folder.identity))
                print(
                    f"{run.experiment}: the run changed and starts afresh; {older[-1].parent} is kept.\n{changes}",
                    file=sys.stderr,
                )
            write_json(folder.path / "run.json", folder.identity)
        yield folder


class RunFolder:
    """`<checkpoints>/<experiment>-seed<seed>/<digest of all that decides the result>/`.

    `weights_sha256` holds the sha256 of every generator written so far, by its name.
    """

    def __init__(self, checkpoints: Path, run: "Run", images: np.ndarray) -> None:
        """Name the folder."""
        self.run = run
        self.identity = identity(run, sha256_pixels(images))
        self.digest = reader.digest(self.identity)
        self.path = Path(checkpoints) / f"{run.experiment}-seed{run.seed}" / self.digest
        self.weights_sha256: dict[str, str] = {}

    @property
    def weights(self) -> Path:
        """Generators, before they are published."""
        return self.path / "weights"

    @property
    def grids(self) -> Path:
        """Pictures, before they are published."""
        return self.path / "grids"

    @property
    def history(self) -> Path:
        """The history, before it is published."""
        return self.path / "history.csv"

    @property
    def diverged(self) -> Path:
        """State of a training that diverged."""
        return self.path / "diverged"


def identity(run: "Run", pixels_sha256: str) -> dict[str, Any]:
    """Everything that decides a training's result; two runs with the same identity are the same run."""
    fields = {key: value for key, value in dataclasses.asdict(run).items() if key != "scale"}
    return {**fields, "pixels_sha256": pixels_sha256}


def digest_of(run: "Run", pixels_sha256: str) -> str:
    """The digest that a training's record names: of everything that decides its result."""
    return reader.digest(identity(run, pixels_sha256))
