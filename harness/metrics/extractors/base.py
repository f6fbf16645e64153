"""What every scorer offers: an extractor from uint8 images to Inception features (and logits, where they exist).

`harness.metrics.score` streams a dump and its reference through one extractor, whatever its scorer. A scorer's module
(`tensorflow`, `torch`, `clean_fid`) defines `open_extractor(setup: Setup) -> Extractor`, and `registry` opens it by
name.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from harness.config.protocols import RESIZERS as RESIZERS
from harness.errors import HarnessError, nearest

LAYERS = (64, 192, 768, 2048)  # channels of the layer; pytorch-fid's `--dims`
SCORERS = tuple(RESIZERS)


@dataclass(frozen=True)
class Setup:
    """How a scorer is opened.

    `weights` is `stand-in`, `trunk`, `official` or a file (.pb, .tgz, .pth, .pt, .npz); see `inception.weights.load`.
    """

    weights: str = "official"
    layer: int = 2048
    batch: int = 50
    threads: int = 2
    device: str = "cpu"  # cpu | cuda | cuda:N | auto
    cache: Path = field(default_factory=lambda: Path(".cache"))


# Images that a network sees at once on a CPU, at least: activations of more leave its caches (measured: 15 % slower at
# 48), and torch runs 1 x 1 convolutions of less than 16 on one thread by a slower way.
_AT_ONCE = 16


def parts(images: np.ndarray, device: str) -> list[np.ndarray]:
    """Cut images [n, R, R, 3] into what a torch network should see at once on a device: everything on a GPU."""
    pieces = max(1, len(images) // _AT_ONCE) if device == "cpu" else 1
    return np.array_split(images, pieces)


class Extractor(Protocol):
    """An opened scorer: call it with images [n, R, R, 3], n <= its batch; it returns float32 [n, layer] and logits.

    Images are uint8, or float32 on the same scale.
    """

    scorer: str  # tf | torch | clean
    resizer: str  # tf1-bilinear | clean-bicubic | ...: which pixels the network sees
    kind: str  # official | trunk | stand-in | file
    weights_sha256: str  # of the weights' file; of the parameters for the stand-in
    device_used: str  # cpu | cuda | cuda:N, as it is, not as it was asked for
    versions: dict[str, str]  # packages that computed the features
    biases: np.ndarray | None  # softmax/biases, float32 [1008], which the logits are without; None where no logits are

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return features float32 [n, layer] averaged over space, and logits float32 [n, 1008] or None if undefined."""
        ...


def resizer_of(scorer: str, resizer: str | None) -> str:
    """Return the resizer to use: the scorer's own for None.

    Raises:
        HarnessError: an unknown scorer, or a resizer that it does not have.
    """
    if scorer not in RESIZERS:
        raise HarnessError(f"--scorer {scorer}: unknown.{nearest(scorer, SCORERS)}")
    if resizer is not None and resizer not in RESIZERS[scorer]:
        valid = "; ".join(f"{name}: {', '.join(known)}" for name, known in RESIZERS.items())
        raise HarnessError(f"--resizer {resizer}: --scorer {scorer} has none of that name. The scorers' are {valid}.")
    return resizer or RESIZERS[scorer][0]
