"""Intervals of a score by leaving out blocks: the formulas, and that they say how far scores of other samples lie."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import harness
from harness.files import read_json, write_json
from harness.metrics import jackknife
from harness.metrics.fid import GaussianStatistics
from harness.metrics.inception_score import InceptionScore
from harness.metrics.kid import kernel_distance
from harness.metrics.moments import Moments
from harness.records import score_record, seal
from harness.records.score_record import ScoreRecord
from tests.metrics.features import distance, inception_score, moments
from tests.metrics.inception.helpers import PixelExtractor, noise_images

Sets = tuple[Path, Path]


def without(rows: np.ndarray, block: int) -> np.ndarray:
    start, end = jackknife.bounds(len(rows))[block : block + 2]
    return np.delete(rows, np.s_[start:end], axis=0)


def prefixes(rows: np.ndarray) -> dict[int, jackknife.Prefix]:
    seen, found = Moments(rows.shape[1]), {}
    for start, end in zip(jackknife.bounds(len(rows)), jackknife.bounds(len(rows))[1:], strict=False):
        seen.update(rows[start:end])
        found[int(end)] = jackknife.Prefix(int(end), *seen.gaussian())
    return found


def frechet_without(reference: GaussianStatistics, rows: np.ndarray) -> list[float]:
    known = prefixes(rows)
    whole = known[len(rows)]
    value = reference.distance(whole.mean, whole.covariance).value
    return jackknife.frechet_without(reference, whole, known, value)


def features(rng: np.random.Generator, n: int, dim: int = 24) -> np.ndarray:
    """Correlated, skewed, with variances over two orders of magnitude."""
    return rng.standard_normal((n, dim)) ** 2 @ np.triu(np.ones((dim, dim))) * np.geomspace(1, 0.1, dim) / dim


def test_the_interval_of_a_mean_is_students() -> None:
    """Leaving out one of ten blocks of one size: the spread of block means, nine degrees of freedom."""
    rows = np.random.default_rng(0).standard_normal(130)
    blocks = rows.reshape(10, 13).mean(axis=1)
    found = jackknife.interval(rows.mean(), [without(rows, i).mean() for i in range(10)])
    assert found == pytest.approx(stats.t.interval(0.95, 9, blocks.mean(), stats.sem(blocks)))


@pytest.mark.parametrize("n", [1000, 1009, 60, 20], ids="{} images of 24 channels".format)
def test_distances_to_first_order_have_the_spread_of_the_exact_ones(n: int) -> None:
    """In all sets together within 8 %; where images are fewer than channels, a wider interval is the honest side."""
    rng = np.random.default_rng(1)
    real = features(rng, 3000)
    reference = GaussianStatistics(*moments(real).gaussian())
    fast, exact = [], []
    for _ in range(12):
        fake = features(rng, n) * 1.1 + 0.1
        fast.append(np.std(frechet_without(reference, fake)))
        exact.append(np.std([distance(real, without(fake, i)).value for i in range(10)]))
    ratio = np.linalg.norm(fast) / np.linalg.norm(exact)
    assert 0.92 < ratio < (1.08 if n > 100 else 1.6)


def test_a_block_that_differs_moves_the_distance_as_it_should() -> None:
    """Signs and sizes, a block at a time: the exact change, to a few per cent of the largest."""
    rng = np.random.default_rng(2)
    real, fake = features(rng, 4000), features(rng, 5000) + 0.05
    fake[:500] += 0.08
    reference = GaussianStatistics(*moments(real).gaussian())
    exact = np.array([distance(real, without(fake, i)).value for i in range(10)])
    value = distance(real, fake).value
    assert exact[0] < value - 0.02 * value
    found = np.array(frechet_without(reference, fake))
    assert found - value == pytest.approx(exact - value, abs=0.15 * abs(exact - value).max())


def test_intervals_cover_the_mean_score_of_other_samples() -> None:
    """Of 200 sets. The recorded script does the same with images; a factor of 0.8 in the width fails here."""
    rng = np.random.default_rng(3)
    reference = GaussianStatistics(*moments(features(rng, 2000, 12)).gaussian())
    values, halves = [], []
    for _ in range(200):
        rows = features(rng, 400, 12) + 0.1
        values.append(reference.distance(*moments(rows).gaussian()).value)
        low, high = jackknife.interval(values[-1], frechet_without(reference, rows))
        halves.append((high - low) / 2)
    assert 0.92 <= np.mean(np.abs(np.array(values) - np.mean(values)) <= halves) <= 0.98
    assert np.mean(np.square(halves)) ** 0.5 / stats.t.ppf(0.975, 9) == pytest.approx(np.std(values), rel=0.12)


@pytest.mark.parametrize(("total", "splits"), [(200, 10), (203, 10), (100, 1), (103, 7), (60, 20)])
def test_inception_scores_without_a_block_are_those_of_what_is_left(total: int, splits: int) -> None:
    logits = np.random.default_rng(0).standard_normal((total, 20)) * 3
    score = InceptionScore(splits, total)
    for start in range(0, total, 17):
        score.update(logits[start : start + 17])
    split_of = np.searchsorted([(i + 1) * total // splits for i in range(splits)], np.arange(total), side="right")
    for block, found in enumerate(score.without()):
        kept = without(np.arange(total), block)
        parts = [logits[kept[split_of[kept] == i]] for i in range(splits)]
        expected = np.mean([inception_score(part, 1)[0] for part in parts if len(part)])
        assert found == pytest.approx(expected, rel=1e-12)


def test_kernel_distances_without_a_block_are_those_of_what_is_left() -> None:
    """Of whole sets in one subset, where the sum over pairs is written out."""
    rng = np.random.default_rng(0)
    real, fake = rng.standard_normal((40, 8)), rng.standard_normal((40, 8)) + 0.3
    blocks = np.arange(40) // 4
    found = kernel_distance(real, fake, subsets=1, blocks=blocks)
    assert found[:2] == kernel_distance(real, fake, subsets=1)[:2], "the score itself is as without blocks"

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / 8 + 1) ** 3

    for block, value in enumerate(found.without):
        left = without(fake, block)
        pairs = [kernel(rows, rows).sum() - np.trace(kernel(rows, rows)) for rows in (left, real)]
        expected = pairs[0] / (36 * 35) + pairs[1] / (40 * 39) - 2 * kernel(left, real).mean()
        assert value == pytest.approx(expected, rel=1e-10)


# ---------------------------------------------------------------- in a record


def scored(sets: Sets, **options: Any) -> ScoreRecord:
    return harness.score(*sets, **{"layer": 64, "cache": sets[0].parent / "cache"} | options)


def test_a_record_has_the_intervals_of_its_own_images(sets: Sets, pixel_scorer: list[PixelExtractor]) -> None:
    found = scored(sets, kid=True).values
    real, fake = (PixelExtractor(pixel_scorer[0].setup)(np.load(path))[0].astype(np.float64) for path in sets[::-1])
    reference = GaussianStatistics(*moments(real).gaussian())
    assert found.fid_interval == pytest.approx(jackknife.interval(found.fid, frechet_without(reference, fake)))
    for value, interval in ((found.is_mean, found.is_interval), (found.kid, found.kid_interval)):
        assert interval[0] < value < interval[1]
        assert sum(interval) / 2 == pytest.approx(value)
    assert "jackknife over 10 blocks of images" in found.interval_by
    assert "reals held fixed" in found.interval_by


def test_too_few_images_and_files_of_statistics_have_none(sets: Sets, pixel_scorer: list[PixelExtractor]) -> None:
    np.save(sets[0], noise_images(19, seed=1))
    few = scored(sets, splits=1, kid=True)
    assert few.values.fid is not None
    own = next((sets[0].parent / "cache" / "references").glob("*.npz"))
    of_statistics = scored((own, sets[0]), declared={"resolution": 8})
    for record in (few, of_statistics):
        assert record.values.intervals() == {}
        assert record.values.interval_by is None


def test_intervals_are_no_part_of_the_protocol_and_older_records_lack_them(sets: Sets, pixel_scorer: Any) -> None:
    record, path = scored(sets), sets[0].with_name("record.json")
    score_record.write(path, record)
    value = read_json(path)
    for name in ("fid_interval", "is_interval", "kid_interval", "interval_by"):
        del value["values"][name]
    write_json(path, seal.sealed(value))
    older = score_record.read(path)
    assert older.values.intervals() == {}
    assert older.protocol.protocol_id == record.protocol.protocol_id
