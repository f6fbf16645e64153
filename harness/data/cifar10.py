"""CIFAR-10 (Krizhevsky 2009): pickled batches of uint8 [n, 3072], channel planes of 32 x 32, in a tar or extracted."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.card import Definition
from harness.data.source import Picture, Source, open_archive, open_member

FOLDER = "cifar-10-batches-py"  # of the official archive


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
            batch = _ArraysOnly(handle, encoding="bytes").load()
        images = batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        yield from zip(images, map(int, batch[b"labels"]), strict=True)


class _ArraysOnly(pickle.Unpickler):
    """Builds NumPy arrays and plain containers; any other name in the file (pickles can run code) is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.split(".")[0], name) in {("numpy", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}:
            from numpy._core.multiarray import _reconstruct

            return {"_reconstruct": _reconstruct, "ndarray": np.ndarray, "dtype": np.dtype}[name]
        raise pickle.UnpicklingError(f"a CIFAR-10 batch holds arrays only, this one asks for {module}.{name}")
