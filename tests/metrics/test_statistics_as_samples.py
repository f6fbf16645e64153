"""A file of mu and sigma in place of the samples, as pytorch-fid takes it: FID alone, the rest by declaration."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.errors import HarnessError
from harness.metrics.extractors.base import Setup
from harness.records.score_record import ScoreRecord
from tests.metrics.inception.helpers import PixelExtractor

Sets = tuple[Path, Path]
DECLARED = {"n_fake": 90, "resolution": 8}


def score(samples: Path, reference: Path, **options: Any) -> ScoreRecord:
    return harness.score(samples, reference, layer=64, cache=reference.parent / "cache", **options)


@pytest.fixture
def statistics(sets: Sets, pixel_scorer: list[PixelExtractor]) -> Path:
    """Of the samples, without a word on them."""
    features = PixelExtractor(Setup())(np.load(sets[0]))[0].astype(np.float64)
    path = sets[0].with_name("theirs.npz")
    np.savez(path, mu=features.mean(axis=0), sigma=np.cov(features, rowvar=False))
    return path


def test_the_distance_is_that_of_the_images(sets: Sets, statistics: Path) -> None:
    found, of_images = score(statistics, sets[1], declared=DECLARED), score(*sets)
    assert found.values.fid == pytest.approx(of_images.values.fid, rel=1e-6)
    assert (found.values.is_mean, found.protocol.is_splits) == (None, None)
    assert (found.protocol.n_fake, found.protocol.resolution) == (90, 8)
    assert found.protocol.declared == ("n_fake", "resolution")
    assert "samples: statistics; samples_sha256 is of their file" in found.protocol.caveats


def test_both_sides_may_be_statistics(sets: Sets, statistics: Path) -> None:
    found = score(statistics, statistics, n_real=90, declared=DECLARED)
    assert found.values.fid == pytest.approx(0, abs=1e-9)
    assert found.protocol.reference == "statistics"


def test_the_harness_s_own_file_says_how_many_images_made_it(sets: Sets, pixel_scorer: list[PixelExtractor]) -> None:
    score(*sets)
    (own,) = (sets[0].parent / "cache" / "references").glob("*.npz")
    found = score(own, sets[0], declared={"resolution": 8})
    assert (found.protocol.n_fake, found.protocol.declared) == (150, ("resolution",))
    assert found.content.samples_sha256 == score(sets[1], sets[0]).content.samples_sha256
    with pytest.raises(HarnessError, match=r"n_fake=90: .* already says 150"):
        score(own, sets[0], declared=DECLARED)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "do not say `n_fake` of their samples; add --declare n_fake=N"),
        ({"declared": {"n_fake": 90}}, "do not say `resolution`"),
        ({"declared": {"n_fake": 90, "resolution": 16}}, "has 16 px and .* 8 px"),
        ({"declared": {"n_fake": 0}}, "expected a count from 1"),
        ({"declared": DECLARED, "kid": True}, "leave out --kid"),
        ({"declared": DECLARED, "n": 50}, "leave out --n"),
    ],
)
def test_what_they_do_not_say_is_asked_for(sets: Sets, statistics: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        score(statistics, sets[1], **options)
