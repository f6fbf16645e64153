"""The torch scorer on every device against recorded numbers of TensorFlow's, which a machine without it can check."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.metrics.extractors import torch as torch_extractor
from harness.metrics.extractors.base import Setup
from tests.devices import CUDA
from tests.metrics.extractors import tf_numbers


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tf_numbers.PATH.read_text())
    assert found["images_sha256"] == tf_numbers.images_sha256(), "NumPy draws other images here"
    return found


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def compare(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    assert expected["fid"] > 1e-3, "the two sets differ, so that agreement says something"
    for name, value in expected.items():
        whole = name in ("fid", "trace", "mean_norm", "is_mean")  # single channels may be near zero
        np.testing.assert_allclose(found[name], value, rtol=1e-4 if whole else 2e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("device", "layer"),
    [
        ("cpu", 64),
        pytest.param("cpu", 768, marks=pytest.mark.slow),
        pytest.param("cpu", 2048, marks=pytest.mark.slow),
        *(pytest.param("cuda", layer, marks=CUDA.marks) for layer in tf_numbers.LAYERS),
    ],
)
def test_torch_gives_the_numbers_of_tensorflow(recorded: dict[str, Any], cache: Path, device: str, layer: int) -> None:
    extractor = torch_extractor.open_extractor(Setup("stand-in", layer, cache=cache, threads=1, device=device))
    assert extractor.weights_sha256 == recorded["inception_sha256"]
    assert extractor.device_used.split(":")[0] == device
    compare(tf_numbers.numbers(extractor), recorded["layers"][str(layer)])


@pytest.mark.slow
def test_tensorflow_still_gives_them(recorded: dict[str, Any]) -> None:
    pytest.importorskip("tensorflow")
    again = tf_numbers.record()
    for layer, expected in recorded["layers"].items():
        compare(again["layers"][layer], expected)
