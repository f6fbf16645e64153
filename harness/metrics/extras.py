"""Scores beside the usual ones, on the scorer's own features: FID at infinitely many images, precision and recall."""

from collections.abc import Mapping

import numpy as np

from harness.metrics.fid import GaussianStatistics
from harness.metrics.jackknife import BLOCKS, Prefix, bounds

NEIGHBOURS = 3  # Source: Kynkaanniemi et al. 2019, section 3.1, and torch-fidelity 0.4.0's default
_ROWS = 512  # that distances are computed of at once: 200 MB to 50,000 others


def fid_at_infinity(reference: GaussianStatistics, prefixes: Mapping[int, Prefix], n: int) -> float | None:
    """Return FID extrapolated to infinitely many samples: the intercept of a line through FID against 1/count.

    The counts are nested, from half to all of the images in tenths, which the pass has moments of anyway. None where
    half of the images are not more than the channels: their covariance is singular and the line is none.

    Args:
        prefixes: moments of the first so many images, by their count.
        n: images.

    Source: Chong and Forsyth 2020 (arXiv 1911.07023), equation 9; there with independent subsets of one dump.
    """
    counts = [int(end) for end in bounds(n)[BLOCKS // 2 :]]
    if counts[0] <= reference.dim:
        return None
    values = [reference.distance(prefixes[count].mean, prefixes[count].covariance).value for count in counts]
    return float(np.polyfit(1 / np.array(counts), values, 1)[1])


def precision_and_recall(real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """Return improved precision and recall with `NEIGHBOURS` neighbours, both in 0..1.

    Precision is the part of generated images that lie within a ball of a real one, which reaches to its third nearest
    real neighbour; recall the same with the sides exchanged. On Inception features they are not the paper's numbers,
    which are on VGG-16's.

    Args:
        real: features float [n1, d], n1 > NEIGHBOURS.
        fake: features float [n2, d], n2 > NEIGHBOURS.

    Source: Kynkaanniemi et al. 2019 (arXiv 1904.06991), equations 1 and 2.
    """
    return _covered(fake, real), _covered(real, fake)


def _covered(points: np.ndarray, centres: np.ndarray) -> float:
    """Return the part of the points that lie in the ball of a centre."""
    own = [np.partition(_squares(part, centres), NEIGHBOURS, axis=1)[:, NEIGHBOURS] for part in _parts(centres)]
    radii = np.concatenate(own)
    return sum(int((_squares(part, centres) <= radii).any(axis=1).sum()) for part in _parts(points)) / len(points)


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + _ROWS].astype(np.float64) for start in range(0, len(rows), _ROWS)]


def _squares(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return squared distances, float64 [n, m]; of a row to itself exactly 0 is not promised, but less than others."""
    others = np.asarray(others, dtype=np.float64)
    return np.square(rows).sum(axis=1)[:, None] + np.square(others).sum(axis=1) - 2 * rows @ others.T
