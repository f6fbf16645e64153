"""The bench of intervals: its dumps differ, and its figures are those of the scores."""

from pathlib import Path

import numpy as np
import pytest

from harness.bench import intervals
from harness.errors import HarnessError
from harness.metrics import jackknife
from tests.metrics.inception.helpers import shape_images


def features(images: np.ndarray) -> np.ndarray:
    """Eight random projections of the pixels."""
    rows = images.reshape(len(images), -1).astype(np.float64)
    random = np.random.Generator(np.random.PCG64(rows.shape[1]))
    return (rows @ random.standard_normal((rows.shape[1], 8)) / 255).astype(np.float32)


def test_dumps_are_blurred_draws_that_do_not_repeat() -> None:
    pixels = shape_images(50, seed=1, side=8)
    one, other = (intervals.drawn(pixels, 40, seed) for seed in (0, 1))
    assert one.shape == (40, 8, 8, 3)
    assert one.dtype == np.uint8
    assert (one == intervals.drawn(pixels, 40, 0)).all()
    assert len(np.unique(np.concatenate([one, other]).reshape(80, -1), axis=0)) > 70
    steps = np.abs(np.diff(one.astype(int), axis=2)).mean() / np.abs(np.diff(pixels.astype(int), axis=2)).mean()
    assert steps < 0.9


def test_coverage_is_counted_and_an_interval_half_as_wide_covers_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "KID_SUBSETS", 1)
    pixels = shape_images(400, seed=1, side=8)
    rows = intervals.coverage(pixels, features, 40, (100,), 300)
    assert [row["metric"] for row in rows] == ["fid", "is", "kid"]
    for row in rows:
        assert row["covered"] >= 0.85
        assert row["claimed_sd"] == pytest.approx(row["sd"], rel=0.4)
    whole = jackknife.interval
    monkeypatch.setattr(jackknife, "interval", lambda value, left: tuple((value + x) / 2 for x in whole(value, left)))
    narrow = intervals.coverage(pixels, features, 40, (100,), 300)
    assert max(row["covered"] for row in narrow) < 0.9
    assert not any(row["as_named"] for row in narrow)


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", shape_images(20, seed=0, side=8))
    with pytest.raises(HarnessError, match=r"20 images; give at least 10,000"):
        intervals.run(tmp_path, tmp_path / "few.npy", "trunk", tmp_path)
