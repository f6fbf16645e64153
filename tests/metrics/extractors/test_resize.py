import numpy as np
import pytest
import torch
from PIL import Image

from harness.metrics.extractors import resize


def images(n: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


SHAPES = [(32, 32), (48, 48), (64, 64), (40, 56), (400, 310), (299, 299)]


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_clean_bicubic_is_the_librarys_own(height, width):
    from cleanfid.resize import build_resizer

    batch = images(2, height, width)
    library = build_resizer("clean")
    expected = np.stack([library(image) for image in batch]).transpose(0, 3, 1, 2)
    ours = resize.clean_bicubic(batch).numpy()
    assert ours.dtype == np.float32
    assert np.abs(ours - expected).max() < 2e-4
    assert ours.min() >= 0
    assert ours.max() <= 255


def test_clipping_is_needed():
    """Overshoot at edges leaves 0..255, so the clip is no formality."""
    batch = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    batch[:, :, 16:] = 255
    matrix = resize.pil_bicubic_matrix(32, 299)
    raw = matrix @ batch[0, :, :, 0].astype(np.float32) @ matrix.T
    assert raw.max() > 260
    assert raw.min() < -5
    assert resize.clean_bicubic(batch).max() == 255


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_tf1_bilinear_is_torch_fidelitys(height, width):
    peer = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow")
    batch = images(2, height, width)
    planes = torch.from_numpy(batch).permute(0, 3, 1, 2).float()
    expected = peer.interpolate_bilinear_2d_like_tensorflow1x(planes, size=(299, 299), align_corners=False)
    assert (resize.tf1_bilinear(batch) - expected).abs().max() < 1e-4


def test_tf1_bilinear_by_hand():
    """2 -> 4 pixels: positions 0, 0.5, 1, 1.5; the last repeats the edge, and nothing is centred on half pixels."""
    row = np.array([10, 20], dtype=np.uint8)
    batch = np.broadcast_to(row[None, None, :, None], (1, 2, 2, 3))
    out = resize.tf1_bilinear(batch, size=4)
    np.testing.assert_array_equal(out[0, 0, 0].numpy(), [10, 15, 20, 20])
    np.testing.assert_array_equal(out[0, 0, 3].numpy(), [10, 15, 20, 20])


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 56), (400, 310)])
def test_tf1_bilinear_is_tensorflows(height, width):
    tf = pytest.importorskip("tensorflow")
    batch = images(2, height, width)
    expected = tf.compat.v1.image.resize_bilinear(batch.astype(np.float32), (299, 299)).numpy()
    assert np.abs(resize.tf1_bilinear(batch).numpy() - expected.transpose(0, 3, 1, 2)).max() < 1e-4


@pytest.mark.parametrize("filter_", [resize.tf1_bilinear, resize.clean_bicubic])
def test_constant_images_stay_constant_and_channels_apart(filter_):
    batch = np.broadcast_to(np.array([7, 100, 250], dtype=np.uint8), (2, 32, 32, 3))
    out = filter_(batch)
    assert out.shape == (2, 3, 299, 299)
    assert out.dtype == torch.float32
    for channel, value in enumerate((7, 100, 250)):
        torch.testing.assert_close(out[:, channel], torch.full((2, 299, 299), float(value)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("filter_", [resize.tf1_bilinear, resize.clean_bicubic])
def test_rows_and_columns_are_not_exchanged(filter_):
    batch = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    batch[:, 16:] = 200  # bottom half
    out = filter_(batch)[0, 0]
    assert out[20].max() < 10
    assert out[-20].min() > 190


@pytest.mark.parametrize("filter_", [resize.tf1_bilinear, resize.clean_bicubic])
def test_the_size_asked_for_leaves_the_image_alone(filter_):
    batch = images(1, 299, 299)
    np.testing.assert_allclose(filter_(batch)[0].permute(1, 2, 0).numpy(), batch[0], atol=1e-5)


@pytest.mark.parametrize("filter_", [resize.tf1_bilinear, resize.clean_bicubic])
def test_float_and_tensor_input_and_batching(filter_):
    batch = images(3, 32, 32)
    whole = filter_(batch)
    torch.testing.assert_close(filter_(batch.astype(np.float32)), whole, rtol=0, atol=0)
    torch.testing.assert_close(filter_(torch.from_numpy(batch)), whole, rtol=0, atol=0)
    torch.testing.assert_close(torch.cat([filter_(batch[i : i + 1]) for i in range(3)]), whole, rtol=0, atol=1e-4)


def test_pil_matrix_rows_are_pillows_weights():
    matrix = resize.pil_bicubic_matrix(32, 299)
    assert matrix.shape == (299, 32)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
    signal = np.random.default_rng(0).uniform(0, 255, (32, 1)).astype(np.float32)
    stretched = Image.fromarray(np.repeat(signal, 32, axis=1)).resize((32, 299), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(matrix @ signal[:, 0], np.asarray(stretched)[:, 0], atol=1e-4)
