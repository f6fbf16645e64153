"""STL-10 (Coates, Ng and Lee 2011): raw uint8 binaries, each image three planes of 96 x 96 in column-major order."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness.data.card import Definition
from harness.data.source import Picture, Source, open_archive, open_member

FOLDER = "stl10_binary"  # of the official archive
SIDE = 96


def open_source(path: Path, entry: Definition) -> Source:
    """Open the archive `stl10_binary.tar.gz` or the extracted folder after comparing the published md5s.

    The images come without classes: most of the train+unlabeled split has none.

    Raises:
        HarnessError: not the official files.
    """
    return open_archive(path, entry, _pictures(path, entry))


def download(folder: Path) -> None:
    """Let torchvision fetch and check the official archive; of its splits, `test` takes the least memory to open."""
    from torchvision.datasets import STL10

    STL10(folder, split="test", download=True)


def _pictures(path: Path, entry: Definition) -> Iterator[Picture]:
    size = 3 * SIDE * SIDE
    for name in entry.members:
        with open_member(path, FOLDER, name) as handle:
            while block := handle.read(size):
                if len(block) < size:
                    raise EOFError(f"{name} ends within an image")
                yield np.frombuffer(block, np.uint8).reshape(3, SIDE, SIDE).transpose(2, 1, 0), None
