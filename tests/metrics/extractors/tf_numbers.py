"""The TensorFlow scorer's numbers of fixed images, for machines without TensorFlow.

`python -m tests.metrics.extractors.tf_numbers` records them anew in tests/golden/tf_numbers.json.
"""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from harness.metrics.extractors.base import Extractor, Setup
from tests.metrics import features
from tests.metrics.inception.helpers import shape_images
from tests.paths import GOLDEN

PATH = GOLDEN / "tf_numbers.json"
LAYERS = (64, 768, 2048)
COUNT = 16  # images of each side
SPLITS = 2


def images() -> tuple[np.ndarray, np.ndarray]:
    """Two sets of drawn images, uint8 [16, 32, 32, 3]; the second is darker."""
    return shape_images(COUNT, seed=11), shape_images(COUNT, seed=12) // 2


def numbers(extractor: Extractor) -> dict[str, Any]:
    """Return what a scorer computes of them: moments of both sides, the Frechet distance, the Inception Score."""
    sides = [extractor(part) for part in images()]
    moments = [features.moments(found) for found, _ in sides]
    out: dict[str, Any] = {
        "fid": features.distance(sides[0][0], sides[1][0]).value,
        "mean": [part.mean[:8].tolist() for part in moments],
        "mean_norm": [float(np.linalg.norm(part.mean)) for part in moments],
        "variance": [part.covariance.diagonal()[:8].tolist() for part in moments],
        "trace": [float(np.trace(part.covariance)) for part in moments],
    }
    if sides[0][1] is not None:
        scores = [features.inception_score(logits, SPLITS) for _, logits in sides]
        out |= {"is_mean": [mean for mean, _ in scores], "is_std": [std for _, std in scores]}
    return out


def images_sha256() -> str:
    """Return the sha256 of both sets' pixels."""
    return hashlib.sha256(b"".join(part.tobytes() for part in images())).hexdigest()


def record() -> dict[str, Any]:
    """Compute the numbers with TensorFlow on stand-in weights."""
    from harness import provenance
    from harness.metrics.extractors import tensorflow

    layers, sha256, versions = {}, "", {}
    with tempfile.TemporaryDirectory() as cache:
        for layer in LAYERS:
            extractor = tensorflow.open_extractor(Setup("stand-in", layer, cache=Path(cache), threads=1))
            layers[str(layer)] = numbers(extractor)
            sha256, versions = extractor.weights_sha256, extractor.versions
    return {
        "images_sha256": images_sha256(),
        "inception_sha256": sha256,
        "splits": SPLITS,
        "layers": layers,
        "provenance": {**provenance.collect(device="cpu", threads=1), "scorer_versions": versions},
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(record(), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(PATH)
