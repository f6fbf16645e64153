"""The `best` snapshot of a training: lowest FID of a dump of its own, never of the dump that is reported."""

import time
from pathlib import Path

import numpy as np
import torch

from harness import progress, provenance
from harness.config import protocols
from harness.config.experiments import Run, Scale
from harness.config.protocols import CHOOSER, VARIANTS
from harness.data.images import open_images
from harness.device import check_device
from harness.errors import HarnessError
from harness.metrics import reference_statistics
from harness.metrics.extractors.base import Setup
from harness.metrics.extractors.registry import open_extractor
from harness.metrics.moments import Moments
from harness.networks import registry
from harness.networks.generator_file import save_tensors
from harness.pipeline import references
from harness.pipeline.planned_scores import together
from harness.pipeline.sample import load_snapshot
from harness.records import choice_record
from harness.records.choice_record import Candidate, ChoiceRecord
from harness.sampling import draw


def choice_seed(seed: int) -> int:
    """Seed of the dumps that snapshots are chosen on: another stream than the reported dump's."""
    return int(np.random.SeedSequence([0xBE57, seed]).generate_state(1, np.uint64)[0] >> 1)


def candidates(run: Run, folder: Path) -> list[Path]:
    """Weights of the recipe's snapshots, by image count, and of the end.

    Raises:
        HarnessError: the recipe keeps no snapshot, or a file is missing.
    """
    if not run.recipe.snapshots_nimg:
        raise HarnessError(
            f"{run.experiment}: its recipe has no snapshots_nimg within the scale's limit, so `last` is all there is."
        )
    paths = [folder / f"{name}.safetensors" for name in (*map(str, run.recipe.snapshots_nimg), "last")]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise HarnessError(f"{folder}: no {', '.join(missing)}; run `harness train {run.experiment}` first.")
    return paths


def choose(
    scale: Scale, run: Run, *, device: str | None = None, threads: int | None = None, cache: Path | None = None
) -> ChoiceRecord:
    """Find the snapshot of lowest FID under the protocol that the scale chooses by; the first of equals.

    Writes it to `chosen/best.safetensors` beside the training's weights (metadata `selection` says how it was
    chosen) and returns the record, which is also written to `choice.json`.

    Raises:
        HarnessError: see `candidates`; or unfit weights of Inception or data.
    """
    started, device = time.perf_counter(), check_device(device or scale.params.device)
    planned = protocols.of_choice(scale, run.experiment, run.seed)
    artifacts = scale.folder.artifacts(run.experiment, run.seed)
    paths = candidates(run, artifacts / "weights")
    setup = Setup(
        planned.inception,
        planned.layer,
        batch=draw.CHUNK,
        threads=threads or scale.params.threads,
        device=device,
        cache=cache or scale.checkout.cache,
    )
    torch.set_num_threads(setup.threads)
    references.check(scale, together({planned.data}), {planned.data})
    extractor = open_extractor(CHOOSER, setup, planned.resizer)
    images = open_images(scale.checkout.data(planned.data)).first(planned.n_real)
    key = reference_statistics.content_of(images, extractor, setup.layer)
    statistics, _, _ = reference_statistics.of_images(images, [key], extractor, setup)
    reals = statistics[len(images)]
    variant = VARIANTS[planned.quantisation]
    generator = registry.build("generator", run.generator, run.resolution, scale.definitions.models).to(device)
    found: list[Candidate] = []
    for path in progress.over(paths, len(paths), "snapshot", f"choose {run.experiment}"):
        weights, moments = load_snapshot(scale, run, path.stem, generator), Moments(planned.layer)
        for batch in draw.sample_chunks(generator, planned.n_fake, choice_seed(run.seed), device, variant):
            moments.update(extractor(batch)[0])
        fid = reals.gaussian.distance(moments.mean, moments.covariance).value
        found.append(Candidate(path.stem, weights.nimg, fid, weights.sha256))
    best = min(found, key=lambda one: one.fid)
    selection = (
        f"lowest FID of {len(found)} snapshots, {planned.n_fake} other samples each, "
        f"{CHOOSER} scorer, {extractor.kind} Inception, layer {planned.layer}"
    )
    weights = load_snapshot(scale, run, best.snapshot, generator)
    chosen = scale.folder.weights(run.experiment, run.seed, "best")
    sha256 = save_tensors(chosen, weights.tensors, weights.metadata | {"selection": selection}, artifacts)
    record = ChoiceRecord(
        chosen=best.snapshot,
        weights_sha256=sha256,
        selection=selection,
        candidates=tuple(found),
        protocol={
            "name": planned.protocol,
            "version": planned.version,
            "n_fake": planned.n_fake,
            "n_real": reals.count,
            "quantisation": planned.quantisation,
            "resizer": extractor.resizer,
            "inception": extractor.kind,
            "inception_sha256": extractor.weights_sha256,
            "layer": planned.layer,
            "sampling_seed": choice_seed(run.seed),
        },
        provenance=provenance.collect(
            scale.root,
            device=device,
            threads=setup.threads,
            batch=setup.batch,
            wall_sec=round(time.perf_counter() - started, 2),
        ),
    )
    choice_record.write(scale.folder.choice(run.experiment, run.seed), record)
    return record
