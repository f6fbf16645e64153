"""Checkpoints: tensors in safetensors, scalars in JSON beside it, a digest over both, and the previous one kept."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from harness.config import reader
from harness.files import sha256_file, write_json
from harness.networks.generator_file import save_tensors

KEPT = 2  # the newest and the one before it


def save(folder: Path, run_digest: str, nimg: int, tensors: dict[str, torch.Tensor], scalars: dict[str, Any]) -> None:
    """Write one checkpoint and drop all but the two newest; the JSON, written last, makes it valid."""
    stem = folder / f"{nimg:012d}"
    digest = save_tensors(stem.with_suffix(".safetensors"), tensors)
    body = {"run": run_digest, "nimg": nimg, "tensors_sha256": digest, "scalars": scalars}
    write_json(stem.with_suffix(".json"), {**body, "digest": reader.digest(body)})
    for path in _found(folder)[KEPT:]:
        path.unlink()
        path.with_suffix(".safetensors").unlink(missing_ok=True)


def load(folder: Path, run_digest: str) -> tuple[int, dict[str, torch.Tensor], dict[str, Any]] | None:
    """Read the newest checkpoint that is whole and belongs to this run: (nimg, tensors, scalars), or None.

    A truncated, altered or foreign one is reported on stderr and the one before it is used.
    """
    for path in _found(folder):
        try:
            return _read(path, run_digest)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            print(f"warning: checkpoint {path} is damaged ({error}); trying the previous one.", file=sys.stderr)
    return None


def _found(folder: Path) -> list[Path]:
    return sorted((p for p in folder.glob("*.json") if re.fullmatch(r"\d{12}\.json", p.name)), reverse=True)


def _read(path: Path, run_digest: str) -> tuple[int, dict[str, torch.Tensor], dict[str, Any]]:
    record = json.loads(path.read_text(encoding="utf-8"))
    digest = record.pop("digest")
    if digest != reader.digest(record):
        raise ValueError("the JSON does not match its digest")
    if record["run"] != run_digest:
        raise ValueError(f"it belongs to run {record['run']}, this is run {run_digest}")
    file = path.with_suffix(".safetensors")
    if sha256_file(file) != record["tensors_sha256"]:
        raise ValueError("the tensors do not match their digest")
    return record["nimg"], load_file(file), record["scalars"]
