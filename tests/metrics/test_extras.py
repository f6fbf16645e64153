"""FID at infinity, precision and recall, and the bootstrap, against other implementations on the same features."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import harness
from harness.errors import HarnessError
from harness.metrics import bootstrap, extras, jackknife
from harness.metrics.fid import GaussianStatistics
from tests.metrics.features import distance, moments
from tests.metrics.inception.helpers import PixelExtractor
from tests.metrics.test_jackknife import features, frechet_without, prefixes

Sets = tuple[Path, Path]


def test_precision_and_recall_are_torch_fidelitys() -> None:
    peer = pytest.importorskip("torch_fidelity.metric_prc")
    rng = np.random.default_rng(0)
    real, fake = (rng.standard_normal((n, 6)).astype(np.float32) * s for n, s in ((700, 1.0), (620, 0.7)))
    given = {"prc_neighborhood": extras.NEIGHBOURS, "prc_batch_size": 10_000, "save_cpu_ram": False, "verbose": False}
    expected = peer.prc_features_to_metric(*(torch.from_numpy(s.astype(np.float64)) for s in (fake, real)), **given)
    found = extras.precision_and_recall(real, fake)
    assert found == pytest.approx((expected["precision"], expected["recall"]), rel=1e-7)  # whose means are float32
    assert 0.5 < found[1] < found[0] < 1, "narrower than the reals: precise, and less of them is reached"
    assert extras.precision_and_recall(fake, real) == found[::-1]


def test_fid_at_infinity_is_the_intercept_through_torch_fidelitys_distances() -> None:
    peer = pytest.importorskip("torch_fidelity.metric_fid")
    rng = np.random.default_rng(1)
    real, fake = features(rng, 1500), features(rng, 800) + 0.05
    reference = GaussianStatistics(*moments(real).gaussian())
    of_real = {"mu": real.mean(axis=0), "sigma": np.cov(real, rowvar=False)}
    counts = [400, 480, 560, 640, 720, 800]
    values = []
    for count in counts:
        rows = fake[:count]
        of_fake = {"mu": rows.mean(axis=0), "sigma": np.cov(rows, rowvar=False)}
        values.append(peer.fid_statistics_to_metric(of_fake, of_real, False)["frechet_inception_distance"])
    expected = stats.linregress(1 / np.array(counts), values).intercept
    assert extras.fid_at_infinity(reference, prefixes(fake), 800) == pytest.approx(expected, rel=1e-6)


def test_fid_at_infinity_loses_the_bias_of_few_images() -> None:
    """Sets of the reference's own distribution: their FID is bias alone."""
    rng = np.random.default_rng(2)
    real = features(rng, 40_000, 12)
    reference = GaussianStatistics(*moments(real).gaussian())
    usual, at_infinity = [], []
    for _ in range(30):
        fake = features(rng, 400, 12)
        usual.append(distance(real, fake).value)
        at_infinity.append(extras.fid_at_infinity(reference, prefixes(fake), 400))
    assert abs(np.mean(at_infinity)) < 0.25 * np.mean(usual)


def test_of_few_images_for_the_channels_there_is_no_line() -> None:
    fake = features(np.random.default_rng(3), 48)
    reference = GaussianStatistics(*moments(fake).gaussian())
    assert extras.fid_at_infinity(reference, prefixes(fake), 48) is None


def test_the_bootstrap_is_of_repeated_images_and_as_wide_as_the_jackknife() -> None:
    rng = np.random.default_rng(4)
    reference = GaussianStatistics(*moments(features(rng, 3000, 8)).gaussian())
    ratios = []
    for seed in range(6):
        fake = features(rng, 500, 8) + 0.1
        value = reference.distance(*moments(fake).gaussian()).value
        low, high = bootstrap.frechet_interval(reference, fake, value, 60, seed)
        assert (low + high) / 2 == pytest.approx(value)
        left, right = jackknife.interval(value, frechet_without(reference, fake))
        ratios.append((high - low) / bootstrap.NORMAL / ((right - left) / jackknife.WIDTH))
    assert np.exp(np.mean(np.log(ratios))) == pytest.approx(1, abs=0.25)
    drawn = np.random.Generator(np.random.PCG64(0))
    by_hand = []
    for _ in range(3):
        rows = np.repeat(fake, drawn.multinomial(500, np.full(500, 1 / 500)), axis=0)
        by_hand.append(reference.distance(*moments(rows).gaussian()).value)
    low, high = bootstrap.frechet_interval(reference, fake, 0.0, 3)
    assert (high - low) / 2 == pytest.approx(bootstrap.NORMAL * np.std(by_hand, ddof=1), rel=1e-9)


# ---------------------------------------------------------------- in a record


def scored(sets: Sets, **options: Any) -> Any:
    return harness.score(*sets, **{"layer": 64, "cache": sets[0].parent / "cache"} | options)


def test_extras_are_in_the_record_and_named_after_their_features(
    sets: Sets, pixel_scorer: list[PixelExtractor]
) -> None:
    plain = scored(sets)
    found = scored(sets, extras=True)
    real, fake = (PixelExtractor(pixel_scorer[0].setup)(np.load(path))[0] for path in sets[::-1])
    expected = extras.precision_and_recall(real, fake)
    assert (found.values.inception_precision, found.values.inception_recall) == pytest.approx(expected)
    assert found.values.fid_infinity is None, "45 images are fewer than 64 channels"
    assert found.protocol.protocol_id == plain.protocol.protocol_id
    assert (found.values.fid, found.values.fid_interval) == (plain.values.fid, plain.values.fid_interval)


def test_the_bootstraps_interval_is_of_fid_and_says_so(sets: Sets, pixel_scorer: list[PixelExtractor]) -> None:
    plain, found = scored(sets).values, scored(sets, bootstrap=20).values
    assert found.fid_interval != plain.fid_interval
    assert found.is_interval == plain.is_interval
    assert found.interval_by.startswith("bootstrap over images (20 draws), reals held fixed; IS and KID: jackknife")


@pytest.mark.parametrize(
    ("options", "said"),
    [({"extras": True}, "precision and recall need"), ({"bootstrap": 19}, "at least 20 draws")],
    ids=["a reference without features", "too few draws"],
)
def test_what_cannot_be_is_refused(sets: Sets, pixel_scorer: Any, options: dict[str, Any], said: str) -> None:
    scored(sets)
    own = next((sets[0].parent / "cache" / "references").glob("*.npz"))
    with pytest.raises(HarnessError, match=said):
        scored((sets[0], own), **options)
    for option in ("extras", "bootstrap"):
        with pytest.raises(HarnessError, match=f"leave out --{option}"):
            scored((own, sets[0]), declared={"resolution": 8}, **{option: 30 if option == "bootstrap" else True})


def test_three_images_have_no_third_neighbour(sets: Sets, pixel_scorer: Any) -> None:
    np.save(sets[0], np.load(sets[0])[:3])
    with pytest.raises(HarnessError, match="more than 3 images a side, 3 and 150"):
        scored(sets, extras=True, splits=1)
