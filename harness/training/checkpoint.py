"""Checkpoints: tensors in safetensors, the rest in JSON beside it under one digest, and the previous one kept.

The digest covers the snapshots and the history that the run folder holds at that moment, too: what a resumed training
publishes is what it wrote.
"""

import dataclasses
import hashlib
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from harness.config import reader
from harness.errors import HarnessError
from harness.files import read_json, remove, sha256_file, write_json
from harness.networks.generator_file import read_tensors, save_tensors

KEPT = 2  # the newest and the one before it
HISTORY = "history.csv"


@dataclass(frozen=True)
class Beside:
    """Files of the run folder at a checkpoint: snapshots by name, and the history's first bytes."""

    weights_sha256: dict[str, str] = field(default_factory=dict)
    history_size: int = 0
    history_sha256: str = hashlib.sha256().hexdigest()


@dataclass(frozen=True)
class _Record:
    """The JSON of a checkpoint."""

    run: str
    nimg: int
    tensors_sha256: str
    beside: Beside
    scalars: dict[str, Any]
    digest: str

    def sum(self) -> str:
        """Digest of everything but the digest."""
        return reader.digest({k: v for k, v in dataclasses.asdict(self).items() if k != "digest"})


@dataclass(frozen=True)
class Checkpoint:
    """What `load` read: all of it is checked."""

    nimg: int
    tensors: dict[str, torch.Tensor]
    scalars: dict[str, Any]
    weights_sha256: dict[str, str]
    history: bytes


class Damaged(Exception):
    """A checkpoint, or a file that it vouches for, is not what was written."""


def save(
    folder: Path,
    run_digest: str,
    nimg: int,
    tensors: dict[str, torch.Tensor],
    scalars: dict[str, Any],
    beside: Beside | None = None,
) -> None:
    """Write one checkpoint and drop all but it and the one before; the JSON, written last, makes it valid.

    Raises:
        HarnessError: a file could not be written or removed.
    """
    stem = folder / f"{nimg:012d}"
    sha256 = save_tensors(stem.with_suffix(".safetensors"), tensors)
    record = _Record(run_digest, nimg, sha256, beside or Beside(), scalars, "")
    write_json(stem.with_suffix(".json"), dataclasses.asdict(dataclasses.replace(record, digest=record.sum())))
    prune(folder, nimg)


def prune(folder: Path, nimg: int) -> None:
    """Remove all checkpoints but the one at `nimg`, which is whole, and the one before it; later ones are damaged.

    Raises:
        HarnessError: a file could not be removed.
    """
    kept = [path.stem for path in _found(folder) if int(path.stem) <= nimg][:KEPT]
    for name in sorted(os.listdir(folder)):  # the JSON before its tensors
        if re.fullmatch(r"\d{12}\.(json|safetensors)", name) and Path(name).stem not in kept:
            remove(folder / name)


def load(folder: Path, run_digest: str) -> Checkpoint | None:
    """Read the newest checkpoint that is whole and belongs to this run, or None.

    A truncated, altered or foreign one, or one whose snapshots or history are not those it was written with, is
    reported on stderr and the one before it is used.

    Raises:
        HarnessError: a file cannot be read (permissions, a failing disk): that is not damage, and nothing is removed.
    """
    for path in _found(folder):
        try:
            return _read(path, run_digest)
        except Damaged as error:
            print(f"warning: checkpoint {path} is damaged ({error}); trying the previous one.", file=sys.stderr)
        except OSError as error:
            raise unreadable(path, error) from error
    return None


def unreadable(path: Path, error: OSError) -> HarnessError:
    """Say that a file could not be read, and what to do."""
    return HarnessError(
        f"{error.filename or path}: could not be read ({error.strerror or error}); make it readable for this user, or "
        "train into another folder with --checkpoints."
    )


def _found(folder: Path) -> list[Path]:
    """JSON files of all checkpoints, the newest first."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise HarnessError(
            f"{folder}: could not be read ({error.strerror}); make it readable for this user."
        ) from error
    return sorted((folder / name for name in names if re.fullmatch(r"\d{12}\.json", name)), reverse=True)


def _read(path: Path, run_digest: str) -> Checkpoint:
    try:
        record = reader.read(_Record, read_json(path), path.name)
    except HarnessError as error:
        raise Damaged(str(error)) from None
    if record.digest != record.sum():
        raise Damaged("the JSON does not match its digest")
    if record.run != run_digest:
        raise Damaged(f"it belongs to run {record.run}, this is run {run_digest}")
    try:
        weights = read_tensors(path.with_suffix(".safetensors"))
        for name, sha256 in record.beside.weights_sha256.items():
            if sha256_file(path.parent / "weights" / f"{name}.safetensors") != sha256:
                raise Damaged(f"snapshot {name} is not the one that was written")
        history = _first_bytes(path.parent / HISTORY, record.beside)
    except (FileNotFoundError, ValueError) as error:
        raise Damaged(str(error)) from None
    if weights.sha256 != record.tensors_sha256:
        raise Damaged("the tensors do not match their digest")
    return Checkpoint(record.nimg, weights.tensors, record.scalars, record.beside.weights_sha256, history)


def _first_bytes(path: Path, beside: Beside) -> bytes:
    if beside.history_size == 0:
        return b""
    with open(path, "rb") as handle:
        content = handle.read(beside.history_size)
    if hashlib.sha256(content).hexdigest() != beside.history_sha256:
        raise Damaged("the history is not the one that was written")
    return content
