"""One pass over a set of images through a scorer: everything that a score needs of them, and their hash."""

import time
from contextlib import ExitStack
from dataclasses import dataclass

from harness.data.images import Images
from harness.errors import HarnessError
from harness.metrics.extractors.base import Extractor, Setup
from harness.metrics.feature_file import FeatureFile
from harness.metrics.inception_score import InceptionScore
from harness.metrics.moments import Moments


@dataclass(frozen=True)
class Pass:
    """What one pass leaves in memory; it does not grow with the number of images. `sha256` is of the pixels read."""

    moments: Moments
    inception_score: tuple[float, float] | None
    device_sec: float
    sha256: str


def one_pass(
    images: Images,
    extractor: Extractor,
    setup: Setup,
    label: str,
    *,
    sha256: str | None = None,
    features: FeatureFile | None = None,
    splits: int | None = None,
) -> Pass:
    """Stream images through the extractor once.

    Args:
        label: of the progress bar.
        sha256: what the pixels were found to be before the pass.
        features: where to keep the features, float32 [n, layer]; nothing is kept of a pass that breaks off.
        splits: of the Inception Score, which is computed if the extractor has logits.

    Raises:
        HarnessError: the pixels are not those recorded, or not those of `sha256`; features that are not finite.
    """
    from tqdm import tqdm

    moments, scores, device_sec = Moments(setup.layer), None, 0.0
    stream = images.stream(setup.batch)
    with ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=len(images), unit="image", desc=f"{extractor.scorer}: {label}"))
        keep = stack.enter_context(features.writing()) if features is not None else None
        for pixels in stream:
            before = time.perf_counter()
            rows, logits = extractor(pixels)
            device_sec += time.perf_counter() - before
            moments.update(rows)
            if keep is not None:
                keep(rows)
            if logits is not None and splits is not None:
                scores = scores or InceptionScore(splits, len(images))
                scores.update(logits)
            bar.update(len(pixels))
        if sha256 not in (None, stream.sha256):
            raise HarnessError(
                f"{images.path}: changed while it was read: the pixels' sha256 was {sha256}, then {stream.sha256}; "
                "wait until nobody writes it and score again."
            )
    return Pass(moments, scores.result() if scores else None, device_sec, stream.sha256)
