"""Reference statistics: kept by content, imported on request, never used by mistake."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import harness
from harness.data.images import Images
from harness.errors import HarnessError
from harness.files import sha256_pixels
from harness.metrics import reference_statistics
from harness.metrics.extractors.base import Setup
from harness.metrics.fid import GaussianStatistics
from tests.metrics.inception.helpers import PixelExtractor, noise_images

CARD = {"name": "some-set", "split": "train", "crop": "none", "resize": "none"}


@pytest.fixture
def setup(tmp_path) -> Setup:
    return Setup("stand-in", 64, cache=tmp_path / "cache", batch=7)


def side_of(setup: Setup, images: np.ndarray, extractor: PixelExtractor, card=CARD, kid: bool = False):
    reals = Images(images, Path("reals"), card)
    key = reference_statistics.content_of(reals, extractor, setup.layer)
    found, features, device_sec = reference_statistics.of_images(
        reals, [key], extractor, setup, len(images) if kid else None
    )
    return found[len(images)], features, device_sec


def test_statistics_are_computed_once(setup):
    extractor = PixelExtractor(setup)
    images = noise_images(100, seed=1)
    first, _, _ = side_of(setup, images, extractor)
    again, _, device_sec = side_of(setup, images, extractor)
    assert (extractor.images_seen, device_sec) == (100, 0.0)
    features = extractor(images)[0].astype(np.float64)
    np.testing.assert_allclose(again.gaussian.mean, features.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(again.gaussian.covariance, np.cov(features, rowvar=False), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(again.gaussian.factor, first.gaussian.factor)
    assert again.count == 100


@pytest.mark.parametrize("changed", ["pixels", "n", "split", "resize", "crop", "weights", "layer", "scorer", "resizer"])
def test_every_part_of_the_content_is_part_of_the_key(changed):
    base = dict(pixels_sha256="p", card=CARD, n=10, extractor=PixelExtractor(Setup()), layer=64)
    other = dict(base)
    if changed in ("split", "resize", "crop"):
        other["card"] = CARD | {changed: "another"}
    elif changed in ("weights", "scorer", "resizer"):
        extractor = PixelExtractor(Setup(), weights_sha256="b" * 64 if changed == "weights" else "a" * 64)
        if changed != "weights":
            setattr(extractor, changed, "another")
        other["extractor"] = extractor
    else:
        other |= {"pixels": {"pixels_sha256": "q"}, "n": {"n": 11}, "layer": {"layer": 192}}[changed]
    assert reference_statistics.path_of(Path(), reference_statistics.content(**base)) != reference_statistics.path_of(
        Path(), reference_statistics.content(**other)
    )


def test_a_changed_pixel_is_another_reference(setup):
    extractor = PixelExtractor(setup)
    images = noise_images(20, seed=1)
    side_of(setup, images, extractor)
    images[7, 0, 0, 0] ^= 1
    side_of(setup, images, extractor)
    assert extractor.images_seen == 40


def test_a_file_with_another_content_under_the_right_name_is_not_used(setup):
    """As if the digest collided, or somebody had copied a file over it."""
    extractor = PixelExtractor(setup)
    side_of(setup, noise_images(20, seed=1), extractor)
    other = noise_images(20, seed=2)
    content = reference_statistics.content(sha256_pixels(other), CARD, 20, extractor, 64)
    (kept,) = (setup.cache / "references").glob("*.npz")
    kept.rename(reference_statistics.path_of(setup.cache, content))
    assert reference_statistics.find(setup.cache, content) is None


def test_a_damaged_file_is_made_again(setup):
    extractor = PixelExtractor(setup)
    images = noise_images(20, seed=1)
    side_of(setup, images, extractor)
    (kept,) = (setup.cache / "references").glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:500])
    found, _, _ = side_of(setup, images, extractor)
    assert (found.count, extractor.images_seen) == (20, 40)


def test_features_are_kept_when_kid_asks(setup):
    extractor = PixelExtractor(setup)
    images = noise_images(20, seed=1)
    side_of(setup, images, extractor)
    _, path, _ = side_of(setup, images, extractor, kid=True)
    assert extractor.images_seen == 40, "statistics alone do not do for KID"
    np.testing.assert_allclose(path.read(), extractor(images)[0], rtol=1e-6)


# ---------------------------------------------------------------- statistics files


def write_ttur(path: Path, dim: int = 64, **changes) -> tuple[np.ndarray, np.ndarray]:
    rows = np.random.Generator(np.random.PCG64(0)).standard_normal((200, dim))
    arrays = {"mu": rows.mean(axis=0), "sigma": np.cov(rows, rowvar=False)} | changes
    np.savez(path, **arrays)
    return arrays["mu"], arrays["sigma"]


def test_ttur_statistics_are_imported(tmp_path):
    path = tmp_path / "fid_stats_cifar10_train.npz"
    mean, covariance = write_ttur(path)
    assert reference_statistics.is_statistics(path)
    found = reference_statistics.load_statistics(path, PixelExtractor(Setup()), 64, None)
    assert found.count is None
    np.testing.assert_array_equal(found.gaussian.mean, mean)
    np.testing.assert_array_equal(found.gaussian.covariance, covariance)
    assert reference_statistics.load_statistics(path, PixelExtractor(Setup()), 64, 50_000).count == 50_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mu": np.zeros(32)}, "layer 64 needs"),
        ({"sigma": np.zeros((64, 32))}, "layer 64 needs"),
        ({"mu": np.full(64, np.nan)}, "NaN"),
        ({"sigma": np.triu(np.ones((64, 64)))}, "not symmetric"),
        ({"sigma": -np.eye(64)}, "a variance of -1, the largest is -1: no covariance"),
        ({"sigma": np.diag([1.0] * 63 + [-1e-5])}, "a variance of -1e-05"),
        ({"mu": np.zeros(64, int)}, "`mu` is int64, expected floating-point"),
        ({"sigma": np.eye(64, dtype=np.uint8)}, "`sigma` is uint8, expected floating-point"),
    ],
)
def test_unfit_statistics_are_refused(tmp_path, changes, message):
    path = tmp_path / "stats.npz"
    write_ttur(path, **changes)
    with pytest.raises(HarnessError, match=message):
        reference_statistics.load_statistics(path, PixelExtractor(Setup()), 64, None)


def test_rounding_below_zero_is_no_impossible_covariance(tmp_path):
    """Of 20 images at 64 channels, in float32: the smallest variances are 0 and come out on either side of it."""
    rows = np.random.Generator(np.random.PCG64(0)).standard_normal((20, 64))
    covariance = np.cov(rows, rowvar=False).astype(np.float32)
    assert np.linalg.eigvalsh(covariance.astype(np.float64))[0] < 0
    write_ttur(tmp_path / "stats.npz", mu=rows.mean(axis=0).astype(np.float32), sigma=covariance)
    assert reference_statistics.load_statistics(tmp_path / "stats.npz", PixelExtractor(Setup()), 64, 20).count == 20


def test_own_statistics_are_refused_under_another_protocol(tmp_path):
    extractor = PixelExtractor(Setup())
    content = reference_statistics.content("p" * 64, CARD, 200, extractor, 64)
    mean, covariance = write_ttur(tmp_path / "other.npz")
    path = tmp_path / "own.npz"
    reference_statistics.save(path, reference_statistics.Reference(GaussianStatistics(mean, covariance), 200, content))
    found = reference_statistics.load_statistics(path, extractor, 64, None)
    assert (found.count, found.content) == (200, content)
    np.testing.assert_allclose(found.gaussian.factor @ found.gaussian.factor.T, covariance, atol=1e-12)
    for other, n in ((PixelExtractor(Setup(), "b" * 64), None), (extractor, 100)):
        with pytest.raises(HarnessError, match="made with"):
            reference_statistics.load_statistics(path, other, 64, n)


def test_images_are_not_taken_for_statistics(tmp_path):
    np.savez(tmp_path / "images.npz", images=noise_images(3, seed=1))
    (tmp_path / "broken.npz").write_bytes(b"PK")
    assert not reference_statistics.is_statistics(tmp_path / "images.npz")
    assert not reference_statistics.is_statistics(tmp_path / "broken.npz")
    assert not reference_statistics.is_statistics(tmp_path)


def test_content_is_json_and_readable(tmp_path, setup):
    side_of(replace(setup, batch=50), noise_images(10, seed=1), PixelExtractor(setup))
    (kept,) = (setup.cache / "references").glob("*.npz")
    with np.load(kept) as file:
        content = json.loads(str(file["content"]))
    assert content["pixels_sha256"] == sha256_pixels(noise_images(10, seed=1))
    assert (content["n"], content["layer"], content["split"]) == (10, 64, "train")


# ---------------------------------------------------------------- what their maker used


@pytest.fixture
def foreign(sets, pixel_scorer, tmp_path) -> Path:
    """Statistics of the reference, without a word on how they were made."""
    features = PixelExtractor(Setup())(np.load(sets[1]))[0].astype(np.float64)
    np.savez(tmp_path / "theirs.npz", mu=features.mean(axis=0), sigma=np.cov(features, rowvar=False))
    return tmp_path / "theirs.npz"


def protocol_of(samples: Path, reference: Path, **declared):
    return harness.score(samples, reference, layer=64, cache=reference.parent / "cache", declared=declared).protocol


def test_resizer_and_inception_of_foreign_statistics_are_unknown(sets, foreign, monkeypatch):
    monkeypatch.setattr(PixelExtractor, "resizer", "tf1-bilinear")
    of_images = protocol_of(*sets)
    assert (of_images.resizer, of_images.inception, of_images.caveats) == ("tf1-bilinear", "stand-in", ())
    found = protocol_of(sets[0], foreign)
    assert (found.resizer, found.inception, found.declared) == ("unknown", "unknown", ())
    assert any("resizer and inception unknown" in text for text in found.caveats)
    as_samples = protocol_of(foreign, sets[0], n_fake=150, resolution=8)
    assert (as_samples.resizer, as_samples.inception) == ("unknown", "unknown")
    half = protocol_of(sets[0], foreign, inception="stand-in")
    assert (half.resizer, half.inception, half.declared) == ("unknown", "stand-in", ("inception",))
    whole = protocol_of(sets[0], foreign, inception="stand-in", resizer="tf1-bilinear")
    assert (whole.resizer, whole.inception, whole.declared) == ("tf1-bilinear", "stand-in", ("inception", "resizer"))
    assert len({one.protocol_id for one in (of_images, found, half, whole)}) == 4
    with pytest.raises(HarnessError, match=r"resizer=torch-bilinear: the score is made with tf1-bilinear.*--resizer"):
        protocol_of(sets[0], foreign, resizer="torch-bilinear")
    with pytest.raises(HarnessError, match=r"inception=official: the score is made with stand-in.*--weights official"):
        protocol_of(*sets, inception="official")
    with pytest.raises(HarnessError, match="expected one of clean-bicubic"):
        protocol_of(sets[0], foreign, resizer="bicubic")


def test_own_statistics_are_known_to_be_made_as_the_score(sets, pixel_scorer):
    protocol_of(*sets)
    (own,) = (sets[0].parent / "cache" / "references").glob("*.npz")
    found = protocol_of(sets[0], own)
    assert (found.reference, found.resizer, found.inception) == ("statistics", "none", "stand-in")
    assert found.caveats == ()
