"""Frechet distance between Gaussians fitted to features, without a complex square root.

|mu1 - mu2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)   (Heusel et al. 2017, arXiv 1706.08500, eq. 6).

With S1 = L L^T the eigenvalues of S1 S2 are those of the symmetric L^T S2 L, so its trace root is a sum of real roots.
When a set has fewer images than channels, S2 = X^T X with few rows X, and the trace root is the sum of the singular
values of X L.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

_EPS = np.finfo(np.float64).eps


@dataclass(frozen=True)
class Frechet:
    """A Frechet distance and what the arithmetic had to leave out.

    `value` is in squared feature units; rounding may make it slightly negative, and it is not clamped. `rank` is the
    numerical rank of the product of the covariances: below the number of channels a set has too few images for its
    layer. `clamped_mass`, in the units of `value`, is 2 * sum sqrt(-e) over the eigenvalues e of L^T S2 L that rounding
    made negative and that count as zero.
    """

    value: float
    rank: int
    clamped_mass: float


class GaussianStatistics:
    """The side of the distance that stays: its covariance is factored once, at the first distance, and kept."""

    def __init__(self, mean: np.ndarray, covariance: np.ndarray):
        self.mean = np.asarray(mean, dtype=np.float64)
        self.covariance = np.asarray(covariance, dtype=np.float64)
        assert self.mean.ndim == 1, f"a mean is one vector, got {self.mean.shape}"
        assert self.covariance.shape == (self.dim, self.dim), (
            f"{self.covariance.shape} does not fit {self.dim} channels"
        )

    @property
    def dim(self) -> int:
        """Number of channels."""
        return len(self.mean)

    @cached_property
    def factor(self) -> np.ndarray:
        """L, float64 [dim, rank], with L L^T = covariance; directions below d * eps * largest variance are dropped."""
        variances, axes = np.linalg.eigh(self.covariance)
        kept = variances > max(variances[-1], 0.0) * self.dim * _EPS
        return axes[:, kept] * np.sqrt(variances[kept])

    def distance(self, mean: np.ndarray, covariance: np.ndarray) -> Frechet:
        """Distance to a Gaussian.

        Args:
            mean: float [dim].
            covariance: float [dim, dim], symmetric.
        """
        mean, covariance = np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
        assert mean.shape == self.mean.shape, f"a mean {mean.shape} against {self.mean.shape}: not the same layer"
        assert covariance.shape == self.covariance.shape, f"a covariance {covariance.shape} for {self.dim} channels"
        inner = self.factor.T @ covariance @ self.factor
        squares = np.linalg.eigvalsh((inner + inner.T) / 2)
        return self._assemble(mean, np.trace(covariance), np.sqrt(np.maximum(squares, 0)), squares[squares < 0])

    def distance_to_features(self, features: np.ndarray) -> Frechet:
        """Distance to the Gaussian of features (covariance with divisor n - 1).

        Fewer rows than channels take the nuclear norm of an [n, rank] matrix; otherwise the covariance is formed.

        Args:
            features: float [n, dim], n >= 2.
        """
        features = np.asarray(features, dtype=np.float64)
        assert features.shape[1:] == (self.dim,), f"expected [n, {self.dim}], got {features.shape}"
        mean, rows = _centred(features)
        if len(features) >= self.dim:
            return self.distance(mean, rows.T @ rows)
        return self._assemble(mean, np.vdot(rows, rows), _singular_values(rows @ self.factor), np.zeros(0))

    def _assemble(self, mean: np.ndarray, trace: float, roots: np.ndarray, negative: np.ndarray) -> Frechet:
        shift = self.mean - mean
        value = shift @ shift + np.trace(self.covariance) + trace - 2 * roots.sum()
        return Frechet(float(value), _rank(roots), float(2 * np.sqrt(-negative).sum()))


def frechet_distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> Frechet:
    """Frechet distance between two Gaussians.

    Args:
        mean1, mean2: float [d].
        cov1, cov2: float [d, d], symmetric.
    """
    return GaussianStatistics(mean1, cov1).distance(mean2, cov2)


def from_features(real: np.ndarray, fake: np.ndarray) -> Frechet:
    """Frechet distance between the Gaussians of two feature sets; no d x d matrix is factored if a set is small.

    Args:
        real: float [n1, d], n1 >= 2.
        fake: float [n2, d], n2 >= 2.
    """
    assert real.ndim == 2, f"features are rows [n, d], got {real.shape}"
    assert fake.shape[1:] == real.shape[1:], f"{fake.shape} against {real.shape}: not the same layer"
    mean1, rows1 = _centred(np.asarray(real, dtype=np.float64))
    mean2, rows2 = _centred(np.asarray(fake, dtype=np.float64))
    dim = real.shape[1]
    if len(real) >= dim and len(fake) >= dim:
        return frechet_distance(mean1, rows1.T @ rows1, mean2, rows2.T @ rows2)
    if (
        len(real) >= dim
    ):  # a covariance on the large side, rows on the small one: the matrix is [n2, rank], not [n2, n1]
        return GaussianStatistics(mean1, rows1.T @ rows1).distance_to_features(fake)
    if len(fake) >= dim:
        return GaussianStatistics(mean2, rows2.T @ rows2).distance_to_features(real)
    roots = _singular_values(rows2 @ rows1.T)
    shift = mean1 - mean2
    value = shift @ shift + np.vdot(rows1, rows1) + np.vdot(rows2, rows2) - 2 * roots.sum()
    return Frechet(float(value), _rank(roots), 0.0)


def _centred(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean [d] and rows X [n, d] with X^T X the covariance (divisor n - 1)."""
    assert len(features) >= 2, "a covariance needs two rows"
    mean = features.mean(axis=0)
    return mean, (features - mean) / np.sqrt(len(features) - 1)


def _singular_values(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.svd(matrix, compute_uv=False)


def _rank(roots: np.ndarray) -> int:
    """Count eigenvalues (squared roots) above the rounding error of the largest."""
    squares = np.square(roots)
    return int((squares > squares.max(initial=0.0) * max(len(squares), 1) * _EPS).sum())
