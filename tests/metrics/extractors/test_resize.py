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


# ---------------------------------------------------------------- what other packages resize with


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_torch_bilinear_is_clean_fids_copy_of_the_port(height, width):
    from cleanfid.resize import build_resizer

    batch = images(2, height, width)
    library = build_resizer("legacy_pytorch")
    expected = np.stack([library(image) for image in batch]).transpose(0, 3, 1, 2)
    assert np.abs(resize.torch_bilinear(batch).numpy() * (255 / 256) - expected).max() < 1e-4


def test_torch_bilinear_by_hand():
    """2 -> 4 pixels, centred on half pixels: positions -0.25, 0.25, 0.75, 1.25; edges repeat. Then the port's range."""
    row = np.array([10, 20], dtype=np.uint8)
    batch = np.broadcast_to(row[None, None, :, None], (1, 2, 2, 3))
    out = resize.torch_bilinear(batch, size=4)
    np.testing.assert_allclose(out[0, 0, 0].numpy(), np.array([10, 12.5, 17.5, 20]) * 256 / 255, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 56), (400, 310)])
def test_torch_bilinear_is_tensorflow_2s(height, width):
    """TensorFlow 2 moved to half-pixel centres: the same filter by other hands."""
    tf = pytest.importorskip("tensorflow")
    batch = images(2, height, width)
    expected = tf.image.resize(batch.astype(np.float32), (299, 299), method="bilinear", antialias=False).numpy()
    ours = resize.torch_bilinear(batch).numpy() * (255 / 256)
    assert np.abs(ours - expected.transpose(0, 3, 1, 2)).max() < 1e-2  # of 255; positions are float32


@pytest.mark.slow
def test_torch_bilinear_gives_pytorch_fids_features(monkeypatch, tmp_path):
    """Its own resize, range and first block against ours, from images to 64 channels."""
    peer = pytest.importorskip("pytorch_fid.inception")
    from harness.bench.contenders import port_state_dict
    from harness.metrics.inception import torch_module
    from tests.metrics.inception.helpers import parameters

    monkeypatch.setattr(peer, "load_state_dict_from_url", lambda *_, **__: port_state_dict(parameters()))
    batch = images(2, 48, 48)
    with torch.no_grad():
        (expected,) = peer.InceptionV3([0]).eval()(torch.from_numpy(batch).permute(0, 3, 1, 2) / 255)
        found = torch_module.build(parameters(), 64)(resize.torch_bilinear(batch))
    expected = expected.mean(dim=(2, 3))
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_pil_bicubic_is_clean_fids_quantised_resize(height, width):
    from cleanfid.resize import make_resizer

    batch = images(2, height, width)
    library = make_resizer("PIL", True, "bicubic", (299, 299))
    expected = np.stack([library(image) for image in batch]).transpose(0, 3, 1, 2)
    ours = resize.pil_bicubic(batch).numpy()
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, expected)
    if (height, width) != (299, 299):
        assert np.abs(ours - resize.clean_bicubic(batch).numpy()).max() > 0.4, "rounding is what sets them apart"


def test_every_resizer_of_a_scorer_exists():
    from harness.metrics.extractors import clean_fid
    from harness.metrics.extractors.base import RESIZERS

    assert {name for names in RESIZERS.values() for name in names} == set(resize.FILTERS)
    assert set(RESIZERS["clean"]) == set(clean_fid.MODES)
