"""Where a run works and what it leaves: an ignored folder keyed by the run's digest, published when it is done."""

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import config
from harness.files import read_json, replacing, sha256_pixels, write_json

if TYPE_CHECKING:
    from harness.experiments import Run


def identity(run: "Run", images: np.ndarray) -> dict[str, Any]:
    """Everything that decides a training's result; two runs with the same identity are the same run."""
    fields = {key: value for key, value in dataclasses.asdict(run).items() if key != "scale"}
    return {**fields, "pixels_sha256": sha256_pixels(images)}


def open_folder(checkpoints: Path, run: "Run", identity: dict[str, Any]) -> tuple[Path, str]:
    """Return (`checkpoints/<experiment>-seed<seed>/<digest>`, digest), created.

    If the folder is new and another one of the same experiment and seed exists, what changed since the newest of them is
    printed: a changed recipe starts afresh.
    """
    digest = config.digest(identity)
    family = Path(checkpoints) / f"{run.experiment}-seed{run.seed}"
    folder = family / digest
    if not (folder / "run.json").is_file():
        older = sorted(family.glob("*/run.json"), key=lambda p: p.stat().st_mtime)
        if older:
            changes = "\n".join(f"  {line}" for line in differences(read_json(older[-1]), identity))
            print(
                f"{run.experiment}: the run changed, so it starts afresh ({older[-1].parent} stays):\n{changes}",
                file=sys.stderr,
            )
        write_json(folder / "run.json", identity)
    return folder, digest


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Lines `key: old -> new` for every leaf in which two nested mappings differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [line for k in keys for line in differences(old.get(k), new.get(k), f"{where}.{k}" if where else k)]
    same = old == (list(new) if isinstance(new, tuple) else new) or config.digest([old]) == config.digest([new])
    return [] if same else [f"{where}: {old!r} -> {new!r}"]


def publish(source: Path, target: Path) -> None:
    """Copy one file atomically."""
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
