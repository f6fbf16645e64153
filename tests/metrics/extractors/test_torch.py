"""The torch scorer gives the TensorFlow scorer's numbers on the same weights; `test_tf_numbers` has it on a GPU."""

import numpy as np
import pytest
import torch

from harness.errors import HarnessError
from harness.metrics.extractors import tensorflow as tf_extractor
from harness.metrics.extractors import torch as torch_extractor
from harness.metrics.extractors.base import RESIZERS, Setup
from tests.metrics.features import distance_by_rows
from tests.metrics.inception.helpers import shape_images

pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Features and logits of 8 + 8 images from both scorers, stand-in weights, layer 2048."""
    setup = Setup("stand-in", cache=tmp_path_factory.mktemp("cache"), threads=1)
    images = np.concatenate([shape_images(8, seed=1), shape_images(8, seed=2) // 2])
    return tuple(module.open_extractor(setup)(images) for module in (tf_extractor, torch_extractor))


@pytest.mark.verifies("torch scorer equals the TensorFlow scorer (2048 channels, stand-in weights)")
def test_features_agree(both):
    (reference, _), (found, _) = both
    assert found.shape == reference.shape == (16, 2048)
    np.testing.assert_allclose(found, reference, rtol=1e-4, atol=1e-4 * np.abs(reference).mean())


def test_logits_agree(both):
    (_, reference), (_, found) = both
    np.testing.assert_allclose(found, reference, rtol=1e-4, atol=1e-4 * np.abs(reference).mean())


@pytest.mark.verifies("torch scorer equals the TensorFlow scorer (2048 channels, stand-in weights)")
def test_fid_agrees(both):
    (reference, _), (found, _) = both
    expected, value = (distance_by_rows(s[:8].astype(float), s[8:].astype(float)) for s in (reference, found))
    assert expected > 0.05, "the two halves differ, so that agreement says something"
    assert value == pytest.approx(expected, abs=1e-3)
    assert value == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("layer", [64, 192, 768])
def test_shallower_layers_agree(tmp_path_factory, layer):
    setup = Setup("stand-in", layer, cache=tmp_path_factory.getbasetemp() / "layers", threads=1)
    images = shape_images(2, seed=3, side=48)
    reference, none = tf_extractor.open_extractor(setup)(images)
    found, also_none = torch_extractor.open_extractor(setup)(images)
    assert none is None
    assert also_none is None
    np.testing.assert_allclose(found, reference, rtol=1e-4, atol=1e-4 * np.abs(reference).mean())


def test_another_resizer_gives_other_features_and_floats_are_taken(tmp_path_factory):
    setup = Setup("stand-in", 64, cache=tmp_path_factory.getbasetemp() / "layers", threads=1)
    images = shape_images(2, seed=3)
    found = {}
    for resizer in RESIZERS["torch"]:
        extractor = torch_extractor.open_extractor(setup, resizer)
        assert extractor.resizer == resizer
        found[resizer] = extractor(images)[0]
        if resizer != "pil-bicubic":
            np.testing.assert_array_equal(extractor(images.astype(np.float32))[0], found[resizer])
            shifted = extractor(images + np.float32(0.4))[0]
            assert np.abs(shifted - found[resizer]).max() > 1e-4 * np.abs(shifted).max(), "nothing is rounded"
    for one in found:
        for other in found:
            assert one == other or np.abs(found[one] - found[other]).max() > 1e-3 * np.abs(found[one]).max()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_missing_device_is_refused(tmp_path):
    with pytest.raises(HarnessError, match="torch sees no GPU"):
        torch_extractor.open_extractor(Setup("stand-in", device="cuda", cache=tmp_path))
