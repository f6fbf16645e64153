import json

import numpy as np
import pytest
import scipy.linalg

from harness.errors import HarnessError
from harness.metrics.fid import GaussianStatistics, caveats
from tests.metrics.features import distance, distance_by_rows, frechet_distance


def random_covariance(rng: np.random.Generator, dim: int) -> np.ndarray:
    a = rng.standard_normal((dim, dim))
    return a @ a.T / dim


def random_rotation(rng: np.random.Generator, dim: int) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((dim, dim)))[0]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.fixture
def pair(rng):
    return rng.standard_normal(12), random_covariance(rng, 12), rng.standard_normal(12), random_covariance(rng, 12)


def test_equal_covariances_leave_the_means(rng):
    covariance = random_covariance(rng, 16)
    a, b = rng.standard_normal((2, 16))
    assert frechet_distance(a, covariance, b, covariance).value == pytest.approx(((a - b) ** 2).sum(), rel=1e-12)


def test_commuting_covariances(rng):
    s, t = rng.uniform(0.1, 4, (2, 16))
    axes = random_rotation(rng, 16)
    zero = np.zeros(16)
    expected = ((np.sqrt(s) - np.sqrt(t)) ** 2).sum()
    assert frechet_distance(zero, np.diag(s), zero, np.diag(t)).value == pytest.approx(expected, rel=1e-12)
    rotated = frechet_distance(zero, axes * s @ axes.T, zero, axes * t @ axes.T)
    assert rotated.value == pytest.approx(expected, rel=1e-11)
    assert rotated.rank == 16


def test_rotation_changes_nothing(rng, pair):
    mean1, cov1, mean2, cov2 = pair
    q = random_rotation(rng, 12)
    turned = frechet_distance(q @ mean1, q @ cov1 @ q.T, q @ mean2, q @ cov2 @ q.T)
    assert turned.value == pytest.approx(frechet_distance(*pair).value, rel=1e-11)


def test_scaling_features_scales_by_the_square(pair):
    mean1, cov1, mean2, cov2 = pair
    scaled = frechet_distance(3 * mean1, 9 * cov1, 3 * mean2, 9 * cov2)
    assert scaled.value == pytest.approx(9 * frechet_distance(*pair).value, rel=1e-12)


def test_symmetric_zero_on_itself_and_never_clamped_here(pair):
    mean1, cov1, mean2, cov2 = pair
    forth, back = frechet_distance(mean1, cov1, mean2, cov2), frechet_distance(mean2, cov2, mean1, cov1)
    assert forth.value == pytest.approx(back.value, rel=1e-11)
    assert forth.clamped_mass == back.clamped_mass == 0
    assert frechet_distance(mean1, cov1, mean1, cov1).value == pytest.approx(0, abs=1e-12)


def test_golden_value(golden_dir):
    golden = json.loads((golden_dir / "golden.json").read_text())["frechet"]
    random = np.random.RandomState(0)
    real, fake = random.randn(200, 8), random.randn(300, 8) * 1.5 + 0.3
    assert golden["cov_matches_ddof1"]
    assert distance(real, fake).value == pytest.approx(golden["exact_float64"], rel=1e-11)
    assert distance_by_rows(real, fake) == pytest.approx(golden["exact_float64"], rel=1e-11)
    # what TransGAN itself prints: Newton-Schulz iterations in float32
    assert golden["official_newton_schulz_float32"] == pytest.approx(golden["exact_float64"], rel=1e-6)


def test_agrees_with_the_complex_square_root(pair):
    mean1, cov1, mean2, cov2 = pair
    root = scipy.linalg.sqrtm(cov1 @ cov2)
    expected = ((mean1 - mean2) ** 2).sum() + np.trace(cov1 + cov2) - 2 * np.trace(root).real
    assert frechet_distance(*pair).value == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(("n_real", "n_fake"), [(20, 15), (200, 15), (15, 200), (200, 300), (48, 2)])
def test_features_and_covariances_agree(rng, n_real, n_fake):
    dim = 48
    scales = np.geomspace(1, 1e-2, dim)
    real, fake = rng.standard_normal((n_real, dim)) * scales, rng.standard_normal((n_fake, dim)) * scales + 0.1
    cov1, cov2 = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    by_rows, by_covariances = distance_by_rows(real, fake), distance(real, fake)
    # rounding of a zero eigenvalue is eps * largest; its root is what the covariance path can be wrong by, per channel
    bound = 2 * dim * np.sqrt(np.finfo(float).eps * np.linalg.norm(cov1, 2) * np.linalg.norm(cov2, 2))
    assert by_rows == pytest.approx(by_covariances.value, abs=bound)
    assert by_covariances.rank == min(dim, n_real - 1, n_fake - 1)
    assert by_covariances.clamped_mass < bound


def test_rank_deficient_closed_form(rng):
    """Two images a side: both covariances have rank 1, and the trace root is |u . v|."""
    dim = 64
    real, fake = rng.standard_normal((2, dim)), rng.standard_normal((2, dim))
    u, v = (real[0] - real[1]) / np.sqrt(2), (fake[0] - fake[1]) / np.sqrt(2)
    expected = ((real.mean(0) - fake.mean(0)) ** 2).sum() + u @ u + v @ v - 2 * abs(u @ v)
    assert distance_by_rows(real, fake) == pytest.approx(expected, rel=1e-12)
    assert distance(real, fake).value == pytest.approx(expected, rel=1e-12)
    assert distance(real, fake).rank == 1


def test_same_few_images_are_at_distance_zero(rng):
    rows = rng.standard_normal((20, 100))
    assert distance(rows, rows[::-1].copy()).value == pytest.approx(0, abs=1e-11)


def test_subspaces_that_do_not_meet(rng):
    """Orthogonal supports: the trace root vanishes, and so does the rank."""
    real, fake = np.zeros((30, 40)), np.zeros((30, 40))
    real[:, :20], fake[:, 20:] = rng.standard_normal((2, 30, 20))
    result = distance(real, fake)
    expected = ((real.mean(0) - fake.mean(0)) ** 2).sum() + real.var(0, ddof=1).sum() + fake.var(0, ddof=1).sum()
    assert result.value == pytest.approx(expected, rel=1e-12)
    assert result.rank == 0


def test_an_indefinite_covariance_is_reported_not_hidden():
    zero = np.zeros(2)
    result = frechet_distance(zero, np.eye(2), zero, np.diag([4.0, -1e-6]))
    assert result.clamped_mass == pytest.approx(2e-3)
    assert result.rank == 1


def test_a_reference_is_factored_once(pair, monkeypatch):
    mean1, cov1, mean2, cov2 = pair
    calls = []
    eigh = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda a: calls.append(1) or eigh(a))
    reference = GaussianStatistics(mean1, cov1)
    values = {reference.distance(mean2, cov2).value for _ in range(3)}
    assert len(calls) == 1
    assert values == {frechet_distance(*pair).value}


def test_too_few_images_for_the_channels_are_a_caveat():
    assert caveats(64, 65, 1000) == caveats(64, None, 65) == []
    assert caveats(2048, 10_000, 100) == ["100 generated images at 2048 channels: the covariance is singular"]
    assert [c.split()[0] for c in caveats(64, 64, 3)] == ["64", "3"]


def test_a_distance_below_zero_is_no_score():
    with pytest.raises(HarnessError, match="none lies below 0"):
        GaussianStatistics(np.zeros(4), np.eye(4)).distance(np.zeros(4), -2 * np.eye(4))
