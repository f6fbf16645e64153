import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.metrics.moments import Block, Moments, blocks
from tests.paths import ROOT


def features(n: int, dim: int = 7, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, dim)) @ rng.standard_normal((dim, dim)) + 3


def assert_moments_of(moments: Moments, rows: np.ndarray, rtol: float = 1e-12) -> None:
    expected = np.cov(rows, rowvar=False, ddof=1)
    assert moments.count == len(rows)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=rtol, atol=0)
    np.testing.assert_allclose(moments.covariance, expected, rtol=0, atol=rtol * np.abs(expected).max())
    np.testing.assert_array_equal(moments.covariance, moments.covariance.T)


@pytest.mark.parametrize("sizes", [[1000], [1] * 1000, [256, 256, 256, 232], [999, 1], [0, 300, 0, 700], [257, 743]])
def test_equals_numpy_for_any_partition(sizes):
    rows = features(1000)
    moments = Moments(7)
    for part in np.split(rows, np.cumsum(sizes)[:-1]):
        moments.update(part)
    assert_moments_of(moments, rows)


def test_batch_size_does_not_change_a_bit():
    rows = features(1000).astype(np.float32)
    whole, small = Moments(7), Moments(7)
    whole.update(rows)
    for start in range(0, 1000, 37):
        small.update(rows[start : start + 37])
    np.testing.assert_array_equal(whole.covariance, small.covariance)
    np.testing.assert_array_equal(whole.mean, small.mean)


def test_threads_and_batch_do_not_change_a_bit():
    """On one kind of processor; another kind's matrix product may round otherwise."""
    code = (
        "import sys, numpy as np; from harness.metrics.moments import Moments; moments = Moments(192)\n"
        "rows = np.random.default_rng(0).standard_normal((600, 192)).astype(np.float32)\n"
        "for start in range(0, 600, int(sys.argv[1])): moments.update(rows[start : start + int(sys.argv[1])])\n"
        "print(moments.mean.tobytes().hex(), moments.covariance.tobytes().hex())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code, batch],
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
            cwd=ROOT,
            check=True,
            capture_output=True,
        ).stdout
        for threads, batch in (("1", "600"), ("2", "50"))
    ]
    assert runs[0] == runs[1]
    assert len(runs[0]) > 192 * 192 * 16


def assert_same_bits(one: Moments, other: Moments) -> None:
    assert one.count == other.count
    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(one.covariance, other.covariance)


def blocks_of_a_share(share: tuple[int, int]) -> list[Block]:
    return list(blocks(features(1000)[slice(*share)]))


def test_the_number_of_processes_does_not_change_a_bit():
    whole = Moments(7)
    whole.update(features(1000))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for shares in ([(0, 1000)], [(0, 512), (512, 1000)], [(0, 256), (256, 768), (768, 1000)]):
            joined = Moments(7)
            for part in pool.map(blocks_of_a_share, shares):
                for block in part:
                    joined.join(block)
            assert_same_bits(joined, whole)


def test_blocks_out_of_place_are_refused():
    moments = Moments(7)
    moments.update(features(100))
    with pytest.raises(AssertionError, match="100 rows of an unfinished block"):
        moments.join(next(blocks(features(256))))
    short = Moments(7)
    short.join(next(blocks(features(100))))
    with pytest.raises(AssertionError, match="a block after 100 rows"):
        short.join(next(blocks(features(256))))


@pytest.mark.parametrize("at", [2, 255, 256, 300, 512, 999])
def test_reading_in_between_equals_a_separate_pass_and_disturbs_nothing(at):
    rows = features(1000).astype(np.float32)
    moments, alone, whole = Moments(7), Moments(7), Moments(7)
    moments.update(rows[:at])
    alone.update(rows[:at])
    assert_same_bits(moments, alone)
    moments.update(rows[at:])
    whole.update(rows)
    assert_same_bits(moments, whole)
    assert_moments_of(moments, rows.astype(np.float64))


def test_a_large_offset_costs_one_rounding_of_the_mean():
    rows = features(5000) + 1e8
    moments = Moments(7)
    moments.update(rows)
    # one ulp of the offset times the spread of the data; E[x^2] - E[x]^2 would be wrong by about 1, not 1e-7
    bound = np.spacing(1e8) * np.ptp(rows)
    np.testing.assert_allclose(moments.covariance, np.cov(rows, rowvar=False), rtol=0, atol=bound)


def test_constant_features_have_no_covariance():
    moments = Moments(3)
    moments.update(np.full((1000, 3), 0.1))
    np.testing.assert_array_equal(moments.covariance, np.zeros((3, 3)))


def test_too_few_rows_and_non_finite_rows_are_refused():
    moments = Moments(2)
    with pytest.raises(HarnessError, match="at least 1"):
        _ = moments.mean
    moments.update(np.ones((1, 2)))
    with pytest.raises(HarnessError, match="at least 2"):
        _ = moments.covariance
    with pytest.raises(HarnessError, match="NaN"):
        moments.update(np.array([[1.0, np.nan]]))
    assert moments.count == 1
