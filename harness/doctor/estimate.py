"""What a scale will cost: hours of one GPU (or of this CPU), of the CPU beside it, and bytes.

A training takes as long as the recorded one of the same networks on the same device did; where there is none, its
operations are counted. Sampling and scoring on the device are counted, scoring on a CPU is taken from
`results/bench/scores.json` where that is there. Each part of a cost says which it is, and how far off it may be.
"""

import dataclasses
import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config import reader
from harness.config.experiments import Run, Scale
from harness.config.schema import Recipe
from harness.doctor.devices import Figure, Machine
from harness.doctor.image_counts import ImageCounts, image_counts
from harness.errors import HarnessError
from harness.files import read_json
from harness.networks.operations import Count, count, training_flop, training_launches
from harness.paths import HISTORY, Checkout, run_name
from harness.pipeline import suite
from harness.records import train_record
from harness.training import history

ON_CPU = ("tf",)  # scorers that leave a GPU alone: TensorFlow's build for x86-64 knows no CUDA
PARTS = ("train", "choose", "sample", "score", "score_cpu")  # the last one on the CPU beside a GPU
SHARED = "data and reference statistics"
CHECKPOINTS = 2  # `training.checkpoint` keeps the newest and the one before
KEPT = 2  # a weights file or a dump lies in the results folder and in DVC's cache


@dataclass(frozen=True)
class Training:
    """One training of a scale, resolved, and its two networks."""

    run: Run
    generator: Count
    discriminator: Count


@dataclass
class Cost:
    """Seconds by part, bytes, and the bases: measured, counted or released (no training); of sums, those of trainings.

    `low` and `high` bound the seconds of the device that trains.
    """

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    low: float = 0.0
    high: float = 0.0
    bytes: int = 0
    basis: set[str] = field(default_factory=set)
    trainings: int = 0

    def add(self, part: str, seconds: float, factor: float = 1.0) -> None:
        """Add seconds that may be off by a factor; 1: they are measured."""
        self.seconds[part] += seconds
        self.basis.add("measured" if factor == 1 else "counted")
        if part != "score_cpu":
            self.low += seconds / factor
            self.high += seconds * factor

    @property
    def total(self) -> float:
        """Seconds, one stage after the other, as DVC runs them."""
        return sum(self.seconds.values())

    @property
    def device_total(self) -> float:
        """Seconds of the device that trains."""
        return self.total - self.seconds["score_cpu"]


@dataclass(frozen=True)
class Estimate:
    """Cost of a scale on a machine: of each training with its dumps, and of what they share.

    `stages`: the same seconds by the stage of the scale's dvc.yaml that takes them, what is shared excepted: whichever
    stage needs it first makes it.
    """

    scale: str
    path: Path
    machine: Machine
    trainings: dict[str, Cost]
    stages: dict[str, Cost]
    shared: Cost
    data_bytes: int
    table_of: dict[str, str]  # experiment -> its table in the suite
    experiment_of: dict[str, str]

    def groups(self, by: str) -> dict[str, Cost]:
        """Sum over `table` or `experiment`; what is shared comes last."""
        out: dict[str, Cost] = {}
        for key, cost in self.trainings.items():
            name = self.experiment_of[key]
            name = self.table_of.get(name, self.scale) if by == "table" else name
            out[name] = total([out.get(name, Cost()), cost])
        return out | {SHARED: self.shared}

    @property
    def total(self) -> Cost:
        """Sum of everything."""
        return total([*self.trainings.values(), self.shared])


def total(costs: Iterable[Cost]) -> Cost:
    """Sum of costs."""
    out = Cost()
    for cost in costs:
        for part, seconds in cost.seconds.items():
            out.seconds[part] += seconds
        out.low, out.high = out.low + cost.low, out.high + cost.high
        out.bytes, out.trainings = out.bytes + cost.bytes, out.trainings + cost.trainings
        out.basis |= cost.basis
    return out


def count_all(scale: Scale, runs: Mapping[str, Run]) -> dict[str, Training]:
    """Count the networks of every training, each network once.

    Args:
        scale: whose models are built.
        runs: its trainings, resolved, by name.

    Raises:
        HarnessError: a network cannot be built.
    """
    counted: dict[str, Count] = {}
    out = {}
    for key, run in runs.items():
        pair = []
        for role, spec in (("generator", run.generator), ("discriminator", run.discriminator)):
            name = json.dumps([role, spec, run.resolution], sort_keys=True)
            if name not in counted:
                counted[name] = count(role, spec, run.resolution, scale.definitions.models)
            pair.append(counted[name])
        out[key] = Training(run, *pair)
    return out


def estimate(scale: Scale, runs: Mapping[str, Run], machine: Machine) -> Estimate:
    """Estimate a scale.

    Args:
        scale: whose dumps and scores are counted.
        runs: all its trainings, resolved, by name.
        machine: what it will run on; see `devices.machine`.

    Raises:
        HarnessError: a network cannot be built, or the card lacks a recipe's precision.
    """
    return estimate_counted(scale, count_all(scale, runs), machine)


def estimate_counted(scale: Scale, trainings: Mapping[str, Training], machine: Machine) -> Estimate:
    """Estimate a scale whose networks have been counted, on as many machines as one likes.

    Args:
        scale: see `estimate`.
        trainings: see `count_all`.
        machine: see `estimate`.

    Raises:
        HarnessError: the card lacks a recipe's precision.
    """
    counts = image_counts(scale)
    recorded, scorers = recorded_speeds(scale.checkout, machine), scorer_speeds(scale.checkout)
    known = scale.definitions.experiments
    stages: dict[str, Cost] = {}
    of_training: dict[str, list[Cost]] = {}
    for key, training in trainings.items():
        cost = training_cost(training, machine, recorded, bool(known[training.run.experiment].checkpoint))
        cost.trainings = 1
        stages[f"train@{key}"] = cost
        of_training[key] = [cost]
    for key, counted in counts.dumps.items():
        dump = scale.params.dumps[key]
        run = run_name(dump.experiment, dump.seed)
        cost = stages[f"sample@{key}"] = Cost()
        cost.add("sample", *sampling(trainings[run], counted.images, machine))
        cost.bytes = KEPT * counted.images * 3 * trainings[run].run.resolution ** 2 * counted.bytes_each
        of_training[run].append(cost)
        for scorer, n in counted.scored.items():
            cost = stages[f"score-{scorer}@{key}"] = Cost()
            _score(cost, scorer, n, machine, scorers)
            of_training[run].append(cost)
    for key, n in counts.choices.items():
        training = trainings[key]
        n *= len(training.run.recipe.snapshots_nimg) + 1
        cost = stages[f"choose@{key}"] = Cost()
        for seconds, factor in (sampling(training, n, machine), scoring("torch", n, machine, scorers)):
            cost.add("choose", seconds, factor)
        cost.bytes = KEPT * 4 * training.generator.parameters
        of_training[key].append(cost)
    shared = Cost()
    for (scorer, _), n in counts.references.items():
        _score(shared, scorer, n, machine, scorers)
    shared.bytes = data_bytes = _data_bytes(scale, counts)
    tables = {} if not _has_suite(scale) else suite.read(scale.checkout, scale.params.scale).tables
    return Estimate(
        scale.params.scale,
        scale.path,
        machine,
        {key: dataclasses.replace(total(costs), basis=costs[0].basis) for key, costs in of_training.items()},
        stages,
        dataclasses.replace(shared, basis=set()),
        data_bytes,
        {name: table for table, rows in tables.items() for name in rows},
        {key: training.run.experiment for key, training in trainings.items()},
    )


def _has_suite(scale: Scale) -> bool:
    return suite.suite_file(scale.checkout, scale.params.scale).is_file()


def _data_bytes(scale: Scale, counts: ImageCounts) -> int:
    """Packed arrays; of a folder of the user's own the count is not known before it is packed."""
    definitions = scale.definitions.datasets
    names = {run.dataset for run in scale.params.runs.values()} | {dataset for _, dataset in counts.references}
    return sum((definitions[n].get("count") or 0) * definitions[n]["resolution"] ** 2 * 3 for n in names)


# ---------------------------------------------------------------- training


def training_cost(
    training: Training, machine: Machine, recorded: "Mapping[str, Recorded]", released: bool = False
) -> Cost:
    """Estimate one training with its weights, and its checkpoints, which stay in `.checkpoints`."""
    recipe, generator, discriminator = training.run.recipe, training.generator, training.discriminator
    cost = Cost()
    if released:
        cost.basis.add("released")
        cost.bytes = (1 + KEPT) * 4 * generator.parameters
        return cost
    flop = training_flop(recipe, generator, discriminator)
    found = recorded.get(speed_key(training.run.generator, training.run.discriminator, training.run.resolution, recipe))
    if found is not None:
        there = training_flop(found.recipe, generator, discriminator)
        seconds, factor = flop / there / found.images_per_sec, 1.0
    else:
        seconds, factor = _counted(training, flop, machine)
    cost.add("train", recipe.length_nimg * seconds, factor)
    snapshots = 4 * generator.parameters * (1 + len(recipe.snapshots_nimg))
    # both networks with two Adam moments each, and the averaged generator
    checkpoint = 4 * (4 * generator.parameters + 3 * discriminator.parameters)
    cost.bytes = (1 + KEPT) * snapshots + CHECKPOINTS * checkpoint
    return cost


def _counted(training: Training, flop: float, machine: Machine) -> tuple[float, float]:
    """Seconds per real image, and their factor: the slower of arithmetic and, on a GPU, of starting kernels."""
    recipe = training.run.recipe
    share: Figure = getattr(machine.efficiency, recipe.precision)
    arithmetic = flop / (machine.flop_per_sec(recipe.precision) * share.value)
    if not machine.is_gpu or recipe.compile:
        return arithmetic, share.factor
    launch = machine.figures.launch_sec
    starting = launch.value * training_launches(recipe, training.generator, training.discriminator)
    return max((arithmetic, share.factor), (starting, launch.factor))


@dataclass(frozen=True)
class Recorded:
    """Speed of a finished training, and its recipe: others of the same networks are scaled by counted operations."""

    images_per_sec: float
    recipe: Recipe
    images: int


def speed_key(generator: dict[str, Any], discriminator: dict[str, Any], resolution: int, recipe: Recipe) -> str:
    """What two trainings must share for the speed of one to tell that of the other."""
    return json.dumps([generator, discriminator, resolution, recipe.precision, recipe.compile], sort_keys=True)


def _steady(record: Path, overall: float) -> float:
    """Median images per second of a training's log intervals; `overall`, which compilation and pauses lower, without.

    A tenth of a long training says how fast the rest is only if what happens once is left out.
    """
    rates = [float(row["images_per_sec"]) for row in history.read(record.with_name(HISTORY))]
    return statistics.median(rates) if rates else overall


def recorded_speeds(checkout: Checkout, machine: Machine) -> dict[str, Recorded]:
    """Speeds of finished trainings on the same kind of device, by `speed_key`; of several the longest one's."""
    found: dict[str, Recorded] = {}
    for path in checkout.train_records():
        try:
            record = train_record.read(path)
            run, cost, provenance = record.run, record.cost, record.provenance
            on_cpu, card = provenance.get("device", "cpu") == "cpu", str(provenance.get("gpu", ""))
            if not (on_cpu if machine.torch_name is None else not on_cpu and machine.torch_name in card):
                continue
            speed = _steady(path, cost.images_per_sec or 0.0)
            recipe = reader.read(Recipe, record.recipe, str(path))
            key = speed_key(run.generator, run.discriminator, run.resolution, recipe)
        except (HarnessError, KeyError, ValueError):
            continue  # released weights, and what the doctor's check of results names
        if speed > 0 and (key not in found or cost.images > found[key].images):
            found[key] = Recorded(speed, recipe, cost.images)
    return found


# ---------------------------------------------------------------- sampling and scoring


def sampling(training: Training, n: int, machine: Machine) -> tuple[float, float]:
    """Seconds of drawing n images in float32, and their factor."""
    share = machine.efficiency.float32
    return 2 * training.generator.macs * n / (machine.flop_per_sec("float32") * share.value), share.factor


def scoring(scorer: str, n: int, machine: Machine, speeds: Mapping[str, float]) -> tuple[float, float]:
    """Seconds of a scorer's pass over n images, and their factor: recorded on a CPU, else counted."""
    on_cpu = not machine.is_gpu or scorer in ON_CPU
    if on_cpu and scorer in speeds:
        return n / (speeds[scorer] * machine.threads), 1.0
    flop = machine.figures.inception_flop.value * n
    share = machine.figures.efficiency["cpu" if on_cpu else "gpu"].inception
    peak = machine.host_peak if on_cpu else machine.flop_per_sec("float32")
    return flop / (peak * share.value), share.factor


def _score(cost: Cost, scorer: str, n: int, machine: Machine, speeds: Mapping[str, float]) -> None:
    part = "score_cpu" if machine.is_gpu and scorer in ON_CPU else "score"
    cost.add(part, *scoring(scorer, n, machine, speeds))


def scorer_speeds(checkout: Checkout) -> dict[str, float]:
    """Images per second and thread of each scorer on a CPU, as `harness bench scores` measured them; {} without it."""
    path = checkout.results / "bench" / "scores.json"
    if not path.is_file():
        return {}
    record = read_json(path)
    try:
        images, threads = record["images"], record["machine"]["threads"]
        passes = [row for row in record["comparisons"] if "statistics" in row["comparison"]]
        return {row["ours"]: images / row["ours_sec"] / threads for row in passes}
    except (KeyError, TypeError, ZeroDivisionError):
        raise HarnessError(f"{path}: not a record of `harness bench scores`; run it again.") from None
