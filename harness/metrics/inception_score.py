"""Inception score, streaming: exp(E_x KL(p(y|x) || p(y))) per split (Salimans et al. 2016, arXiv 1606.03498)."""

import numpy as np

from harness.errors import HarnessError
from harness.metrics import jackknife


class InceptionScore:
    """Inception score of the first `total` images of a stream of logits.

    Splits are contiguous and in order: split i holds images floor(i * total / splits) up to floor((i + 1) * total /
    splits). When `total` is not divisible every image is still used and the sizes differ by at most one. The std over
    splits is the population std (divisor `splits`). Sums are float64; memory is a row per split and per block of the
    jackknife.

    Source: OpenAI's improved-gan (`inception_score/model.py`), whose code AutoGAN and TransGAN carry.
    """

    def __init__(self, splits: int, total: int):
        if splits < 1 or total < splits:
            raise HarnessError(
                f"Inception score of {total} image(s) in {splits} split(s): give at least one image a split."
            )
        self.splits, self.total = splits, total
        ends = np.array([(i + 1) * total // splits for i in range(splits)])
        blocks = jackknife.bounds(total)[1:]
        self._cells = np.unique(np.concatenate([ends, blocks[blocks > 0]]))  # pieces of a split and of a block
        self._split_of = np.searchsorted(ends, self._cells)
        self._block_of = np.searchsorted(blocks, self._cells)
        self._seen = 0
        self._sizes = np.diff(self._cells, prepend=0)
        self._marginals: np.ndarray | None = None  # sum of p(y|x) per cell
        self._negative_entropies = np.zeros(len(self._cells))  # sum of p log p per cell

    def update(self, logits: np.ndarray) -> None:
        """Add the next images.

        Args:
            logits: float [n, classes], before the softmax, in image order.

        Raises:
            HarnessError: a logit is NaN or infinite.
        """
        self.add(*probabilities(logits, self._seen))

    def add(self, p: np.ndarray, log_p: np.ndarray) -> None:
        """Add the next images by their `probabilities`; those beyond the total are left out."""
        p, log_p = p[: self.total - self._seen], log_p[: self.total - self._seen]
        if self._marginals is None:
            self._marginals = np.zeros((len(self._cells), p.shape[1]))
        cell = np.searchsorted(self._cells, np.arange(self._seen, self._seen + len(p)), side="right")
        for i in np.unique(cell):
            rows = cell == i
            self._marginals[i] += p[rows].sum(axis=0)
            self._negative_entropies[i] += np.vdot(p[rows], log_p[rows])
        self._seen += len(p)

    def result(self) -> tuple[float, float]:
        """Mean and population std over the splits; the mean lies in [1, classes].

        Raises:
            HarnessError: fewer images arrived than announced.
        """
        scores = self._of(np.ones(len(self._cells), dtype=bool))
        return float(scores.mean()), float(scores.std())

    def without(self) -> list[float]:
        """Mean over the splits without each block of the jackknife; a split that is gone with it is left out.

        Raises:
            HarnessError: fewer images arrived than announced.
        """
        return [float(self._of(self._block_of != block).mean()) for block in range(jackknife.BLOCKS)]

    def _of(self, kept: np.ndarray) -> np.ndarray:
        """Return the score of each split that has images in the cells `kept`."""
        if self._seen != self.total or self._marginals is None:
            raise HarnessError(f"Inception score over {self.total} images, but only {self._seen} were given.")
        member = np.eye(self.splits)[self._split_of[kept]].T
        sizes = member @ self._sizes[kept]
        member, sizes = member[sizes > 0], sizes[sizes > 0]
        q = member @ self._marginals[kept] / sizes[:, None]
        log_q = np.log(q, out=np.zeros_like(q), where=q > 0)  # 0 log 0 = 0
        return np.exp(member @ self._negative_entropies[kept] / sizes - (q * log_q).sum(axis=1))


def probabilities(logits: np.ndarray, seen: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return p(y|x) and its logarithm, float64 [n, classes], of logits float [n, classes].

    Args:
        seen: images before these, for the message.

    Raises:
        HarnessError: a logit is NaN or infinite.
    """
    assert logits.ndim == 2, f"expected [n, classes], got {logits.shape}"
    if not np.isfinite(logits).all():
        raise HarnessError(f"Logits of images {seen}..{seen + len(logits) - 1} hold NaN or infinity.")
    log_p = _log_softmax(np.asarray(logits, dtype=np.float64))
    return np.exp(log_p), log_p


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
