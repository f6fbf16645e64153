"""Streaming mean and covariance of feature vectors, in float64, equal to the last bit however the stream was cut."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.errors import HarnessError

# Rows that enter the sums together. A fixed block makes the result independent of the caller's batches, and spares a
# d x d update per small batch (256 rows x 2048 channels: 4 MB).
BLOCK_ROWS = 256


@dataclass(frozen=True)
class Block:
    """Moments of up to `BLOCK_ROWS` rows that follow each other: their mean [dim] and scatter [dim, dim], float64.

    The rows are centred by their own mean before they are squared, so a large common offset costs no digits.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> "Block":
        """Return the moments of rows float64 [n, dim], 1 <= n <= `BLOCK_ROWS`."""
        assert 1 <= len(rows) <= BLOCK_ROWS, f"{len(rows)} rows in a block of {BLOCK_ROWS}"
        mean = rows.mean(axis=0)
        rows = rows - mean
        # the centred rows sum to the rounding error of the mean: put it back (two-pass correction)
        residue = rows.mean(axis=0)
        mean, rows = mean + residue, rows - residue
        return cls(len(rows), mean, rows.T @ rows)


def blocks(features: np.ndarray) -> Iterator[Block]:
    """Yield the blocks of features float [n, dim], for `Moments.join`; only the last may be short.

    Processes that share a set each take rows from a multiple of `BLOCK_ROWS` on.

    Raises:
        HarnessError: a feature is NaN or infinite.
    """
    _check_finite(features, 0)
    for start in range(0, len(features), BLOCK_ROWS):
        yield Block.of(np.asarray(features[start : start + BLOCK_ROWS], dtype=np.float64))


class Moments:
    """Mean and covariance of a stream of feature rows, joined block by block (Chan, Golub and LeVeque 1983, eq. 2.1).

    Blocks begin at multiples of `BLOCK_ROWS` and are joined in the order of the rows. So the result for given rows is
    the same to the last bit whatever the size of the updates, wherever the blocks were computed, and whether or not it
    was read in between. Memory is one d x d matrix and one block, however many rows pass.
    """

    def __init__(self, dim: int):
        assert dim > 0, "a feature has at least one channel"
        self.dim = dim
        self._joined = 0
        self._mean = np.zeros(dim)
        self._scatter = np.zeros((dim, dim))
        self._waiting = np.empty((BLOCK_ROWS, dim))
        self._pending = 0

    @property
    def count(self) -> int:
        """Number of rows seen."""
        return self._joined + self._pending

    def update(self, features: np.ndarray) -> None:
        """Add rows.

        Args:
            features: float [n, dim], n >= 0.

        Raises:
            HarnessError: a feature is NaN or infinite.
        """
        assert features.shape[1:] == (self.dim,), f"expected [n, {self.dim}], got {features.shape}"
        _check_finite(features, self.count)
        start = 0
        while start < len(features):
            taken = min(BLOCK_ROWS - self._pending, len(features) - start)
            self._waiting[self._pending : self._pending + taken] = features[start : start + taken]
            self._pending += taken
            start += taken
            if self._pending == BLOCK_ROWS:
                self._pending = 0
                self.join(Block.of(self._waiting))

    def join(self, block: Block) -> None:
        """Add the block that follows the rows seen so far, which are a multiple of `BLOCK_ROWS`."""
        assert self._pending == 0, f"{self._pending} rows of an unfinished block were given"
        assert self._joined % BLOCK_ROWS == 0, f"a block after {self._joined} rows, no multiple of {BLOCK_ROWS}"
        assert block.mean.shape == (self.dim,), f"a block of {block.mean.shape} for {self.dim} channels"
        self._mean, scatter = self._with(block)
        self._scatter += block.scatter
        self._scatter += scatter
        self._joined += block.count

    @property
    def mean(self) -> np.ndarray:
        """Mean, float64 [dim].

        Raises:
            HarnessError: no row was seen.
        """
        self._require(1)
        return self._whole()[0]

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance (divisor count - 1, as `np.cov(rowvar=False)`), float64 [dim, dim], exactly symmetric.

        Raises:
            HarnessError: fewer than two rows were seen.
        """
        return self.gaussian()[1]

    def gaussian(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and covariance of the rows seen so far, as the properties do, for the work of one.

        Raises:
            HarnessError: fewer than two rows were seen.
        """
        self._require(2)
        mean, scatter = self._whole()
        return mean, (scatter + scatter.T) / (2 * (self.count - 1))

    def _whole(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and scatter with the rows of the unfinished block, which go on waiting."""
        if not self._pending:
            return self._mean.copy(), self._scatter
        block = Block.of(self._waiting[: self._pending])
        mean, between = self._with(block)
        between += self._scatter + block.scatter  # in the order of `join`: sums of two numbers commute
        return mean, between

    def _with(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean with a block's rows, and what the distance of the two means adds to the scatter."""
        total = self._joined + block.count
        shift = block.mean - self._mean
        between = np.outer(shift * (self._joined * block.count / total), shift)
        return self._mean + shift * (block.count / total), between

    def _require(self, rows: int) -> None:
        if self.count < rows:
            raise HarnessError(f"Moments of {self.count} image(s) are undefined: give at least {rows}.")


def _check_finite(features: np.ndarray, seen: int) -> None:
    if not np.isfinite(features).all():
        raise HarnessError(
            f"Features {seen}..{seen + len(features) - 1} hold NaN or infinity, so there is no score; "
            "check the Inception weights."
        )
