"""What `harness launch` is asked to do, its deadlines, and what must be there before it begins."""

import dataclasses
import functools
import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness import config, data, experiments
from harness.errors import HarnessError

NEEDED = {
    "torch": "torch",
    "safetensors": "safetensors",
    "tqdm": "tqdm",
    "PIL": "pillow",
}  # beside NumPy, click and PyYAML, without which nothing starts


@dataclass(frozen=True)
class Entry:
    """One training of a plan."""

    experiment: str
    until_nimg: int  # it stops here
    minutes: float  # of wall time, at most
    seed: int = 0
    least_minutes: float | None = None  # not begun with less time left; default: `minutes`
    snapshots: tuple[int, ...] = ()  # image counts of the recipe to sample and score; default: `until_nimg`
    n_score: int | None = None  # samples for the torch scorer; default: the plan's n_keep
    whole: bool = False  # send n_keep samples instead of the scale's n_fake
    instead: str = ""  # experiment to train when this one fails (a compiler error, NaN)


@dataclass(frozen=True)
class Tier:
    """Trainings that are compared with each other."""

    name: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Plan:
    """What is launched. `parts` tars of `part_mib`, `total_mib` together, are what comes back."""

    minutes: float  # of the whole command
    reserve_minutes: float  # kept after the last training for saving, sampling and scoring
    pack_minutes: float  # kept at the very end
    slots: int  # trainings side by side
    n_keep: int  # samples of each dump
    n_real: int  # reals of the torch scorer
    assumed_images_per_sec: float  # of sampling and scoring, until it is measured
    parts: int
    part_mib: float
    total_mib: float
    tiers: tuple[Tier, ...]
    log_sec: float = 15


class Clock:
    """The deadlines of one command. Moving `stop` to now is an early end."""

    def __init__(self, minutes: float, reserve_minutes: float, pack_minutes: float) -> None:
        """Start now."""
        self.begun = time.monotonic()
        self.stop = self.begun + 60 * (minutes - reserve_minutes - pack_minutes)  # no training runs later
        self.finish = self.begun + 60 * (minutes - pack_minutes)  # nothing is sampled later
        if self.stop <= self.begun:
            raise HarnessError(
                f"{minutes} minutes are used up by the reserve of {reserve_minutes} and {pack_minutes} for packing."
            )

    def sec(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.begun


def open_scale(params_file: Path) -> experiments.Scale:
    """Open a scale with absolute folders: the names in a tar are relative to its root."""
    scale = experiments.open_scale(params_file)
    return dataclasses.replace(scale, root=Path(os.path.abspath(scale.root)), out=Path(os.path.abspath(scale.out)))


def read_plan(path: Path) -> Plan:
    """Read a plan file.

    Raises:
        HarnessError: unknown or missing keys.
    """
    return config.read(Plan, config.read_yaml(path), str(path))


def preflight(scale: experiments.Scale, plan: Plan, device: str, cache: Path) -> None:
    """Raise one HarnessError that lists everything that would be missing later: packages, a GPU, data, weights."""
    missing = [pip for name, pip in NEEDED.items() if not _importable(name)]
    if missing:
        raise HarnessError(f"launch: Python packages are missing: {', '.join(missing)}; pip install them.")
    from PIL import features

    from harness.metrics import weights
    from harness.training.system import set_device

    problems = [] if features.check("webp") else ["this Pillow cannot write WebP; install a Pillow wheel"]
    known = experiments.load(scale.root)
    datasets = {known[e.experiment].dataset for t in plan.tiers for e in t.entries if e.experiment in known}
    scoring = scale.params.scoring
    checks: list[Callable[[], object]] = [
        lambda: set_device(device, 1, False, "float32"),
        lambda: weights.load(scoring.weights, cache).require(scoring.layer),
        *(functools.partial(data.load, scale.root / "data" / name) for name in sorted(datasets)),
    ]
    for check in checks:
        try:
            check()
        except HarnessError as error:
            problems.append(str(error))
    if problems:
        raise HarnessError("launch: not ready:\n  " + "\n  ".join(problems))


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package that holds it
        return False
