"""What a scale will cost: seconds from earlier records where there are any, else from counted operations; and bytes."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config import experiments, schema
from harness.errors import HarnessError
from harness.files import read_json
from harness.networks.operations import Count, count, training_flop
from harness.paths import Checkout, run_name

# Part of a matrix product's speed that the networks reach; ours, measured on 2 CPU cores, good to a factor of about 2.
TRAINING_EFFICIENCY = 0.3
INCEPTION_EFFICIENCY = 0.7
INCEPTION_FLOP = 11.4e9  # one 299-px image through Inception-v3: 5.7e9 multiply-adds (Szegedy et al. 2016, table 8)


@dataclass(frozen=True)
class Cost:
    """One training: `basis` is `measured` (earlier records) or `counted` (operations of the networks)."""

    seconds: float
    bytes: int
    basis: str


def scale_cost(params: schema.Params, params_file: Path, root: Path, device: str) -> dict[str, Any]:
    """Estimate seconds and bytes of every training of a scale, and of its data, dumps and scores.

    Raises:
        HarnessError: an experiment of the scale cannot be resolved or built.
    """
    flop_per_sec = matmul_speed(device, params.threads)
    speeds = measured_speeds(root, device)
    models = experiments.load_models(root)
    trainings, networks = {}, {}
    candidates = {}  # dumps that `best` is chosen on
    for key, entry in params.runs.items():
        run = experiments.resolve(params, entry.experiment, entry.seed, root)
        networks[entry.experiment] = pair = count_networks(run, models)
        candidates[entry.experiment] = len(run.recipe.snapshots_nimg) + 1
        trainings[key] = training_cost(run, pair, speeds.get(entry.experiment), flop_per_sec)
    definitions = experiments.load_datasets(root)
    datasets = sorted({run.dataset for run in params.runs.values()})
    images = {d: (definitions[d].get("count") or 0, definitions[d]["resolution"]) for d in datasets}
    sampled = (
        sum(2 * networks[dump.experiment].generator.macs for dump in params.dumps.values()) * params.scoring.n_fake
    )
    scored = 2 * (params.scoring.n_fake * len(params.dumps) + params.scoring.n_real * len(datasets))  # two scorers
    for choice in params.choices.values():
        images_drawn = params.scoring.n_choose * candidates[choice.experiment]
        sampled += 2 * networks[choice.experiment].generator.macs * images_drawn
        scored += images_drawn
    seconds = {
        "train": sum(cost.seconds for cost in trainings.values()),
        "sample": sampled / (flop_per_sec * TRAINING_EFFICIENCY),
        "score": scored * INCEPTION_FLOP / (flop_per_sec * INCEPTION_EFFICIENCY),
    }
    sides = [images[params.runs[run_name(d.experiment, d.seed)].dataset][1] for d in params.dumps.values()]
    size = {
        "data": sum(count * side**2 * 3 for count, side in images.values()),
        "train": sum(cost.bytes for cost in trainings.values()),
        "sample": sum(params.scoring.n_fake * side**2 * 3 for side in sides),
    }
    return {
        "scale": params.scale,
        "device": device,
        "seconds": {**seconds, "total": sum(seconds.values())},
        "bytes": {**size, "total": sum(size.values())},
        "trainings": {key: vars(cost) for key, cost in trainings.items()},
        "params_file": str(params_file),
    }


@dataclass(frozen=True)
class Networks:
    """The two networks of an experiment."""

    generator: Count
    discriminator: Count


def count_networks(run: experiments.Run, models: dict[str, experiments.Model]) -> Networks:
    """Count the networks of a run, without building them in memory."""
    return Networks(
        count("generator", run.generator, run.resolution, models),
        count("discriminator", run.discriminator, run.resolution, models),
    )


def training_cost(run: experiments.Run, networks: Networks, images_per_sec: float | None, flop_per_sec: float) -> Cost:
    """Estimate one training: at its earlier speed if there is one, else at the machine's."""
    images = run.recipe.length_nimg
    weights = 4 * networks.generator.parameters * (1 + len(run.recipe.snapshots_nimg))
    # a checkpoint: both networks with two Adam moments each, and the averaged generator; the new one beside the old
    checkpoint = 2 * 4 * (4 * networks.generator.parameters + 3 * networks.discriminator.parameters)
    if images_per_sec:
        return Cost(images / images_per_sec, weights + checkpoint, "measured")
    speed = flop_per_sec * TRAINING_EFFICIENCY / training_flop(run.recipe, networks.generator, networks.discriminator)
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
