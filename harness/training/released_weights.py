"""Released weights in place of a training: an experiment like any other, whose train stage copies what was imported."""

import dataclasses
import os
from pathlib import Path

import torch
from safetensors import safe_open

from harness import provenance
from harness.config.experiments import Run
from harness.errors import HarnessError
from harness.files import sha256_file, write_json, write_text
from harness.networks import registry
from harness.networks.generator_file import load_generator
from harness.sampling import draw, grid
from harness.training import run_folder

VARIABLE = "HARNESS_CHECKPOINTS"


def publish(run: Run, name: str, out: Path, records: Path) -> None:
    """Publish imported weights as the run's `weights/last.safetensors`, with the same records as a training.

    Args:
        name: file in the folder named by HARNESS_CHECKPOINTS, written by `harness import`.

    Raises:
        HarnessError: the variable or file is missing, or the file is not an imported checkpoint of this network.
    """
    folder = os.environ.get(VARIABLE)
    source = Path(folder or "") / name
    if not folder or not source.is_file():
        raise HarnessError(
            f"experiment '{run.experiment}' scores released weights: no {name} in {VARIABLE}={folder or '(unset)'}. "
            f"Write it with `harness import transgan CHECKPOINT --out DIR/{name}` and set {VARIABLE}=DIR."
        )
    with safe_open(source, framework="pt") as handle:
        origin = handle.metadata() or {}
    if "checkpoint_sha256" not in origin:
        raise HarnessError(f"{source}: not written by `harness import`: its metadata names no checkpoint_sha256.")
    generator = registry.build("generator", run.generator, run.resolution).eval()
    load_generator(generator, source)

    run_folder.copy(source, out / "weights" / "last.safetensors")
    with torch.inference_mode():
        images = next(draw.sample_chunks(generator, draw.CHUNK, run.seed))
    grid.grid_png(images, records / "train" / "grids" / "imported.png")
    write_text(records / "train" / "history.csv", "nimg,discriminator_loss\n")
    write_json(
        records / "train" / "train.json",
        {
            "schema": 1,
            "run": {k: v for k, v in dataclasses.asdict(run).items() if k != "recipe"},
            "recipe": dataclasses.asdict(run.recipe),
            "origin": origin,
            "weights_sha256": sha256_file(source),
            "nimg": 0,
            "partial": False,
            "cost": {"images": 0, "wall_sec": 0.0},
            "provenance": provenance.collect(device="cpu"),
        },
    )
