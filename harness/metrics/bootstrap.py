"""The interval of a Frechet distance by a bootstrap over images, where their features are kept."""

import numpy as np

from harness import progress
from harness.metrics.fid import GaussianStatistics

NORMAL = 1.959963984540054  # 97.5 % of the standard normal distribution


def frechet_interval(
    reference: GaussianStatistics, features: np.ndarray, value: float, draws: int, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval around `value` from the spread of distances of images drawn with replacement.

    Repeated images raise a distance, so the interval is not that of the drawn distances but as wide as they spread. The
    reference is held fixed.

    Args:
        features: float [n, d] of the images.
        value: their distance.
        draws: sets that are drawn; each takes a covariance and a root of d x d.
        seed: of the draws.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 6.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    rows = np.asarray(features, dtype=np.float64)
    found = []
    for _ in progress.over(range(draws), draws, "draw", "bootstrap"):
        times = random.multinomial(len(rows), np.full(len(rows), 1 / len(rows)))
        mean = times @ rows / len(rows)
        off = (rows - mean) * np.sqrt(times / (len(rows) - 1))[:, None]
        found.append(reference.distance(mean, off.T @ off).value)
    half = NORMAL * float(np.std(found, ddof=1))
    return value - half, value + half


def name(draws: int) -> str:
    """Return how records call it."""
    return f"bootstrap over images ({draws} draws), reals held fixed"
