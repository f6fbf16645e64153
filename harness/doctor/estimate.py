"""What a scale will cost: hours of one GPU (or of this CPU), of the CPU beside it, and bytes.

A training takes as long as recorded ones of the same networks on the same device did, from the fastest to the slowest;
where there is none, its operations are counted. Sampling and scoring on the device are counted, scoring on a CPU is
taken from `results/bench/scores.json` where that is there. Each part of a cost says which it is, and how far off it may
be.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.config.experiments import Run, Scale
from harness.doctor.devices import Figure, Machine
from harness.doctor.image_counts import ImageCounts, image_counts
from harness.doctor.recorded import Recorded, Span, counted, measured, recorded_speeds, scorer_speeds, speed_key
from harness.networks.operations import Count, count, training_flop, training_launches
from harness.paths import run_name
from harness.pipeline import suite

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

    def add(self, part: str, span: Span) -> None:
        """Add what a part takes."""
        self.seconds[part] += span.seconds
        self.basis.add(span.basis)
        if part != "score_cpu":
            self.low += span.low
            self.high += span.high

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
    recorded, scorers = recorded_speeds(scale.checkout, machine), scorer_speeds(scale.checkout, machine)
    known = scale.definitions.experiments
    stages: dict[str, Cost] = {}
    of_training: dict[str, list[Cost]] = {}
    for key, training in trainings.items():
        cost = training_cost(training, machine, recorded, bool(known[training.run.experiment].checkpoint))
        cost.trainings = 1
        stages[f"train@{key}"] = cost
        of_training[key] = [cost]
    for key, images in counts.dumps.items():
        dump = scale.params.dumps[key]
        run = run_name(dump.experiment, dump.seed)
        cost = stages[f"sample@{key}"] = Cost()
        cost.add("sample", sampling(trainings[run], images.images, machine))
        cost.bytes = KEPT * images.images * 3 * trainings[run].run.resolution ** 2 * images.bytes_each
        of_training[run].append(cost)
        for scorer, n in images.scored.items():
            cost = stages[f"score-{scorer}@{key}"] = Cost()
            _score(cost, scorer, n, machine, scorers)
            of_training[run].append(cost)
    for key, n in counts.choices.items():
        training = trainings[key]
        n *= len(training.run.recipe.snapshots_nimg) + 1
        cost = stages[f"choose@{key}"] = Cost()
        for span in (sampling(training, n, machine), scoring("torch", n, machine, scorers)):
            cost.add("choose", span)
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
    training: Training, machine: Machine, recorded: Mapping[str, Sequence[Recorded]], released: bool = False
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
    if found:
        there = [training_flop(one.recipe, generator, discriminator) * one.images_per_sec for one in found]
        image = measured([flop / speed for speed in there])
    else:
        image = _counted(training, flop, machine)
    cost.add("train", image.times(recipe.length_nimg))
    snapshots = 4 * generator.parameters * (1 + len(recipe.snapshots_nimg))
    # both networks with two Adam moments each, and the averaged generator
    checkpoint = 4 * (4 * generator.parameters + 3 * discriminator.parameters)
    cost.bytes = (1 + KEPT) * snapshots + CHECKPOINTS * checkpoint
    return cost


def _counted(training: Training, flop: float, machine: Machine) -> Span:
    """Seconds per real image: the slower of arithmetic and, on a GPU, of starting kernels."""
    recipe = training.run.recipe
    share: Figure = getattr(machine.efficiency, recipe.precision)
    arithmetic = counted(flop / (machine.flop_per_sec(recipe.precision) * share.value), share.factor)
    if not machine.is_gpu or recipe.compile:
        return arithmetic
    launch = machine.figures.launch_sec
    starting = launch.value * training_launches(recipe, training.generator, training.discriminator)
    return max(arithmetic, counted(starting, launch.factor), key=lambda span: span.seconds)


# ---------------------------------------------------------------- sampling and scoring


def sampling(training: Training, n: int, machine: Machine) -> Span:
    """What drawing n images in float32 takes."""
    share = machine.efficiency.float32
    return counted(2 * training.generator.macs * n / (machine.flop_per_sec("float32") * share.value), share.factor)


def scoring(scorer: str, n: int, machine: Machine, speeds: Mapping[str, Span]) -> Span:
    """What a scorer's pass over n images takes: recorded on a CPU, else counted."""
    on_cpu = not machine.is_gpu or scorer in ON_CPU
    if on_cpu and scorer in speeds:
        return speeds[scorer].times(n)
    flop = machine.figures.inception_flop.value * n
    share = machine.figures.efficiency["cpu" if on_cpu else "gpu"].inception
    peak = machine.host_peak if on_cpu else machine.flop_per_sec("float32")
    return counted(flop / (peak * share.value), share.factor)


def _score(cost: Cost, scorer: str, n: int, machine: Machine, speeds: Mapping[str, Span]) -> None:
    part = "score_cpu" if machine.is_gpu and scorer in ON_CPU else "score"
    cost.add(part, scoring(scorer, n, machine, speeds))
