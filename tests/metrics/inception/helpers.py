"""A scorer without weights, stand-in weights and small graphs shared by the tests of metrics."""

from functools import lru_cache
from typing import Any

import numpy as np

from harness.metrics.extractors.base import Setup
from harness.metrics.inception import frozen_graph
from harness.metrics.inception.topology import Parameters, convolutions, stand_in


@lru_cache(maxsize=1)
def parameters() -> Parameters:
    return stand_in()


def shallow(layer: int) -> Parameters:
    """Stand-in weights that end at `layer`."""
    convs = parameters().convs
    return Parameters({name: convs[name] for name in convolutions(layer)}, None, None)


def built(layer: int = 64) -> Any:
    """A GraphDef of them."""
    return frozen_graph.build(shallow(layer))


def node(definition: Any, name: str) -> Any:
    return next(n for n in definition.node if n.name == name)


def attribute(definition: Any, name: str, key: str) -> Any:
    return next(entry.value for entry in node(definition, name).attr if entry.key == key)


class PixelExtractor:
    """Random projections of the pixels: 64 features, 12 logits, no network.

    Products and sums are exact in float64, so an image has the same features in every batch and on every machine.
    """

    scorer, resizer, kind = "tf", "none", "stand-in"

    def __init__(self, setup: Setup, weights_sha256: str = "a" * 64):
        self.versions = {"tensorflow": "none"}
        self.setup, self.weights_sha256, self.images_seen = setup, weights_sha256, 0
        self.device_used, self.biases = "cpu", np.linspace(0, 3, 12, dtype=np.float32)

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        self.images_seen += len(images)
        rows = images.reshape(len(images), -1).astype(np.float64)
        random = np.random.Generator(np.random.PCG64(rows.shape[1]))
        weights = np.round(random.standard_normal((rows.shape[1], 76), dtype=np.float32).astype(np.float64) * 1024)
        out = (rows @ weights / (1024 * 255 * rows.shape[1] ** 0.5)).astype(np.float32)
        return out[:, :64], 5 * out[:, 64:]


def noise_images(n: int, seed: int, side: int = 8) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def shape_images(n: int, seed: int, side: int = 32) -> np.ndarray:
    """Smooth coloured waves: images that differ in content, not only in noise."""
    random = np.random.Generator(np.random.PCG64(seed))
    y, x = np.mgrid[0:side, 0:side] / side
    waves = random.uniform(-6, 6, (n, 2, 3, 1, 1))
    phase = random.uniform(0, 6, (n, 3, 1, 1))
    images = np.sin(waves[:, 0] * x + waves[:, 1] * y + phase) * random.uniform(0.2, 1, (n, 3, 1, 1))
    return np.ascontiguousarray(((images + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1))
