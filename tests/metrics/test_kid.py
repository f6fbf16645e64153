import numpy as np
import pytest

from harness.errors import HarnessError
from harness.metrics.kid import kernel_distance


@pytest.fixture
def sets():
    rng = np.random.default_rng(0)
    return rng.standard_normal((300, 16)), rng.standard_normal((250, 16)) * 1.2 + 0.2


def brute_force(real: np.ndarray, fake: np.ndarray) -> float:
    """Binkowski et al. (2018), eq. 4, term by term, on whole sets of one size m."""
    m, dim = real.shape

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / dim + 1) ** 3)

    within = sum(kernel(s[i], s[j]) for s in (real, fake) for i in range(m) for j in range(m) if i != j)
    across = sum(kernel(x, y) for x in real for y in fake)
    return within / (m * (m - 1)) - 2 * across / m**2


def test_one_whole_subset_equals_the_definition(sets):
    real, fake = sets[0][:40], sets[1][:40]
    mean, std, _ = kernel_distance(real, fake, subsets=1, subset_size=40)
    assert mean == pytest.approx(brute_force(real, fake), rel=1e-10)
    assert std == 0


def test_same_distribution_is_zero_on_average():
    rng = np.random.default_rng(3)
    means = [kernel_distance(*rng.standard_normal((2, 400, 8)), subsets=5, subset_size=200)[0] for _ in range(30)]
    error = np.std(means) / np.sqrt(len(means))
    assert abs(np.mean(means)) < 4 * error  # unbiased: the biased estimator is off by many errors here
    assert min(means) < 0 < max(means)


def test_a_shift_is_seen(sets):
    mean, std, _ = kernel_distance(*sets, subset_size=100)
    assert mean > 5 * std / np.sqrt(100)


def test_seed_decides_and_sides_are_not_mixed_up(sets):
    assert kernel_distance(*sets, subset_size=50, subsets=5, seed=1) == kernel_distance(
        *sets, subset_size=50, subsets=5, seed=1
    )
    assert kernel_distance(*sets, subset_size=50, subsets=5, seed=1) != kernel_distance(
        *sets, subset_size=50, subsets=5, seed=2
    )


def test_kernel_options_enter_the_kernel():
    """Degree 1 without a constant is the unbiased |mu1 - mu2|^2 times gamma."""
    rng = np.random.default_rng(5)
    real, fake = rng.standard_normal((50, 4)), rng.standard_normal((50, 4)) + 1
    shift = real.mean(0) - fake.mean(0)
    bias = real.var(0, ddof=1).sum() / 50 + fake.var(0, ddof=1).sum() / 50
    mean, *_ = kernel_distance(real, fake, subsets=1, subset_size=50, degree=1, gamma=2.0, coef=0.0)
    assert mean == pytest.approx(2 * (shift @ shift - bias), rel=1e-10)


def test_small_sets_shrink_the_subset_and_tiny_ones_are_refused(sets):
    real, fake = sets
    assert kernel_distance(real, fake[:40], subsets=3) == kernel_distance(real, fake[:40], subsets=3, subset_size=40)
    with pytest.raises(HarnessError, match="at least 2"):
        kernel_distance(real, fake[:1])
