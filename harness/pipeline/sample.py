"""The sample stage: a snapshot's weights -> a dump of images, its record and a picture of its first images."""

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import nn

from harness import progress, provenance
from harness.config.experiments import Run, Scale
from harness.device import check_device
from harness.errors import HarnessError
from harness.files import replacing
from harness.networks import registry
from harness.networks.generator_file import Weights, load_strictly
from harness.paths import dump_name
from harness.pipeline import memorisation
from harness.pipeline.plan import within_limit
from harness.records import sample_record, train_record
from harness.records.sample_record import VARIANTS, SampleFile, SampleRecord
from harness.sampling import draw, grid

PICTURED = 100  # images of the grid
KEPT = max(PICTURED, memorisation.QUERIED)  # first rounded images that stay in memory


def sample(
    scale: Scale,
    run: Run,
    snapshot: str = "last",
    *,
    n: int | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> SampleRecord:
    """Draw `n` (default: as many as the largest of its protocols asks for) images from a snapshot of `run`.

    Writes the dump, a folder with one npy [n, R, R, 3] for each variant that a protocol asks for (see
    `draw.quantised`; others there are removed), its record `samples.json` and `grid.png`, each under the paths of
    `paths.ScaleFolder`. Image i depends on (seed, i) only, save where a whole batch is stretched.

    Raises:
        HarnessError: a snapshot that the recipe does not keep; missing, damaged or other weights, or those of a
            training that is not the planned one; or a full disk.
    """
    started, device = time.perf_counter(), check_device(device or scale.params.device)
    planned = scale.params.dumps.get(dump_name(run.experiment, run.seed, snapshot))
    if planned is None and n is None and snapshot in run.snapshots:
        raise HarnessError(f"{scale.path}: plans no dump of '{snapshot}'; say how many images with --n.")
    n, variants = (n or planned.n_fake, planned.variants) if planned is not None else (n or PICTURED, ("rounded",))
    torch.set_num_threads(threads or scale.params.threads)
    generator = registry.build("generator", run.generator, run.resolution, scale.definitions.models).to(device)
    weights = load_snapshot(scale, run, snapshot, generator)
    place = scale.folder.samples(run.experiment, run.seed, snapshot)
    paths: dict[str, Path] = {variant: place / f"{variant}.npy" for variant in variants}
    chunks = draw.quantised(generator, n, run.seed, dict.fromkeys(["rounded", *paths]), device)
    hashes, first = write_dump(paths, chunks, (n, run.resolution, run.resolution, 3))
    for stale in set(place.glob("*.npy")) - set(paths.values()):
        stale.unlink()
    grid.grid_png(first[:PICTURED], scale.folder.grid(run.experiment, run.seed, snapshot))
    seen = weights.nimg if weights.metadata.get("digest") is not None else None
    measured = memorisation.measure(scale, run, first[: memorisation.QUERIED], seen)
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
        samples_sha256=hashes["rounded"],
        files={paths[variant].name: SampleFile(VARIANTS[variant], hashes[variant]) for variant in paths},
        weights_sha256=weights.sha256,
        digest=weights.metadata.get("digest"),
        provenance=provenance.collect(
            scale.root,
            device=device,
            threads=torch.get_num_threads(),
            wall_sec=round(time.perf_counter() - started, 2),
        ),
        memorisation=measured,
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
    if changes := train_record.planned_otherwise(train_record.read(place), run):
        raise HarnessError(
            f"{place}: the training was planned otherwise since then ({'; '.join(changes)}); "
            f"run `harness train {run.experiment} --seed {run.seed}` again."
        )
    load_strictly(generator, weights.tensors, str(path))
    return weights


def write_dump(
    paths: Mapping[str, Path], chunks: Iterable[tuple[str, np.ndarray]], shape: tuple[int, int, int, int]
) -> tuple[dict[str, str], np.ndarray]:
    """Write variants of one drawing as npy files of `shape`, each atomically.

    Args:
        paths: of the variants that are kept.
        chunks: the next images of a variant, with its name; `rounded` is always among them.

    Returns:
        The sha256 of each variant's pixels, of the bytes as they were written, and the first `KEPT` rounded images.
    """
    digests: defaultdict[str, Any] = defaultdict(hashlib.sha256)
    handles: dict[str, BinaryIO] = {}
    first: list[np.ndarray] = []
    with ExitStack() as stack, progress.bar(shape[0], "image", "sample") as bar:
        for variant, path in paths.items():
            handles[variant] = stack.enter_context(open(stack.enter_context(replacing(path)), "wb"))
            header = {"descr": "<f4" if variant == "float" else "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(handles[variant], header)
        for variant, images in chunks:
            pixels = images.tobytes()
            digests[variant].update(pixels)
            if variant in handles:
                handles[variant].write(pixels)
            if variant == "rounded":
                if sum(map(len, first)) < KEPT:
                    first.append(images)
                bar.update(len(images))
    return {variant: digest.hexdigest() for variant, digest in digests.items()}, np.concatenate(first)[:KEPT]
