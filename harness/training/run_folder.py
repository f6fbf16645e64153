"""Where a run works and what it leaves: an ignored folder keyed by the run's digest, published when the run is done."""

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import provenance
from harness.config import reader
from harness.files import read_json, replacing, sha256_pixels, write_json

if TYPE_CHECKING:
    from harness.config.experiments import Run


class RunFolder:
    """`<checkpoints>/<experiment>-seed<seed>/<digest of all that decides the result>/`."""

    def __init__(self, checkpoints: Path, run: "Run", images: np.ndarray) -> None:
        """Create the folder; print in what it differs from an earlier run of this experiment and seed, if it does."""
        self.run = run
        self.identity = identity(run, images)
        self.digest = reader.digest(self.identity)
        family = Path(checkpoints) / f"{run.experiment}-seed{run.seed}"
        self.path = family / self.digest
        if not (self.path / "run.json").is_file():
            older = sorted(family.glob("*/run.json"), key=lambda p: p.stat().st_mtime)
            if older:
                changes = "\n".join(f"  {line}" for line in differences(read_json(older[-1]), self.identity))
                print(
                    f"{run.experiment}: the run changed and starts afresh; {older[-1].parent} is kept.\n{changes}",
                    file=sys.stderr,
                )
            write_json(self.path / "run.json", self.identity)

    def clear(self, out: Path) -> None:
        """Remove weights that an earlier training left under `out`: until this one is done, nothing stands for it."""
        for path in (Path(out) / "weights").glob("*.safetensors"):
            path.unlink()

    def publish(self, out: Path, records: Path, nimg: int, cost: dict[str, float], **environment: Any) -> None:
        """Copy weights to `out`/weights, history and grids to `records`/train, and write train.json."""
        for path in sorted((self.path / "weights").glob("*.safetensors")):
            copy(path, Path(out) / "weights" / path.name)
        for path in sorted((self.path / "grids").glob("*.png")):
            copy(path, Path(records) / "train" / "grids" / path.name)
        copy(self.path / "history.csv", Path(records) / "train" / "history.csv")
        run = self.run
        write_json(
            Path(records) / "train" / "train.json",
            {
                "schema": 1,
                "run": {k: v for k, v in dataclasses.asdict(run).items() if k != "recipe"},
                "recipe": dataclasses.asdict(run.recipe),
                "digest": self.digest,
                "nimg": nimg,
                "planned_nimg": run.planned_nimg,
                "partial": run.recipe.length_nimg < run.planned_nimg,
                "cost": {"images": nimg, **cost},
                "provenance": provenance.collect(pixels_sha256=self.identity["pixels_sha256"], **environment),
            },
        )


def identity(run: "Run", images: np.ndarray) -> dict[str, Any]:
    """Everything that decides a training's result; two runs with the same identity are the same run."""
    fields = {key: value for key, value in dataclasses.asdict(run).items() if key != "scale"}
    return {**fields, "pixels_sha256": sha256_pixels(images)}


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Lines `key: old -> new` for every leaf in which two nested mappings differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [line for k in keys for line in differences(old.get(k), new.get(k), f"{where}.{k}" if where else k)]
    return [] if reader.digest([old]) == reader.digest([new]) else [f"{where}: {old!r} -> {new!r}"]


def copy(source: Path, target: Path) -> None:
    """Copy one file atomically."""
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
