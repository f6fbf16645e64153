"""How far a score would move with other samples of the same generator: a delete-one-block jackknife.

The samples are cut into ten blocks of images that follow each other, a score is made without each of them, and the
spread of the ten says how sure the whole score is (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
chapter 11, with groups in place of single images). The reference is held fixed, so what another draw of real images
would change is not in it; nor is what another training would change. An interval is of the mean score of sets of this
size, which for the Frechet distance is more than that of infinitely many images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.metrics.fid import GaussianStatistics

BLOCKS = 10
LEVEL = 0.95
WIDTH = 2.262157162798205  # half an interval in standard deviations: Student's t, 97.5 %, BLOCKS - 1 degrees of freedom
LEAST = 2 * BLOCKS  # images, two a block
NAME = f"jackknife over {BLOCKS} blocks of images, reals held fixed"  # as records say it


@dataclass(frozen=True)
class Prefix:
    """Moments of the first `count` images: mean float64 [d] and unbiased covariance float64 [d, d]."""

    count: int
    mean: np.ndarray
    covariance: np.ndarray


def bounds(n: int) -> np.ndarray:
    """Return where the blocks of n images begin and end, int [BLOCKS + 1]; as the ten splits of an Inception Score."""
    return np.arange(BLOCKS + 1) * n // BLOCKS


def blocks(n: int) -> np.ndarray:
    """Return the number of the block of each of n images, int [n]."""
    return np.searchsorted(bounds(n)[1:], np.arange(n), side="right")


def interval(value: float, without: Sequence[float]) -> tuple[float, float]:
    """Return the two-sided interval at `LEVEL` around a score: Student's with one degree less than there are blocks.

    Args:
        value: of all images.
        without: of all images but those of each block.
    """
    error = float(np.sqrt((BLOCKS - 1) * np.var(without)))
    half = WIDTH * error
    return value - half, value + half


def sd_of(low: Any, high: Any) -> Any:
    """Return the standard deviation of a score's evaluation that an interval stands for; of numbers or columns."""
    return (high - low) / 2 / WIDTH


def frechet_without(
    reference: GaussianStatistics, whole: Prefix, prefixes: Mapping[int, Prefix], value: float
) -> list[float]:
    """Return the Frechet distance without each block, to first order in the block's weight.

    The distance D changes with mean m and covariance S of the samples by 2 (m - m1) dm + tr((1 - T) dS), where T is the
    optimal transport between the Gaussians (`GaussianStatistics.transport`); to leave a block out changes both by a
    ninth of what the block differs from the whole. Ten distances then cost one eigendecomposition, and sets of fewer
    images than channels have one, too; exact ones of each block's covariance give the same interval (tested).

    Args:
        whole: of all images.
        prefixes: of the first so many, by their count, where blocks end.
        value: the distance of all images.
    """
    slope = np.eye(reference.dim) - reference.transport(whole.covariance)
    shift = 2 * (whole.mean - reference.mean)

    def summed(first: Prefix | None) -> float:
        """The sum over the first images x of shift (x - m) + (x - m)^T slope (x - m)."""
        if first is None:
            return 0.0
        off = first.mean - whole.mean
        spread = (first.count - 1) / first.count * np.vdot(slope, first.covariance)
        return float(first.count * (shift @ off + spread + off @ slope @ off))

    ends = bounds(whole.count)
    known = {**prefixes, whole.count: whole}
    sums = np.array([summed(known.get(int(end))) for end in ends])
    sizes = np.diff(ends)
    influence = np.diff(sums) / sizes - sums[-1] / whole.count
    return list(map(float, value - influence * sizes / (whole.count - sizes)))
