"""Do the scorers find the known scores of the real CIFAR-10? Each part runs, or says why it cannot."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from harness.errors import HarnessError
from harness.files import write_json, write_npy
from harness.metrics.extractors.base import Setup
from harness.metrics.extractors.registry import open_extractor
from harness.metrics.inception import weights
from harness.metrics.request import Request, find_reference
from harness.metrics.score import score

# 50,000 train images, 10 splits, official weights. Source: torch-fidelity 0.4.0 prints 11.23678, the literature 11.24.
INCEPTION_SCORE, INCEPTION_SCORE_TOLERANCE = 11.24, 0.02
# 50,000 train against 10,000 test images, official weights. Source: users of torch-fidelity and pytorch-fid.
FID, FID_TOLERANCE = 3.15, 0.05
# Train 0-2499 against 2500-4999, 768 channels, trunk of the official weights. Source: measured once in TensorFlow.
TRUNK_FID, TRUNK_FID_TOLERANCE = 0.0619, 0.0002
FEATURE_TOLERANCE = 1e-4  # relative, torch against TensorFlow


@dataclass(frozen=True)
class Part:
    """One part of the self-test: `passed` is None when it could not run, and `detail` says why."""

    name: str
    passed: bool | None
    detail: str


def run(setup: Setup, report: Callable[[Part], None], out: Path | None = None, root: Path | None = None) -> list[Part]:
    """Run all parts with the given cache, batch, threads and device; `report` is called after each.

    `setup.weights`, `setup.layer` are each part's own.

    Args:
        out: where to write what the official weights gave beside the known figures, and which file they were.
        root: the checkout whose data sets are read; None: that of the working folder.
    """
    parts = []
    for name, part in (
        ("scorers agree", _agreement),
        ("layer 768", partial(_layer_768, root=root)),
        ("layer 2048, official weights", partial(_official, out=out, root=root)),
    ):
        try:
            found = part(setup)
        except HarnessError as error:
            found = [Part(name, None, str(error))]
        for entry in found:
            report(entry)
        parts += found
    return parts


def _agreement(setup: Setup) -> list[Part]:
    setup = replace(setup, weights="stand-in", layer=2048)
    images = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    one, _ = open_extractor("tf", setup)(images)
    other, _ = open_extractor("torch", setup)(images)
    off = float(np.abs(one - other).max() / np.abs(one).max())
    return [
        Part(
            "TensorFlow and torch on the stand-in weights",
            off <= FEATURE_TOLERANCE,
            f"features differ by {off:.1e} of the largest, allowed {FEATURE_TOLERANCE:.0e}",
        )
    ]


def _layer_768(setup: Setup, root: Path | None) -> list[Part]:
    train = find_reference("cifar10", root)
    images = np.load(train / "train.npy", mmap_mode="r")
    halves = [setup.cache / "self-test" / f"cifar10-{start}.npy" for start in (0, 2500)]
    for path, start in zip(halves, (0, 2500), strict=True):
        write_npy(path, images[start : start + 2500])
    result = score(
        Request(halves[0], str(halves[1]), "tf", replace(setup, weights=_deep_enough(setup), layer=768), root=root)
    )
    name = f"FID-768 of CIFAR-10 train 0-2499 against 2500-4999 ({result.protocol.inception})"
    return [_compared(name, result.values.fid, TRUNK_FID, TRUNK_FID_TOLERANCE)]


def _deep_enough(setup: Setup) -> str:
    """Return `trunk` if it is at hand, else `official`, whose first convolutions it is."""
    try:
        weights.load("trunk", setup.cache)
    except HarnessError:
        return "official"
    return "trunk"


def _official(setup: Setup, out: Path | None, root: Path | None) -> list[Part]:
    found = weights.load("official", setup.cache)
    train, test = find_reference("cifar10", root), find_reference("cifar10-test", root)
    result = score(Request(Path(train), str(test), "tf", replace(setup, weights="official", layer=2048), root=root))
    parts = [
        _compared("IS of CIFAR-10 train", result.values.is_mean, INCEPTION_SCORE, INCEPTION_SCORE_TOLERANCE),
        _compared("FID of CIFAR-10 train against test", result.values.fid, FID, FID_TOLERANCE),
    ]
    if out is not None:
        figures = {"is_mean": INCEPTION_SCORE, "fid": FID}
        write_json(
            out,
            {
                "holds": all(part.passed for part in parts),
                "file": Path(found.where).name,
                "sha256": found.sha256,
                "found": {key: getattr(result.values, key) for key in figures},
                "known": figures,
            },
        )
    return parts


def _compared(name: str, found: float | None, expected: float, tolerance: float) -> Part:
    assert found is not None, "asked for above"
    return Part(name, abs(found - expected) <= tolerance, f"{found:.4f}, expected {expected} ± {tolerance}")
