"""Streaming mean and covariance of feature vectors, in float64."""

import numpy as np

from harness.errors import HarnessError

# Rows gathered before they enter the sums. A fixed block makes the result independent of the caller's batch size to the
# last bit, and spares a d x d update per small batch (256 rows x 2048 channels: 4 MB).
_BLOCK_ROWS = 256


class Moments:
    """Mean and covariance of a stream of feature rows, merged block by block (Chan, Golub and LeVeque 1983, eq. 2.1).

    Each block is centred by its own mean before it is squared, so a large common offset costs no digits. Memory is one
    d x d matrix and one block, however many rows pass.
    """

    def __init__(self, dim: int):
        assert dim > 0, "a feature has at least one channel"
        self.dim = dim
        self._folded = 0
        self._mean = np.zeros(dim)
        self._scatter = np.zeros((dim, dim))
        self._block = np.empty((_BLOCK_ROWS, dim))
        self._pending = 0

    @property
    def count(self) -> int:
        """Number of rows seen."""
        return self._folded + self._pending

    def update(self, features: np.ndarray) -> None:
        """Add rows.

        Args:
            features: float [n, dim], n >= 0.

        Raises:
            HarnessError: a feature is NaN or infinite.
        """
        assert features.shape[1:] == (self.dim,), f"expected [n, {self.dim}], got {features.shape}"
        if not np.isfinite(features).all():
            raise HarnessError(
                f"Features {self.count}..{self.count + len(features) - 1} hold NaN or infinity, so there is no score; "
                "check the Inception weights."
            )
        start = 0
        while start < len(features):
            taken = min(_BLOCK_ROWS - self._pending, len(features) - start)
            self._block[self._pending : self._pending + taken] = features[start : start + taken]
            self._pending += taken
            start += taken
            if self._pending == _BLOCK_ROWS:
                self._fold()

    def merge(self, other: "Moments") -> None:
        """Add everything `other` has seen; `other` keeps its own moments."""
        assert other.dim == self.dim, f"moments of {other.dim} channels cannot join moments of {self.dim}"
        self._fold()
        other._fold()
        self._join(other._folded, other._mean, other._scatter)

    @property
    def mean(self) -> np.ndarray:
        """Mean, float64 [dim].

        Raises:
            HarnessError: no row was seen.
        """
        self._require(1)
        return self._mean.copy()

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance (divisor count - 1, as `np.cov(rowvar=False)`), float64 [dim, dim], exactly symmetric.

        Raises:
            HarnessError: fewer than two rows were seen.
        """
        self._require(2)
        return (self._scatter + self._scatter.T) / (2 * (self._folded - 1))

    def _require(self, rows: int) -> None:
        self._fold()
        if self._folded < rows:
            raise HarnessError(f"Moments of {self._folded} image(s) are undefined: give at least {rows}.")

    def _fold(self) -> None:
        if self._pending == 0:
            return
        rows = self._block[: self._pending]
        mean = rows.mean(axis=0)
        rows = rows - mean
        # the centred rows sum to the rounding error of the mean: put it back (two-pass correction)
        residue = rows.mean(axis=0)
        mean, rows = mean + residue, rows - residue
        self._join(self._pending, mean, rows.T @ rows)
        self._pending = 0

    def _join(self, count: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        if count == 0:
            return
        total = self._folded + count
        shift = mean - self._mean
        self._scatter += scatter
        self._scatter += np.outer(shift * (self._folded * count / total), shift)
        self._mean += shift * (count / total)
        self._folded = total
