"""What a training says of itself, as a type: `train.json` when it is finished, `stopped.json` while it is not.

Both are validated when they are written and when they are read; `training.published` alone writes `train.json`.
"""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config import reader
from harness.config.experiments import Run, TrainedRun
from harness.errors import HarnessError
from harness.files import write_json
from harness.networks.generator_file import Weights, open_weights, refuse_missing
from harness.paths import ScaleFolder
from harness.records import choice_record, seal
from harness.records.score_record import SHA256

SCHEMA = 2
STATES = ("stopped", "diverged")


@dataclass(frozen=True)
class Cost:
    """What the training took; the optional values are None for released weights."""

    images: int
    wall_sec: float
    images_per_sec: float | None = None
    memory_mib: float | None = None


@dataclass(frozen=True)
class TrainRecord:
    """A finished training, or released weights in place of one (then `origin` is their metadata)."""

    run: TrainedRun
    recipe: dict[str, Any]
    digest: str | None  # of all that decides the result; None for released weights
    nimg: int
    partial: bool  # the scale cut the recipe short
    weights_sha256: dict[str, str]  # snapshot -> sha256 of its file
    history_sha256: str
    cost: Cost
    provenance: dict[str, Any]
    origin: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        """Refuse what cannot be: see `problems`."""
        found = problems(self)
        if found:
            raise HarnessError(f"not a training record: {'; '.join(found)}.")


@dataclass(frozen=True)
class StoppedRecord:
    """A training that was stopped, or diverged, before its end."""

    experiment: str
    seed: int
    digest: str
    state: str  # stopped | diverged
    why: str
    nimg: int
    length_nimg: int
    checkpoint: str  # folder that a second start goes on from
    provenance: dict[str, Any]
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        """Refuse an unknown state."""
        if self.state not in STATES:
            raise HarnessError(f"not a record of a stopped training: state is '{self.state}', expected {STATES}.")


def trained_run(run: Run) -> tuple[TrainedRun, dict[str, Any]]:
    """Return the two entries of a record that say what was trained, run and recipe, as JSON gives them back."""
    fields = json.loads(json.dumps(dataclasses.asdict(run)))
    recipe = fields.pop("recipe")
    return TrainedRun(**fields), recipe


def problems(record: TrainRecord) -> list[str]:
    """Return what is wrong with a record, in words; nothing for a sound one."""
    found = []
    if record.schema != SCHEMA:
        found.append(f"schema is {record.schema}, expected {SCHEMA}")
    if "last" not in record.weights_sha256:
        found.append("weights_sha256 names no `last`")
    hashes = {f"weights_sha256.{name}": value for name, value in record.weights_sha256.items()}
    for key, value in (hashes | {"history_sha256": record.history_sha256}).items():
        if not SHA256.fullmatch(value):
            found.append(f"{key} is '{value}', not a sha256")
    if record.nimg < 0 or record.cost.images < 0:
        found.append(f"nimg is {record.nimg}, cost.images {record.cost.images}")
    if bool(record.origin) == (record.digest is not None):
        found.append("a training has a digest, released weights have an origin; this has both or neither")
    length = record.recipe.get("length_nimg")
    if not record.origin and (not isinstance(length, int) or record.nimg < length):
        found.append(f"nimg is {record.nimg}, recipe.length_nimg {length}: not finished")
    if not record.origin and isinstance(length, int) and record.partial != (length < record.run.planned_nimg):
        found.append(f"partial is {record.partial} with {length} of {record.run.planned_nimg} planned images")
    costs = {f"cost.{key}": value for key, value in dataclasses.asdict(record.cost).items()}
    found += [f"{key} is {value}" for key, value in costs.items() if value is not None and not math.isfinite(value)]
    return found


def read(path: Path) -> TrainRecord:
    """Read and validate one `train.json`.

    Raises:
        HarnessError: missing, not JSON, changed since it was written, an unknown or missing key, a wrong type or an
            impossible value.
    """
    return seal.read(TrainRecord, path, "Delete the file and run its training again.")


def first_weights(record: TrainRecord, nimg: int) -> float | None:
    """Return the share, 0 to 1, that a generator's first weights still have in its average after `nimg` images.

    None where the record does not say: released weights, or a recipe without these entries. See `training.ema.decay`.
    """
    try:
        ema = record.recipe["ema"]
        batch, n_critic = record.recipe["discriminator_batch"], record.recipe["n_critic"]
        if ema["kind"] == "none" or (nimg > 0 and (ema["start_nimg"] > 0 or ema["ramp"] is not None)):
            return 0.0  # the average began as a copy of later weights
        steps = nimg // (batch * n_critic)
        share = ema["decay"] if ema["kind"] == "fixed" else 0.5 ** (batch / ema["half_life_nimg"])
        return float(share**steps)
    except KeyError:
        return None


def read_stopped(path: Path) -> StoppedRecord:
    """Read and validate one `stopped.json`.

    Raises:
        HarnessError: see `read`.
    """
    return seal.read(StoppedRecord, path, "Delete the file and run its training again.")


def write(path: Path, record: TrainRecord | StoppedRecord) -> None:
    """Seal and write one record atomically."""
    write_json(path, seal.sealed(dataclasses.asdict(record)))


def planned_otherwise(record: TrainRecord, run: Run) -> list[str]:
    """Return lines on what a training's record says of run and recipe otherwise than the plan says now.

    The recipe's `source`, which says where its numbers come from, changes nothing.
    """
    planned, recipe = trained_run(run)
    was, now = (
        {"run": dataclasses.asdict(one), "recipe": {**how, "source": ""}}
        for one, how in ((record.run, record.recipe), (planned, recipe))
    )
    return differences(was, now)


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Return lines `key: old -> new` for every leaf in which two nested mappings differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [line for k in keys for line in differences(old.get(k), new.get(k), f"{where}.{k}" if where else k)]
    return [] if reader.digest([old]) == reader.digest([new]) else [f"{where}: {old!r} -> {new!r}"]


def open_snapshot(folder: ScaleFolder, experiment: str, seed: int, snapshot: str) -> Weights:
    """Open the weights of one snapshot and check them against the records of their training and choice.

    Args:
        snapshot: `last`, an image count, or `best` (whose record is `choice.json`).

    Raises:
        HarnessError: a record or the weights are missing, damaged, of another training or not those recorded.
    """
    path, place = folder.weights(experiment, seed, snapshot), folder.train_record(experiment, seed)
    refuse_missing(path)
    record = read(place)
    if (record.run.experiment, record.run.seed) != (experiment, seed):
        raise HarnessError(
            f"{place}: is the record of {record.run.experiment}, seed {record.run.seed}; "
            f"run `harness train {experiment} --seed {seed}`."
        )
    expected = {} if record.digest is None else {"experiment": experiment, "seed": str(seed), "digest": record.digest}
    if snapshot == "last":
        expected["nimg"] = str(record.nimg)
    sha256 = record.weights_sha256.get(snapshot)
    if snapshot == "best":
        sha256 = choice_record.read(folder.choice(experiment, seed)).weights_sha256
    if sha256 is None:
        raise HarnessError(f"{place}: names no sha256 of snapshot '{snapshot}'; run the stage that makes it again.")
    return open_weights(path, sha256, **expected)
