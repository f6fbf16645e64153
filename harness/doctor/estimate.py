"""What a scale will cost: seconds from earlier records where there are any, else from counted operations; and bytes."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config import experiments
from harness.config.experiments import Run, Scale
from harness.errors import HarnessError
from harness.files import read_json
from harness.networks.operations import Count, count, training_flop
from harness.paths import Checkout, run_name
from harness.pipeline import suite

# Part of a matrix product's speed that the networks reach; ours, measured on 2 CPU cores, good to a factor of about 2.
TRAINING_EFFICIENCY = 0.3
INCEPTION_EFFICIENCY = 0.7
INCEPTION_FLOP = 11.4e9  # one 299-px image through Inception-v3: 5.7e9 multiply-adds (Szegedy et al. 2016, table 8)


@dataclass(frozen=True)
class Cost:
    """One training: `basis` is `measured` (earlier records), `counted` (operations) or `released` (no training)."""

    seconds: float
    bytes: int
    basis: str


@dataclass(frozen=True)
class Training:
    """One training of a scale, resolved, and its two networks."""

    run: Run
    generator: Count
    discriminator: Count


def count_all(scale: Scale, runs: dict[str, Run]) -> dict[str, Training]:
    """Count the networks of every training.

    Args:
        scale: whose models are built.
        runs: its trainings, resolved, by name.

    Raises:
        HarnessError: a network cannot be built.
    """
    models = experiments.load_models(scale.root)
    counted: dict[str, Count] = {}  # experiments share networks
    out = {}
    for key, run in runs.items():
        pair = []
        for role, spec in (("generator", run.generator), ("discriminator", run.discriminator)):
            name = json.dumps([role, spec, run.resolution])
            if name not in counted:
                counted[name] = count(role, spec, run.resolution, models)
            pair.append(counted[name])
        out[key] = Training(run, *pair)
    return out


def scale_cost(scale: Scale, trainings: dict[str, Training], device: str) -> dict[str, Any]:
    """Estimate seconds and bytes of every training of a scale, and of its data, dumps and scores.

    Args:
        scale: whose dumps and scores are counted.
        trainings: all of it, by name; see `count_all`.
        device: cpu, cuda or cuda:N; it must be there.
    """
    params, root = scale.params, scale.root
    written_by_hand = not suite.suite_file(scale.checkout, params.scale).is_file()
    scorers = len((suite.Suite if written_by_hand else suite.read(scale.checkout, params.scale)).scorers)
    flop_per_sec = matmul_speed(device, params.threads)
    speeds = measured_speeds(root, device)
    released = {name for name, experiment in experiments.load(root).items() if experiment.checkpoint}
    costs = {}
    for key, training in trainings.items():
        name = training.run.experiment
        costs[key] = (
            Cost(0.0, 4 * training.generator.parameters, "released")
            if name in released
            else training_cost(training, speeds.get(name), flop_per_sec)
        )
    definitions = experiments.load_datasets(root)
    datasets = sorted({run.dataset for run in params.runs.values()})
    images = {d: (definitions[d].get("count") or 0, definitions[d]["resolution"]) for d in datasets}
    counts = {d: params.scoring.counts_of(d) for d in datasets}
    drawn = [(run_name(d.experiment, d.seed), counts[d.dataset][0]) for d in params.dumps.values()]
    dumped = sum(n * trainings[key].run.resolution ** 2 * 3 for key, n in drawn)
    scored = scorers * (sum(n for _, n in drawn) + sum(n_real for _, n_real in counts.values()))
    for key in params.choices:
        candidates = len(trainings[key].run.recipe.snapshots_nimg) + 1
        drawn.append((key, params.scoring.n_choose * candidates))
        scored += params.scoring.n_choose * candidates
    sampled = sum(2 * trainings[key].generator.macs * n for key, n in drawn)
    seconds = {
        "train": sum(cost.seconds for cost in costs.values()),
        "sample": sampled / (flop_per_sec * TRAINING_EFFICIENCY),
        "score": scored * INCEPTION_FLOP / (flop_per_sec * INCEPTION_EFFICIENCY),
    }
    size = {
        "data": sum(count * side**2 * 3 for count, side in images.values()),
        "train": sum(cost.bytes for cost in costs.values()),
        "sample": dumped,
    }
    return {
        "scale": params.scale,
        "device": device,
        "seconds": {**seconds, "total": sum(seconds.values())},
        "bytes": {**size, "total": sum(size.values())},
        "trainings": {key: vars(cost) for key, cost in costs.items()},
        "params_file": str(scale.path),
    }


def training_cost(training: Training, images_per_sec: float | None, flop_per_sec: float) -> Cost:
    """Estimate one training: at its earlier speed if there is one, else at the machine's."""
    recipe, generator, discriminator = training.run.recipe, training.generator, training.discriminator
    images = recipe.length_nimg
    weights = 4 * generator.parameters * (1 + len(recipe.snapshots_nimg))
    # a checkpoint: both networks with two Adam moments each, and the averaged generator; the new one beside the old
    checkpoint = 2 * 4 * (4 * generator.parameters + 3 * discriminator.parameters)
    if images_per_sec:
        return Cost(images / images_per_sec, weights + checkpoint, "measured")
    speed = flop_per_sec * TRAINING_EFFICIENCY / training_flop(recipe, generator, discriminator)
    return Cost(images / speed, weights + checkpoint, "counted")


def measured_speeds(root: Path, device: str) -> dict[str, float]:
    """Images per second of earlier trainings on the same kind of device, by experiment; the slowest of several."""
    speeds: dict[str, float] = {}
    for path in Checkout(root).train_records():
        try:
            record = read_json(path)
            experiment, speed = record["run"]["experiment"], float(record["cost"]["images_per_sec"])
            used = str(record["provenance"].get("device", "cpu"))
        except (HarnessError, KeyError, TypeError, AttributeError, ValueError):
            continue  # the doctor's check of results names such a record
        if used.split(":")[0] == device.split(":")[0]:
            speeds[experiment] = min(speed, speeds.get(experiment, speed))
    return speeds


def matmul_speed(device: str, threads: int, seconds: float = 0.2) -> float:
    """Measure float32 matrix products: operations per second."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        a = torch.rand(1024, 1024, device=device)
        torch.mm(a, a).sum().item()  # warm up; `.item()` waits for the device
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            torch.mm(a, a).sum().item()
            done += 1
        return done * 2 * 1024**3 / (time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
