"""Scores of whole feature sets through the streaming classes, and a second way to the Fréchet distance."""

import numpy as np

from harness.metrics.fid import Frechet, GaussianStatistics
from harness.metrics.inception_score import InceptionScore
from harness.metrics.moments import Moments


def moments(features: np.ndarray) -> Moments:
    found = Moments(features.shape[1])
    found.update(features)
    return found


def frechet_distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> Frechet:
    return GaussianStatistics(mean1, cov1).distance(mean2, cov2)


def distance(real: np.ndarray, fake: np.ndarray) -> Frechet:
    """As `harness score` computes it: moments of each side, then the distance."""
    a, b = moments(real), moments(fake)
    return frechet_distance(a.mean, a.covariance, b.mean, b.covariance)


def distance_by_rows(real: np.ndarray, fake: np.ndarray) -> float:
    """Without covariances: with S = X^T X the trace root is the sum of the singular values of X1 X2^T."""
    means = [s.mean(axis=0) for s in (real, fake)]
    rows = [(s - m) / np.sqrt(len(s) - 1) for s, m in zip((real, fake), means, strict=True)]
    shift = means[0] - means[1]
    roots = np.linalg.svd(rows[1] @ rows[0].T, compute_uv=False)
    return float(shift @ shift + sum(np.vdot(r, r) for r in rows) - 2 * roots.sum())


def inception_score(logits: np.ndarray, splits: int = 10) -> tuple[float, float]:
    score = InceptionScore(splits, len(logits))
    score.update(logits)
    return score.result()
