"""The sample stage: a snapshot's weights -> a dump of uint8 images, its record and a picture of its first images."""

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from harness import provenance
from harness.config import experiments
from harness.config.experiments import Run, Scale
from harness.files import replacing, write_json
from harness.networks import registry
from harness.networks.generator_file import load_strictly
from harness.records import chain
from harness.records.train_record import open_snapshot
from harness.sampling import draw, grid

PICTURED = 100  # images of the grid


def sample(
    scale: Scale,
    run: Run,
    snapshot: str = "last",
    *,
    n: int | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> dict[str, Any]:
    """Draw `n` (default: the scale's n_fake) images from a snapshot of `run` and return the sample record.

    Writes the dump (uint8 [n, R, R, 3]), its record `samples.json` and `grid.png`, each under the paths of
    `paths.ScaleFolder`. Image i depends on (seed, i) only.

    Raises:
        HarnessError: missing, damaged or other weights, or a full disk.
    """
    scoring, started = scale.params.scoring, time.perf_counter()
    n = n or scoring.counts_of(run.dataset)[0]
    torch.set_num_threads(threads or scale.params.threads)
    weights = open_snapshot(scale.folder, run.experiment, run.seed, snapshot)
    models = experiments.load_models(scale.root)
    generator = registry.build("generator", run.generator, run.resolution, models).to(device)
    load_strictly(generator, weights.tensors, str(scale.folder.weights(run.experiment, run.seed, snapshot)))
    quantised = experiments.pick(scoring.quantisation, draw.QUANTISATIONS, "quantisation")
    chunks = quantised(generator, n, run.seed, device)
    dump = scale.folder.dump(run.experiment, run.seed, snapshot)
    samples_sha256, pictured = write_dump(dump, chunks, (n, run.resolution, run.resolution, 3))
    grid.grid_png(pictured, scale.folder.grid(run.experiment, run.seed, snapshot))
    record = {
        "scale": scale.params.scale,
        "experiment": run.experiment,
        "seed": run.seed,
        "snapshot": snapshot,
        "selection": weights.metadata.get("selection"),
        "nimg": weights.nimg,
        "planned_nimg": run.planned_nimg,
        # the best may lie before the end of a whole training
        "partial": run.partial if snapshot == "best" else weights.nimg < run.planned_nimg,
        "dataset": run.dataset,
        "n": n,
        "ema": run.recipe.ema.kind != "none",
        "quantisation": scoring.quantisation,
        "samples_sha256": samples_sha256,
        "weights_sha256": weights.sha256,
        "provenance": provenance.collect(
            scale.root,
            device=device,
            threads=torch.get_num_threads(),
            wall_sec=round(time.perf_counter() - started, 2),
        ),
    }
    record = chain.sealed(record)
    write_json(scale.folder.sample_record(run.experiment, run.seed, snapshot), record)
    return record


def write_dump(path: Path, chunks: Any, shape: tuple[int, int, int, int]) -> tuple[str, np.ndarray]:
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
