"""The sample stage: a snapshot's weights -> a dump of uint8 images, its record and a picture of its first images."""

import dataclasses
import hashlib
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from harness import provenance
from harness.config.experiments import Run, Scale
from harness.device import check_device
from harness.errors import HarnessError
from harness.files import replacing
from harness.networks import registry
from harness.networks.generator_file import Weights, load_strictly
from harness.pipeline.plan import within_limit
from harness.records import sample_record, train_record
from harness.records.sample_record import SampleRecord
from harness.sampling import draw, grid
from harness.training.run_folder import differences

PICTURED = 100  # images of the grid


def sample(
    scale: Scale,
    run: Run,
    snapshot: str = "last",
    *,
    n: int | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> SampleRecord:
    """Draw `n` (default: the scale's n_fake) images from a snapshot of `run`.

    Writes the dump (uint8 [n, R, R, 3]), its record `samples.json` and `grid.png`, each under the paths of
    `paths.ScaleFolder`. Image i depends on (seed, i) only.

    Raises:
        HarnessError: a snapshot that the recipe does not keep; missing, damaged or other weights, or those of a
            training that is not the planned one; or a full disk.
    """
    scoring, started = scale.params.scoring, time.perf_counter()
    device = check_device(device or scale.params.device)
    n = n or scoring.counts_of(run.dataset)[0]
    torch.set_num_threads(threads or scale.params.threads)
    generator = registry.build("generator", run.generator, run.resolution, scale.definitions.models).to(device)
    weights = load_snapshot(scale, run, snapshot, generator)
    chunks = draw.QUANTISATIONS[scoring.quantisation](generator, n, run.seed, device)
    dump = scale.folder.dump(run.experiment, run.seed, snapshot)
    samples_sha256, pictured = write_dump(dump, chunks, (n, run.resolution, run.resolution, 3))
    grid.grid_png(pictured, scale.folder.grid(run.experiment, run.seed, snapshot))
    record = SampleRecord(
        scale=scale.params.scale,
        experiment=run.experiment,
        seed=run.seed,
        snapshot=snapshot,
        selection=weights.metadata.get("selection"),
        nimg=weights.nimg,
        planned_nimg=run.planned_nimg,
        # the best may lie before the end of a whole training
        partial=run.partial if snapshot == "best" else weights.nimg < run.planned_nimg,
        dataset=run.dataset,
        n=n,
        ema=run.recipe.ema.kind != "none",
        quantisation=scoring.quantisation,
        samples_sha256=samples_sha256,
        weights_sha256=weights.sha256,
        digest=weights.metadata.get("digest"),
        provenance=provenance.collect(
            scale.root,
            device=device,
            threads=torch.get_num_threads(),
            wall_sec=round(time.perf_counter() - started, 2),
        ),
    )
    sample_record.write(scale.folder.sample_record(run.experiment, run.seed, snapshot), record)
    return record


def load_snapshot(scale: Scale, run: Run, snapshot: str, generator: nn.Module) -> Weights:
    """Load one snapshot of a planned training into `generator` and return what was read.

    Raises:
        HarnessError: no such snapshot in the recipe; see `train_record.open_snapshot`; or the weights are those of a
            training by another recipe, network or version than the plan says.
    """
    if snapshot not in run.snapshots:
        raise HarnessError(
            f"{run.experiment}: no snapshot '{snapshot}'; the recipe keeps {', '.join(run.snapshots)}"
            f"{within_limit(run)}."
        )
    path = scale.folder.weights(run.experiment, run.seed, snapshot)
    weights = train_record.open_snapshot(scale.folder, run.experiment, run.seed, snapshot)
    place = scale.folder.train_record(run.experiment, run.seed)
    trained, (planned, recipe) = train_record.read(place), train_record.trained_run(run)
    was, now = (
        {"run": dataclasses.asdict(a), "recipe": b} for a, b in ((trained.run, trained.recipe), (planned, recipe))
    )
    if changes := differences(was, now):
        raise HarnessError(
            f"{place}: the training was planned otherwise since then ({'; '.join(changes)}); "
            f"run `harness train {run.experiment} --seed {run.seed}` again."
        )
    load_strictly(generator, weights.tensors, str(path))
    return weights


def write_dump(path: Path, chunks: Iterable[np.ndarray], shape: tuple[int, int, int, int]) -> tuple[str, np.ndarray]:
    """Write chunks of uint8 images as one npy of `shape`, atomically.

    Returns:
        The sha256 of the pixels, of the bytes as they were written, and the first images.
    """
    digest, first = hashlib.sha256(), []
    bar = tqdm(total=shape[0], unit="image", desc="sample")
    with bar, replacing(path) as temporary, open(temporary, "wb") as handle:
        np.lib.format.write_array_header_1_0(handle, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for chunk in chunks:
            pixels = chunk.tobytes()
            handle.write(pixels)
            digest.update(pixels)
            if bar.n < PICTURED:
                first.append(chunk)
            bar.update(len(chunk))
    return digest.hexdigest(), np.concatenate(first)[:PICTURED]
