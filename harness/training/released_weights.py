"""Released weights in place of a training: an experiment like any other, whose train stage copies what was imported."""

import os
import tempfile
from pathlib import Path

import torch

from harness import provenance
from harness.config.experiments import Run, load_models
from harness.errors import HarnessError
from harness.files import copy, sha256_file, write_text
from harness.networks import registry
from harness.networks.generator_file import load_strictly, open_weights
from harness.paths import Checkout, TrainingFolders
from harness.records.train_record import Cost, TrainRecord, trained_run
from harness.sampling import draw, grid
from harness.training import published

VARIABLE = "HARNESS_CHECKPOINTS"


def obtain(name: str, checkout: Checkout) -> Path:
    """Copy an imported checkpoint from the folder named by HARNESS_CHECKPOINTS into the checkout and return its path.

    Without that folder the file that is there already is taken. The stages of released weights depend on this file.

    Raises:
        HarnessError: the file is nowhere, or `harness import` did not write it.
    """
    target, folder = checkout.released(name), os.environ.get(VARIABLE)
    source = Path(folder or "") / name
    if not folder or not source.is_file():
        source = target
    if not source.is_file():
        raise HarnessError(
            f"{target}: the released checkpoint is missing; fetch the authors' file (VITA-Group/TransGAN), write it "
            f"with `harness import transgan FILE --out {target}`, or set {VARIABLE}=DIR to a folder that holds {name} "
            f"(now {folder or 'unset'})."
        )
    if "checkpoint_sha256" not in open_weights(source).metadata:
        raise HarnessError(f"{source}: not written by `harness import`: its metadata names no checkpoint_sha256.")
    if source != target:
        copy(source, target)
    return target


def publish(run: Run, name: str, folders: TrainingFolders, root: Path | None = None) -> TrainRecord:
    """Publish imported weights as the run's `weights/last.safetensors`, with the same records as a training.

    Args:
        name: file written by `harness import`, in `data/checkpoints` of the checkout or where `obtain` finds it.
        root: the checkout that names the run; default: the one around the working folder.

    Raises:
        HarnessError: see `obtain`; or the file is not an imported checkpoint of this network.
    """
    checkout = Checkout.find(root)
    source = checkout.released(name)
    if not source.is_file():
        source = obtain(name, checkout)
    weights = open_weights(source, nimg="0")
    if "checkpoint_sha256" not in weights.metadata:
        raise HarnessError(f"{source}: not written by `harness import`: its metadata names no checkpoint_sha256.")
    generator = registry.build("generator", run.generator, run.resolution, load_models(checkout.root)).eval()
    load_strictly(generator, weights.tensors, str(source))
    images = next(draw.sample_chunks(generator, draw.CHUNK, run.seed))

    with tempfile.TemporaryDirectory() as temporary:
        picture, history = Path(temporary) / "imported.png", Path(temporary) / "history.csv"
        grid.grid_png(images, picture)
        write_text(history, "nimg,discriminator_loss\n")
        trained, recipe = trained_run(run)
        record = TrainRecord(
            run=trained,
            recipe=recipe,
            digest=None,
            nimg=0,
            partial=False,
            weights_sha256={"last": weights.sha256},
            history_sha256=sha256_file(history),
            cost=Cost(images=0, wall_sec=0.0),
            provenance=provenance.collect(checkout.root, device="cpu", threads=torch.get_num_threads()),
            origin=weights.metadata,
        )
        published.publish(record, {"last": source}, history, [picture], folders)
    return record
