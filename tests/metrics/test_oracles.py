"""The kernels against the field's own packages, on the same features."""

import numpy as np
import pytest
import torch

from harness.metrics.kid import kernel_distance
from tests.metrics.features import distance, distance_by_rows, inception_score, moments


def feature_sets(n_real: int, n_fake: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Non-negative, correlated, unequal: float32 as an extractor gives them."""
    rng = np.random.default_rng(7)
    mix = rng.standard_normal((dim, dim)) / np.sqrt(dim)
    real = np.maximum(rng.standard_normal((n_real, dim)) @ mix + 0.3, 0)
    fake = np.maximum(1.1 * rng.standard_normal((n_fake, dim)) @ mix + 0.4, 0)
    return real.astype(np.float32), fake.astype(np.float32)


@pytest.fixture(params=[(600, 500, 32), (900, 1000, 64)], ids=["32", "64"])
def sets(request):
    return feature_sets(*request.param)


# ---------------------------------------------------------------- Frechet distance


@pytest.mark.verifies("Fréchet distance equals pytorch-fid, torch-fidelity and clean-fid on the same features")
def test_frechet_is_pytorch_fids(sets):
    peer = pytest.importorskip("pytorch_fid.fid_score")
    real, fake = (s.astype(np.float64) for s in sets)
    expected = peer.calculate_frechet_distance(
        real.mean(0), np.cov(real, rowvar=False), fake.mean(0), np.cov(fake, rowvar=False)
    )
    assert distance(*sets).value == pytest.approx(expected, rel=1e-9)


@pytest.mark.verifies("Fréchet distance equals pytorch-fid, torch-fidelity and clean-fid on the same features")
def test_frechet_is_torch_fidelitys(sets):
    peer = pytest.importorskip("torch_fidelity.metric_fid")
    stats = [peer.fid_features_to_statistics(torch.from_numpy(s.astype(np.float64))) for s in sets]
    expected = peer.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert distance(*sets).value == pytest.approx(expected, rel=1e-9)


@pytest.mark.verifies("Fréchet distance equals pytorch-fid, torch-fidelity and clean-fid on the same features")
def test_frechet_is_clean_fids(sets):
    from cleanfid.fid import fid_from_feats

    real, fake = (s.astype(np.float64) for s in sets)
    expected = fid_from_feats(real, fake)
    assert distance(*sets).value == pytest.approx(expected, rel=1e-9)


def test_frechet_of_fewer_images_than_channels_is_torch_fidelitys():
    """The complex roots of pytorch-fid and clean-fid depend on SciPy's version here; plain eigenvalues do not."""
    peer = pytest.importorskip("torch_fidelity.metric_fid")
    real, fake = (s.astype(np.float64) for s in feature_sets(40, 30, 64))
    stats = [peer.fid_features_to_statistics(torch.from_numpy(s)) for s in (real, fake)]
    expected = peer.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert distance_by_rows(real, fake) == pytest.approx(expected, rel=1e-5)  # 64 roots of +-1e-16
    assert distance(real, fake).value == pytest.approx(distance_by_rows(real, fake), rel=1e-6)


# ---------------------------------------------------------------- Inception score


@pytest.mark.parametrize("total", [500, 503])
def test_inception_score_is_torch_fidelitys(total):
    peer = pytest.importorskip("torch_fidelity.metric_isc")
    logits = (np.random.default_rng(0).standard_normal((total, 1008)) * 3).astype(np.float32)
    expected = peer.isc_features_to_metric(torch.from_numpy(logits), splits=10, shuffle=False)
    assert inception_score(logits, 10) == pytest.approx(
        (expected["inception_score_mean"], expected["inception_score_std"]), rel=1e-10
    )


# ---------------------------------------------------------------- kernel distance


def test_kernel_distance_is_clean_fids(sets):
    from cleanfid.fid import kernel_distance as peer

    real, fake = (s.astype(np.float64) for s in sets)
    np.random.seed(11)  # the library draws from the global generator
    expected = peer(real, fake, num_subsets=10, max_subset_size=200)
    assert kernel_distance(*sets, subsets=10, subset_size=200, seed=11)[0] == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_is_torch_fidelitys(sets):
    peer = pytest.importorskip("torch_fidelity.metric_kid")
    real, fake = (torch.from_numpy(s.astype(np.float64)) for s in sets)
    expected = peer.kid_features_to_metric(
        fake, real, kid_subsets=10, kid_subset_size=200, rng_seed=2020, verbose=False
    )
    assert kernel_distance(*sets, subsets=10, subset_size=200)[:2] == pytest.approx(
        (expected["kernel_inception_distance_mean"], expected["kernel_inception_distance_std"]), rel=1e-9
    )


# ---------------------------------------------------------------- the width of the real thing


@pytest.mark.slow
def test_2048_channels_agree_with_clean_fids_square_root():
    from cleanfid.fid import frechet_distance as peer

    real, fake = feature_sets(2600, 2500, 2048)
    a, b = moments(real), moments(fake)
    expected = peer(a.mean, a.covariance, b.mean, b.covariance)  # SciPy's sqrtm
    assert distance(real, fake).value == pytest.approx(expected, rel=1e-8)


@pytest.mark.slow
def test_2048_channels_and_500_images():
    real, fake = feature_sets(3000, 500, 2048)
    found = distance(real, fake)
    assert found.rank == 499
    assert found.value == pytest.approx(distance_by_rows(real.astype(float), fake.astype(float)), rel=1e-6)


# ---------------------------------------------------------------- end to end: the peers' own networks, the same weights


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """Stand-in weights, and the file the peers read them from."""
    from harness.bench.contenders import port_state_dict
    from harness.metrics.inception.topology import stand_in

    parameters = stand_in()
    path = tmp_path_factory.mktemp("port") / "port.pth"
    torch.save(port_state_dict(parameters), path)
    return parameters, path


def images(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    tiles = rng.uniform(0, 255, (n, 4, 4, 3)).repeat(8, 1).repeat(8, 2)
    return np.clip(tiles + rng.normal(0, 25, tiles.shape), 0, 255).astype(np.uint8)


@pytest.mark.slow
def test_network_is_pytorch_fids(port, monkeypatch):
    peer = pytest.importorskip("pytorch_fid.inception")
    from harness.metrics.extractors import resize
    from harness.metrics.inception import torch_module

    parameters, path = port
    monkeypatch.setattr(peer, "load_state_dict_from_url", lambda *_, **__: torch.load(path, weights_only=True))
    theirs = peer.InceptionV3([0, 1, 2, 3], resize_input=False).eval()
    pixels = resize.tf1_bilinear(images(2, 0))
    with torch.no_grad():
        expected = theirs(pixels / 255)  # it subtracts 127.5, not 128
        for layer, features in zip((64, 192, 768, 2048), expected, strict=True):
            ours = torch_module.build(parameters, layer)((pixels / 255 * 2 - 1) * 128 + 128)
            features = features.mean(dim=(2, 3))
            assert (ours - features).abs().max() < 1e-5 * features.abs().max()


@pytest.mark.verifies("IS, FID, KID equal torch-fidelity end to end on the same weights")
@pytest.mark.slow
def test_scores_are_torch_fidelitys_end_to_end(port):
    """Its reader of images, resize, network and metrics against ours: IS on the logits, FID and KID on 192 channels."""
    fidelity = pytest.importorskip("torch_fidelity")
    from harness.metrics.extractors import resize
    from harness.metrics.inception import torch_module

    parameters, path = port
    fake, real = images(24, 1), images(20, 2) // 2

    class Pixels(torch.utils.data.Dataset):
        def __init__(self, pixels: np.ndarray):
            self.pixels = torch.from_numpy(pixels).permute(0, 3, 1, 2)

        def __len__(self) -> int:
            return len(self.pixels)

        def __getitem__(self, i: int) -> torch.Tensor:
            return self.pixels[i]

    layers = {"feature_layer_fid": "192", "feature_layer_kid": "192", "feature_extractor_weights_path": str(path)}
    subsets = {"kid_subsets": 5, "kid_subset_size": 10, "isc_splits": 3, "samples_shuffle": False}
    options = {"cuda": False, "verbose": False, "cache": False, "save_cpu_ram": True, "batch_size": 8}
    expected = fidelity.calculate_metrics(
        input1=Pixels(fake), input2=Pixels(real), isc=True, fid=True, kid=True, **layers, **subsets, **options
    )

    def features(pixels: np.ndarray, layer: int) -> np.ndarray:
        with torch.inference_mode():
            return torch_module.build(parameters, layer)(resize.tf1_bilinear(pixels)).numpy()

    shallow_fake, shallow_real = features(fake, 192), features(real, 192)
    logits = features(fake, 2048) @ parameters.softmax_weights
    assert distance(shallow_real, shallow_fake).value == pytest.approx(expected["frechet_inception_distance"], rel=1e-3)
    assert kernel_distance(shallow_real, shallow_fake, subsets=5, subset_size=10)[:2] == pytest.approx(
        (expected["kernel_inception_distance_mean"], expected["kernel_inception_distance_std"]), rel=1e-3
    )
    assert inception_score(logits, 3) == pytest.approx(
        (expected["inception_score_mean"], expected["inception_score_std"]), rel=1e-3
    )
    assert expected["inception_score_mean"] > 1.01  # the stand-in classifier tells these images apart
