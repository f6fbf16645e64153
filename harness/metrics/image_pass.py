"""One pass over a set of images through a scorer: everything that scores need of them, and their hashes."""

import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from harness import progress
from harness.data.images import Images
from harness.errors import HarnessError
from harness.metrics import jackknife
from harness.metrics.extractors.base import Extractor, Setup
from harness.metrics.feature_file import FeatureFile
from harness.metrics.inception_score import InceptionScore, probabilities
from harness.metrics.jackknife import Prefix
from harness.metrics.moments import Moments


@dataclass(frozen=True)
class Splits:
    """One Inception Score: of the first `n` images in so many splits, with or without the classifier's biases."""

    n: int
    splits: int
    bias: bool = False


@dataclass(frozen=True)
class First:
    """The first images of a pass: mean float64 [d] and covariance [d, d] of their features, sha256 of their pixels."""

    mean: np.ndarray
    covariance: np.ndarray
    sha256: str


@dataclass(frozen=True)
class Pass:
    """What one pass leaves in memory, which does not grow with the number of images.

    `first` has an entry for each count asked for, `inception_scores` each that was asked for, if the scorer has logits.
    `prefixes` are the moments where the blocks of a jackknife of each count end, {} if it was not asked for.
    """

    first: dict[int, First]
    inception_scores: dict[Splits, InceptionScore]
    device_sec: float
    prefixes: dict[int, Prefix] = field(default_factory=dict)


def one_pass(
    images: Images,
    extractor: Extractor,
    setup: Setup,
    label: str,
    *,
    counts: Collection[int] = (),
    sha256: Mapping[int, str] | None = None,
    features: FeatureFile | None = None,
    scores: Collection[Splits] = (),
    with_blocks: bool = False,
) -> Pass:
    """Stream images through the extractor once.

    What is said of the first so many images is the same to the last bit as in a pass over these alone, if the batch
    divides their number: a network's last digits may depend on the size of a batch.

    Args:
        label: of the progress bar.
        counts: of first images whose statistics are wanted; all are always among them.
        sha256: what the pixels of the first so many were found to be before the pass.
        features: where to keep those of the first images, float32 [n, layer]; nothing is kept of a pass that breaks
            off.
        scores: Inception Scores, which are computed if the extractor has logits.
        with_blocks: keep what a jackknife of each count needs, at most nine covariances a count.

    Raises:
        HarnessError: the pixels are not those recorded, or not those of `sha256`; features that are not finite.
    """
    counts = {*counts, *(sha256 or {}), len(images)}
    moments, device_sec, seen = Moments(setup.layer), 0.0, 0
    prefixes: dict[int, Prefix] = {}
    ends = {int(end) for n in counts if with_blocks and n >= jackknife.LEAST for end in jackknife.bounds(n)[1:]}
    streaming = {wanted: InceptionScore(wanted.splits, wanted.n) for wanted in scores}
    stream = images.stream(setup.batch, counts)
    with ExitStack() as stack:
        bar = stack.enter_context(progress.bar(len(images), "image", f"{extractor.scorer}: {label}"))
        keep = stack.enter_context(features.writing()) if features is not None else None
        for pixels in stream:
            before = time.perf_counter()
            rows, logits = extractor(pixels)
            device_sec += time.perf_counter() - before
            done = 0
            for n in sorted(n for n in counts | ends if seen < n <= seen + len(pixels)):
                moments.update(rows[done : n - seen])
                prefixes[n], done = Prefix(n, *moments.gaussian()), n - seen
            moments.update(rows[done:])
            if keep is not None and features is not None and seen < features.count:
                keep(rows[: features.count - seen])
            if logits is not None:
                _add(streaming, logits, extractor.biases, seen)
            seen += len(pixels)
            bar.update(len(pixels))
        for n, expected in (sha256 or {}).items():
            if stream.hashes[n] != expected:
                raise HarnessError(
                    f"{images.path}: changed while it was read: the pixels' sha256 was {expected}, then "
                    f"{stream.hashes[n]}; wait until nobody writes it and score again."
                )
    first = {n: First(prefixes[n].mean, prefixes[n].covariance, stream.hashes[n]) for n in counts}
    return Pass(first, streaming if logits is not None else {}, device_sec, prefixes if with_blocks else {})


def _add(streaming: Mapping[Splits, InceptionScore], logits: np.ndarray, biases: np.ndarray | None, seen: int) -> None:
    """Add a batch's logits to the Inception Scores that reach so far; each softmax is computed once."""
    for bias in (False, True):
        reached = [score for wanted, score in streaming.items() if wanted.bias == bias and seen < wanted.n]
        if reached:
            assert biases is not None or not bias, "the scorer has logits, so it knows their biases"
            p = probabilities(logits + biases if bias else logits, seen)
            for score in reached:
                score.add(*p)
