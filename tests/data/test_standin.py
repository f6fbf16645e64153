"""The embedded data sets: same bytes everywhere, classes that differ, every image from its index alone."""

import numpy as np
import pytest

from harness.data import load, standin
from harness.data.fetch import prepare
from tests.paths import ROOT

STAND_INS = {"standin-cifar10": 32, "standin-stl10": 48, "standin-celeba": 64}


@pytest.mark.parametrize(("name", "resolution"), STAND_INS.items())
def test_prepared_set_has_pinned_pixels_and_says_it_is_a_stand_in(name, resolution, tmp_path):
    card = prepare(name, tmp_path / name, ROOT)
    data = load(tmp_path / name)
    assert data.images.shape == (2000, resolution, resolution, 3)
    assert data.images.dtype == np.uint8
    assert isinstance(data.images, np.memmap)
    assert np.array_equal(data.labels, np.arange(2000) % 10)
    assert data.card == card
    assert card["stand_in"] is True
    assert "pixels sha256" in card["verified"]


def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = zip(*standin.chunks(count, 32), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def test_an_image_depends_on_its_index_only():
    few, _ = draw(7)
    many, labels = draw(203)
    assert np.array_equal(many[:7], few)
    assert len({image.tobytes() for image in many}) == 203
    assert labels.tolist() == [i % 10 for i in range(203)]


def test_classes_differ_and_vary():
    images, labels = draw(400)
    means = np.stack([images[labels == k].mean(0) for k in range(10)])
    own = np.abs(images - means[labels]).mean((1, 2, 3))
    nearest = np.stack([np.abs(images - mean).mean((1, 2, 3)) for mean in means]).argmin(0)
    assert (nearest == labels).mean() > 0.9, "a class is not told apart by its mean image"
    assert own.min() > 3, "an image is nothing but its class"
    assert images.std() > 40
