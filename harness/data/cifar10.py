"""CIFAR-10 (Krizhevsky 2009): pickled batches of uint8 [n, 3072], channel planes of 32 x 32, in a tar or extracted."""

import io
import pickle
import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.card import Definition
from harness.data.source import Picture, Source, open_archive, open_member, read_limited

FOLDER = "cifar-10-batches-py"  # of the official archive
_MAX_BATCH = 1 << 26  # bytes; an official batch has 31 million


def open_source(path: Path, entry: Definition) -> Source:
    """Open the archive `cifar-10-python.tar.gz` or the extracted folder after comparing the published md5s.

    Raises:
        HarnessError: not the official files.
    """
    return open_archive(path, entry, _pictures(path, entry))


def download(folder: Path) -> None:
    """Let torchvision fetch and check the official archive."""
    from torchvision.datasets import CIFAR10

    CIFAR10(folder, download=True)


def _pictures(path: Path, entry: Definition) -> Iterator[Picture]:
    for name in entry.members:
        with open_member(path, FOLDER, name) as handle:
            batch = _unpickle(read_limited(handle, _MAX_BATCH, name))
        images = batch[b"data"]
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (3072,):
            raise ValueError(f"{name} holds no uint8 [n, 3072]")
        yield from zip(images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), map(int, batch[b"labels"]), strict=True)


def _unpickle(data: bytes) -> Any:
    """Read a pickle of arrays and plain containers; nothing in it may state more bytes than there are."""
    for operation, argument, _ in pickletools.genops(data):  # refuses what reaches beyond the end
        if operation.name == "LONG_BINPUT" and int(argument or 0) > len(data):
            raise pickle.UnpicklingError(f"it asks for {argument:,} places")
    return _ArraysOnly(io.BytesIO(data), encoding="bytes").load()


class _ArraysOnly(pickle.Unpickler):
    """Builds NumPy arrays and plain containers; any other name in the file (pickles can run code) is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype"):
            return {"_reconstruct": _no_array_yet, "ndarray": "ndarray", "dtype": np.dtype}[name]
        raise pickle.UnpicklingError(f"a CIFAR-10 batch holds arrays only, this one asks for {module}.{name}")


def _no_array_yet(*_: Any) -> np.ndarray:
    """Stand for NumPy's `_reconstruct`: whatever size is asked for, the array's state brings shape and bytes."""
    return np.empty(0, np.uint8)
