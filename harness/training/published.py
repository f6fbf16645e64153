"""What a training leaves for the next stages, written by one function; `train.json` comes last and makes it valid."""

from collections.abc import Mapping
from pathlib import Path

from harness.errors import HarnessError
from harness.files import copy, remove, sweep
from harness.paths import TrainingFolders
from harness.records import train_record
from harness.records.train_record import TrainRecord


def clear(folders: TrainingFolders) -> None:
    """Remove what an earlier training left: until this one is done, nothing stands for it."""
    for folder in (folders.artifacts, folders.train):
        sweep(folder)
    remove(folders.record)
    for folder in (folders.weights, folders.chosen):
        for path in sorted(folder.glob("*.safetensors")):
            remove(path)


def publish(
    record: TrainRecord, weights: Mapping[str, Path], history: Path, grids: list[Path], folders: TrainingFolders
) -> None:
    """Copy weights, pictures and history, then write `train.json`; other files of earlier trainings go.

    Args:
        record: its hashes are those of what was written; a source that has another one is refused.
        weights: snapshot -> file.

    Raises:
        HarnessError: a source changed since it was written, or the disk is full; `train.json` is not there.
    """
    if _published_weights(folders) != record.weights_sha256:
        clear(folders)
    for name, path in weights.items():
        copy(path, folders.weights / f"{name}.safetensors", record.weights_sha256[name], folders.artifacts)
    for path in grids:
        copy(path, folders.grids / path.name, temporaries=folders.train)
    copy(history, folders.history, record.history_sha256)
    kept = {f"{name}.safetensors" for name in weights} | {path.name for path in grids}
    for path in (*folders.weights.glob("*.safetensors"), *folders.grids.glob("*.png")):
        if path.name not in kept:
            remove(path)
    remove(folders.stopped)
    train_record.write(folders.record, record)


def _published_weights(folders: TrainingFolders) -> dict[str, str] | None:
    """Return the hashes that stand in `train.json`, or None."""
    try:
        return train_record.read(folders.record).weights_sha256
    except HarnessError:
        return None
