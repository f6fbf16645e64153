"""How fast finished trainings and scorers were, as their records say, and how far off that may be for others."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.config import reader
from harness.config.schema import Recipe
from harness.doctor.devices import Machine
from harness.errors import HarnessError
from harness.files import read_json
from harness.paths import HISTORY, Checkout
from harness.provenance import processor
from harness.records import train_record
from harness.training import history

# How far off what was recorded may be, at least, either way. Of the 27 trainings in results/mini, 11 were undisturbed:
# the middle 80 % of their log intervals lie within a factor of 1.06 to 1.14 of each other. Trainings of one recipe that
# were made at different times, on processors they do not name, lie up to 2.7 apart: a single one does not show that.
REPEAT = 1.2
STEADY = 3  # log intervals of which the median leaves out one that was slow: compilation, a pause


@dataclass(frozen=True)
class Span:
    """Seconds, the fewest and the most that they may be, and what they rest on: measured or counted."""

    seconds: float
    low: float
    high: float
    basis: str

    def times(self, n: float) -> "Span":
        """N times as much."""
        return Span(n * self.seconds, n * self.low, n * self.high, self.basis)


def counted(seconds: float, factor: float) -> Span:
    """Seconds by counted operations, which may be off by a factor."""
    return Span(seconds, seconds / factor, seconds * factor, "counted")


def measured(seconds: Sequence[float]) -> Span:
    """The median of recorded seconds, from the fewest to the most of them, and at least `REPEAT` either way."""
    middle = statistics.median(seconds)
    return Span(middle, min(*seconds, middle / REPEAT), max(*seconds, middle * REPEAT), "measured")


@dataclass(frozen=True)
class Recorded:
    """Speed of a finished training, and its recipe: others of the same networks are scaled by counted operations.

    `intervals`: of its log, which the speed is the median of; 0: the speed is that of the whole training, compilation
    and pauses included.
    """

    images_per_sec: float
    recipe: Recipe
    images: int
    intervals: int = 0


def speed_key(generator: dict[str, Any], discriminator: dict[str, Any], resolution: int, recipe: Recipe) -> str:
    """What two trainings must share for the speed of one to tell that of the other."""
    return json.dumps([generator, discriminator, resolution, recipe.precision, recipe.compile], sort_keys=True)


def recorded_speeds(checkout: Checkout, machine: Machine) -> dict[str, list[Recorded]]:
    """Speeds of finished trainings on the same device, by `speed_key`.

    Of several, those whose log has `STEADY` intervals count: what happens once is left out of them. Where none has, the
    longest counts.
    """
    found: dict[str, list[Recorded]] = {}
    here = processor()
    for path in checkout.train_records():
        try:
            record = train_record.read(path)
            if not _same_device(record.provenance, machine, here):
                continue
            run, cost = record.run, record.cost
            recipe = reader.read(Recipe, record.recipe, str(path))
            key = speed_key(run.generator, run.discriminator, run.resolution, recipe)
            rates = [float(row["images_per_sec"]) for row in history.read(path.with_name(HISTORY))]
        except (HarnessError, KeyError, ValueError):
            continue  # released weights, and what the doctor's check of results names
        speed = statistics.median(rates) if rates else cost.images_per_sec or 0.0
        if speed > 0:
            found.setdefault(key, []).append(Recorded(speed, recipe, cost.images, len(rates)))
    return {
        key: [one for one in some if one.intervals >= STEADY] or [max(some, key=lambda one: one.images)]
        for key, some in found.items()
    }


def _same_device(provenance: Mapping[str, Any], machine: Machine, here: str) -> bool:
    """Whether one process made a record on the same kind of card, or on a CPU like this one with as many threads.

    What a record does not name counts as the same: those of before 2026-11-27 name no processor.
    """
    on_cpu = provenance.get("device", "cpu") == "cpu"
    same: dict[str, Any] = {"processes": 1}
    if machine.torch_name is None:
        same |= {"threads": machine.threads, "processor": here}
    elif machine.torch_name not in str(provenance.get("gpu", "")):
        return False
    return on_cpu != machine.is_gpu and all(provenance.get(key) in (None, value) for key, value in same.items())


def scorer_speeds(checkout: Checkout, machine: Machine) -> dict[str, Span]:
    """What each scorer takes for an image on a CPU, as `harness bench scores` measured it; {} without it.

    Other threads than the benchmark's are thought to share its work evenly, which is as uncertain as a count. For a CPU
    the benchmark must have run on this processor; that of a card elsewhere is not known.
    """
    path = checkout.results / "bench" / "scores.json"
    if not path.is_file():
        return {}
    record = read_json(path)
    try:
        images, threads, cpu = record["images"], record["machine"]["threads"], record["machine"].get("cpu")
        passes = [row for row in record["comparisons"] if "statistics" in row["comparison"]]
        seconds = {row["ours"]: row["ours_sec"] * threads / machine.threads / images for row in passes}
    except (AttributeError, KeyError, TypeError, ZeroDivisionError):
        raise HarnessError(f"{path}: not a record of `harness bench scores`; run it again.") from None
    if not machine.is_gpu and cpu not in (None, processor()):
        return {}
    share = machine.figures.efficiency["cpu"].inception
    factor = REPEAT if threads == machine.threads else share.factor
    return {scorer: Span(sec, sec / factor, sec * factor, "measured") for scorer, sec in seconds.items()}
