"""Weights as one checked file: safetensors with sorted metadata, written atomically and loaded strictly."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from harness.errors import HarnessError
from harness.files import replacing, sha256_file


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> str:
    """Write tensors atomically as safetensors and return the sha256 of the file.

    Raises:
        HarnessError: the file could not be written (a full disk, say); what was there before is intact.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(plain, temporary, metadata=metadata)
        except SafetensorError as error:  # safetensors wraps the operating system's errors
            raise OSError(str(error)) from error
        if metadata:
            _sort_metadata(temporary)
        return sha256_file(temporary)


def _sort_metadata(path: Path) -> None:
    """Order the metadata's entries by name: safetensors writes them in random order, and equal weights are equal files.

    The header is a little-endian uint64 length and so many bytes of JSON, padded with spaces.
    """
    with open(path, "r+b") as handle:
        length = int.from_bytes(handle.read(8), "little")
        header = json.loads(handle.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= length, "the same entries take the same space"
        handle.seek(8)
        handle.write(text.ljust(length))


def save_generator(path: Path, generator: nn.Module, nimg: int, run: dict[str, str]) -> str:
    """Write a generator's state as safetensors with `nimg` and `run` as metadata; return the sha256 of the file."""
    return save_tensors(path, dict(generator.state_dict()), metadata={"nimg": str(nimg), **run})


def load_generator(generator: nn.Module, path: Path) -> int:
    """Load weights written by `save_generator` strictly into `generator` and return the images they had seen.

    Raises:
        HarnessError: the file is missing, damaged or of another network (the differing names are listed).
    """
    if not Path(path).is_file():
        verb = "choose" if Path(path).stem == "best" else "train"
        raise HarnessError(f"{path}: no such weights; run `harness {verb}` for this experiment and seed first.")
    try:
        nimg = int(read_metadata(path)["nimg"])
        tensors = load_file(path)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise HarnessError(f"{path}: not readable as generator weights ({error}); delete it and train again.") from None
    load_strictly(generator, tensors, str(path))
    return nimg


def read_metadata(path: Path) -> dict[str, str]:
    """What `save_generator` wrote beside the tensors."""
    with safe_open(path, framework="pt") as handle:
        return handle.metadata() or {}


def load_strictly(module: nn.Module, tensors: dict[str, torch.Tensor], where: str) -> None:
    """Load a state dict; missing, unexpected or misshapen tensors are one HarnessError that lists them."""
    own = module.state_dict()
    missing, unexpected = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = [
        f"{n} {list(tensors[n].shape)} != {list(own[n].shape)}"
        for n in own
        if n in tensors and tensors[n].shape != own[n].shape
    ]
    if missing or unexpected or shapes:
        raise HarnessError(
            f"{where}: not this network. Missing: {missing}. Unexpected: {unexpected}. Shapes: {shapes}."
        )
    module.load_state_dict(tensors)
