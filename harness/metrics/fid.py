"""Frechet distance between Gaussians fitted to features, without a complex square root.

|mu1 - mu2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)   (Heusel et al. 2017, arXiv 1706.08500, eq. 6).

With S1 = L L^T the eigenvalues of S1 S2 are those of the symmetric L^T S2 L, so its trace root is a sum of real roots.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from harness.errors import HarnessError

NEGATIVE = 1e-3  # of both traces: far above what rounding takes off a distance of 0 (2048 roots of 1e-16, each 1e-8)
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
    """Mean and covariance of features; the covariance is factored once, at the first distance, and kept."""

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

        Raises:
            HarnessError: it lies below 0 by more than rounding; one of the two matrices is no covariance.
        """
        mean, covariance = np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
        assert mean.shape == self.mean.shape, f"a mean {mean.shape} against {self.mean.shape}: not the same layer"
        assert covariance.shape == self.covariance.shape, f"a covariance {covariance.shape} for {self.dim} channels"
        inner = self.factor.T @ covariance @ self.factor
        squares = np.linalg.eigvalsh((inner + inner.T) / 2)
        roots = np.sqrt(np.maximum(squares, 0))
        shift = self.mean - mean
        value = shift @ shift + np.trace(self.covariance) + np.trace(covariance) - 2 * roots.sum()
        if value < -NEGATIVE * (np.trace(self.covariance) + np.trace(covariance)):
            raise HarnessError(
                f"The Frechet distance is {value:.4g}, and none lies below 0: a covariance is impossible; "
                "make the statistics again."
            )
        return Frechet(float(value), _rank(roots), float(2 * np.sqrt(-squares[squares < 0]).sum()))

    def transport(self, covariance: np.ndarray) -> np.ndarray:
        """Return T float64 [dim, dim] = L (L^T S2 L)^(-1/2) L^T, so that 2 tr (S1 S2)^(1/2) changes by tr(T dS2).

        It carries a Gaussian with covariance S2 to this one (Dowson and Landau 1982). Directions in which S2 has no
        variance, to rounding, are left out.

        Args:
            covariance: S2, float [dim, dim], symmetric.
        """
        inner = self.factor.T @ covariance @ self.factor
        squares, axes = np.linalg.eigh((inner + inner.T) / 2)
        kept = squares > squares.max(initial=0.0) * max(len(squares), 1) * _EPS
        scaled = self.factor @ axes[:, kept] * squares[kept] ** -0.25
        return scaled @ scaled.T


def caveats(channels: int, n_real: int | None, n_fake: int) -> list[str]:
    """Return what makes a distance between sets of these sizes doubtful: too few images for the channels.

    Args:
        channels: of the feature layer.
        n_real: images behind the reference; None if undeclared.
        n_fake: images scored.
    """
    counts = {"real images": n_real, "generated images": n_fake}
    return [
        f"{n} {name} at {channels} channels: the covariance is singular"
        for name, n in counts.items()
        if n is not None and n <= channels
    ]


def _rank(roots: np.ndarray) -> int:
    """Count eigenvalues (squared roots) above the rounding error of the largest."""
    squares = np.square(roots)
    return int((squares > squares.max(initial=0.0) * max(len(squares), 1) * _EPS).sum())
