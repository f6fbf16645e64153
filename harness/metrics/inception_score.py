"""Inception score, streaming: exp(E_x KL(p(y|x) || p(y))) per split (Salimans et al. 2016, arXiv 1606.03498)."""

import numpy as np

from harness.errors import HarnessError


class InceptionScore:
    """Inception score of the first `total` images of a stream of logits.

    Splits are contiguous and in order: split i holds images floor(i * total / splits) up to floor((i + 1) * total /
    splits). When `total` is not divisible every image is still used and the sizes differ by at most one. The std over
    splits is the population std (divisor `splits`). Sums are float64; memory is one row per split.

    Source: OpenAI's improved-gan (`inception_score/model.py`), whose code AutoGAN and TransGAN carry.
    """

    def __init__(self, splits: int, total: int):
        if splits < 1 or total < splits:
            raise HarnessError(
                f"Inception score of {total} image(s) in {splits} split(s): give at least one image a split."
            )
        self.splits, self.total = splits, total
        self._ends = np.array([(i + 1) * total // splits for i in range(splits)])
        self._seen = 0
        self._sizes = np.diff(self._ends, prepend=0)
        self._marginals: np.ndarray | None = None  # sum of p(y|x) per split
        self._negative_entropies = np.zeros(splits)  # sum of p log p per split

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
            self._marginals = np.zeros((self.splits, p.shape[1]))
        split = np.searchsorted(self._ends, np.arange(self._seen, self._seen + len(p)), side="right")
        for i in np.unique(split):
            rows = split == i
            self._marginals[i] += p[rows].sum(axis=0)
            self._negative_entropies[i] += np.vdot(p[rows], log_p[rows])
        self._seen += len(p)

    def result(self) -> tuple[float, float]:
        """Mean and population std over the splits; the mean lies in [1, classes].

        Raises:
            HarnessError: fewer images arrived than announced.
        """
        if self._seen != self.total or self._marginals is None:
            raise HarnessError(f"Inception score over {self.total} images, but only {self._seen} were given.")
        q = self._marginals / self._sizes[:, None]
        log_q = np.log(q, out=np.zeros_like(q), where=q > 0)  # 0 log 0 = 0
        scores = np.exp(self._negative_entropies / self._sizes - (q * log_q).sum(axis=1))
        return float(scores.mean()), float(scores.std())


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
