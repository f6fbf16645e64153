"""Weights as one checked file: safetensors, written atomically, hashed as it is read, loaded strictly."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from harness.errors import HarnessError
from harness.files import replacing, sha256_file


class Weights(NamedTuple):
    """What a file of weights holds, and the sha256 of the bytes that it was read from."""

    tensors: dict[str, torch.Tensor]
    metadata: dict[str, str]
    sha256: str

    @property
    def nimg(self) -> int:
        """Real images that the training had seen."""
        return int(self.metadata["nimg"])


def save_tensors(
    path: Path,
    tensors: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str] | None = None,
    temporaries: Path | None = None,
) -> str:
    """Write tensors atomically as safetensors and return the sha256 of the file; `temporaries`: see `replacing`.

    Raises:
        HarnessError: the file could not be written (a full disk, say); what was there before is intact.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path, temporaries) as temporary:
        save_file(plain, temporary, metadata)
        return sha256_file(temporary)


def save_file(tensors: dict[str, torch.Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write safetensors into an existing file: the library's own function replaces it by one that ignores the umask."""
    path.write_bytes(_sorted_metadata(save(tensors, metadata=dict(metadata) if metadata else None)))


def _sorted_metadata(data: bytes) -> bytes:
    """Order the metadata's entries by name: safetensors writes them in random order, and equal weights are equal files.

    The header is a little-endian uint64 length and so many bytes of JSON, padded with spaces.
    """
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    if "__metadata__" not in header:
        return data
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    assert len(text) <= length, "the same entries take the same space"
    return b"".join((data[:8], text.ljust(length), memoryview(data)[8 + length :]))


def read_tensors(path: Path) -> Weights:
    """Read a safetensors file once, and hash what was read.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: it is not safetensors.
    """
    data = Path(path).read_bytes()
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise ValueError(f"not safetensors: {error}") from None
    return Weights(tensors, header.get("__metadata__", {}), hashlib.sha256(data).hexdigest())


def not_finite(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the names of the tensors that hold NaN or infinity; one synchronisation with the device."""
    floats = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    if not floats:
        return []
    finite = torch.stack([tensor.isfinite().all() for tensor in floats.values()]).tolist()
    return [name for name, good in zip(floats, finite, strict=True) if not good]


def save_generator(
    path: Path, generator: nn.Module, nimg: int, run: Mapping[str, str], temporaries: Path | None = None
) -> str:
    """Write a generator's state as safetensors with `nimg` and `run` as metadata; return the sha256 of the file.

    Raises:
        HarnessError: a tensor holds NaN or infinity, or the file could not be written.
    """
    state = dict(generator.state_dict())
    refuse_not_finite(state, str(path))
    return save_tensors(path, state, {"nimg": str(nimg), **run}, temporaries)


def open_weights(path: Path, sha256: str | None = None, **expected: str) -> Weights:
    """Read generator weights and check what they claim.

    Args:
        sha256: of the whole file, as the record of its training says.
        expected: entries of its metadata (`experiment`, `seed`, `digest`, `nimg`) and their values.

    Raises:
        HarnessError: the file is missing or damaged, has another sha256 or other metadata, or a tensor of it holds NaN
            or infinity.
    """
    refuse_missing(path)
    try:
        weights = read_tensors(path)
        int(weights.metadata["nimg"])
    except (OSError, KeyError, ValueError) as error:
        raise HarnessError(f"{path}: not readable as generator weights ({error}); delete it and train again.") from None
    if sha256 is not None and weights.sha256 != sha256:
        raise HarnessError(
            f"{path}: has sha256 {weights.sha256}, but its record says {sha256}: the file was changed or exchanged; "
            "delete it and run its stage again."
        )
    for key, value in expected.items():
        found = weights.metadata.get(key)
        if found != value:
            raise HarnessError(
                f"{path}: says {key} '{found}', expected '{value}': these are the weights of another training; "
                "delete the file and run its stage again."
            )
    refuse_not_finite(weights.tensors, str(path))
    return weights


def refuse_missing(path: Path) -> None:
    """Raise a HarnessError that names the subcommand which makes these weights, if they are not there."""
    if not Path(path).is_file():
        command = "choose" if Path(path).stem == "best" else "train"
        raise HarnessError(f"{path}: no such weights; run `harness {command}` for this experiment and seed first.")


def refuse_not_finite(tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """Raise a HarnessError that names the tensors with NaN or infinity, if there are any."""
    bad = not_finite(tensors)
    if bad:
        raise HarnessError(f"{where}: {_some(bad)} of {len(tensors)} tensors hold NaN or infinity; train again.")


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def load_strictly(module: nn.Module, tensors: Mapping[str, torch.Tensor], where: str) -> None:
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
    module.load_state_dict(dict(tensors))
