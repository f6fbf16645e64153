"""How far a scale is, read from the files that its stages leave; nothing is locked, so it works while they run."""

import dataclasses
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config.experiments import Run, Scale
from harness.errors import HarnessError
from harness.files import read_json
from harness.paths import TrainingFolders
from harness.records import score_record, train_record
from harness.training import history

RECENT_SEC = 600  # a training on another machine that wrote a row since then is taken for alive
LOCKS = Path("/proc/locks")


@dataclass(frozen=True)
class Status:
    """One training of a scale. Times in seconds; None: not known, or nothing of it yet."""

    run: str
    stage: str  # waits, training, interrupted, stopped, diverged, trained, sampled or scored; with counts or reasons
    nimg: int
    length_nimg: int
    images_per_sec: float | None = None
    left_sec: float | None = None
    score: str = ""  # FID of the latest snapshot that has one


def status(scale: Scale) -> list[Status]:
    """Return one row a training, in the order of params.yaml.

    Raises:
        HarnessError: the scale plans an experiment that does not exist.
    """
    return [_status(scale, name, scale.run(one.experiment, one.seed)) for name, one in scale.params.runs.items()]


def _status(scale: Scale, name: str, run: Run) -> Status:
    length, score = run.recipe.length_nimg, last_score(scale, run)
    folders = scale.folder.training(run.experiment, run.seed)
    finished = _finished(folders)
    if finished is not None:
        changed = not finished.origin and train_record.planned_otherwise(finished, run)
        stage = _beyond(scale, run) + (", planned otherwise since then" if changed else "")
        return Status(name, stage, finished.nimg, length, finished.cost.images_per_sec or None, score=score)
    if scale.definitions.experiments[run.experiment].checkpoint:
        return Status(name, "waits for released weights", 0, length, score=score)
    folder = run_folder(scale.checkout.checkpoints, run)
    rows = history.read(folder / "history.csv") if folder else []
    nimg, speed = (int(rows[-1]["nimg"]), float(rows[-1]["images_per_sec"])) if rows else (0, None)
    if folder is None:
        packed = (scale.checkout.data(run.dataset) / "card.json").is_file()
        return Status(name, "waits" if packed else f"waits for data ({run.dataset})", 0, length, score=score)
    if alive(folder):
        left = (length - nimg) / speed if speed else None
        return Status(name, "training", nimg, length, speed, left, score)
    stage = "interrupted"
    if folders.stopped.is_file():
        with suppress(HarnessError):  # half-written by a training that begins
            stage = train_record.read_stopped(folders.stopped).state
    return Status(name, stage, nimg, length, speed, score=score)


def _finished(folders: TrainingFolders) -> train_record.TrainRecord | None:
    """Return the record of a finished training; a new one removes it when it begins."""
    try:
        return train_record.read(folders.record) if folders.record.is_file() else None
    except HarnessError:  # `harness tables` names it
        return None


def _beyond(scale: Scale, run: Run) -> str:
    """Return the stage of a finished training: how many of its dumps are there, and scored."""
    dumps = [d for d in scale.params.dumps.values() if (d.experiment, d.seed) == (run.experiment, run.seed)]
    places = [scale.folder.sample_record(d.experiment, d.seed, d.snapshot) for d in dumps]
    sampled = sum(place.is_file() for place in places)
    scored = sum(any(place.parent.glob("*/*.json")) for place in places)
    for stage, done in (("scored", scored), ("sampled", sampled)):
        if done:
            return stage if done == len(dumps) else f"{stage} {done} of {len(dumps)}"
    return "trained"


def run_folder(checkpoints: Path, run: Run) -> Path | None:
    """Return the newest working folder of a training as it is planned now, whatever its pixels."""
    planned = {key: value for key, value in json.loads(json.dumps(dataclasses.asdict(run))).items() if key != "scale"}
    found = []
    for path in checkpoints.glob(f"{run.experiment}-seed{run.seed}/*/run.json"):
        identity = _json(path)
        if identity is not None and {k: v for k, v in identity.items() if k != "pixels_sha256"} == planned:
            found.append(path.parent)
    return max(found, key=lambda folder: (folder / "run.json").stat().st_mtime, default=None)


def alive(folder: Path) -> bool:
    """Is a process at work in a training's folder? Its lock is looked at and never taken."""
    lock = folder / "lock"
    if (known := held(lock)) is not None:
        return known
    written = [path.stat().st_mtime for path in (folder / "history.csv", lock) if path.is_file()]
    return time.time() - max(written) < RECENT_SEC


def held(lock: Path) -> bool | None:
    """Does a process hold a lock file of `harness.files.locked`? None: one on another machine may."""
    try:
        inode, holder = lock.stat().st_ino, lock.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    process, _, host = holder.strip().partition(" on ")
    if host == os.uname().nodename and LOCKS.is_file():
        return any(fields[1] == "FLOCK" and fields[5].endswith(f":{inode}") for fields in _locks())
    return None if process.isdigit() else False


def _locks() -> Iterator[list[str]]:
    for line in LOCKS.read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if len(fields) > 5 and fields[1] != "->":  # else one that waits
            yield fields


def last_score(scale: Scale, run: Run) -> str:
    """Return `FID 0.68 (tf, last, mini)` of the snapshot with most images that has a FID; empty if there is none."""
    best: tuple[int, str] | None = None
    records = scale.folder.records(run.experiment, run.seed)
    for path in sorted(records.glob("*/*/*.json")):
        try:
            record = score_record.read(path)
        except HarnessError:  # `harness tables` names it
            continue
        if record.values.fid is not None and (best is None or (record.run.nimg or 0) >= best[0]):
            how = f"{record.protocol.scorer}, {record.run.snapshot}, {record.protocol.name}"
            text = f"FID {record.values.fid:z.2f} ({how})"
            best = (record.run.nimg or 0, text)
    return best[1] if best else ""


def _json(path: Path) -> dict[str, Any] | None:
    try:
        value = read_json(path)
    except HarnessError:  # half-written by a training that begins
        return None
    return value if isinstance(value, dict) else None
