"""Many scores from one pass: equal to those of passes of their own, and no image seen twice."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.files import sha256_pixels
from harness.metrics import request as request_module
from harness.metrics.extractors.base import Setup
from harness.metrics.request import Request
from harness.metrics.score import score, score_all
from tests.metrics.inception.helpers import PixelExtractor, noise_images

Sets = tuple[Path, Path]


@pytest.fixture(autouse=True)
def bias_at_every_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scorer without weights has logits at layer 64, where the real ones have none and the option is refused."""
    check = request_module.check_options
    monkeypatch.setattr(request_module, "check_options", lambda request: check(replace(request, is_bias=False)))


@pytest.fixture
def request_(sets: Sets, tmp_path: Path) -> Request:
    """Of all samples against all reals."""
    return Request(sets[0], str(sets[1]), setup=Setup(layer=64, batch=10, cache=tmp_path / "cache"))


def variety(request: Request, other: Path) -> list[Request]:
    """Counts, splits, bias, references, their counts, and names."""
    return [
        request,
        replace(request, n=30, protocol_name="few", protocol_version=3),
        replace(request, n=30, n_real=100, is_splits=3),
        replace(request, n=70, is_splits=7),
        replace(request, n=70, is_splits=7, is_bias=True),
        replace(request, is_splits=5),
        replace(request, n_real=100),
        replace(request, n=70, reference=str(other)),
        replace(request, reference=str(other), n_real=80),
    ]


def test_each_score_is_that_of_a_pass_of_its_own(
    request_: Request, pixel_scorer: list[PixelExtractor], tmp_path: Path
) -> None:
    np.save(tmp_path / "other.npy", noise_images(120, seed=7))
    requests = variety(request_, tmp_path / "other.npy")
    together = score_all(requests)
    assert [one.images_seen for one in pixel_scorer] == [90 + 150 + 120], "each set is read once"
    for i, (request, found) in enumerate(zip(requests, together, strict=True)):
        setup = replace(request.setup, cache=tmp_path / f"cache{i}")
        alone = score(replace(request, setup=setup))
        assert found.values == alone.values, request
        assert found.content == alone.content
        assert found.protocol == alone.protocol
        assert found.provenance["scores_of_pass"] == len(requests)
    assert len({record.values.fid for record in together}) == 7, "of the whole there are two, which differ in splits"
    assert len({record.values.is_mean for record in together}) == 7, "counts, splits and the bias"
    assert [record.protocol.version for record in together[:2]] == [1, 3]
    assert together[1].content.samples_sha256 == sha256_pixels(np.load(request_.samples)[:30])


def test_kernel_distances_of_nested_counts_share_the_features(
    request_: Request, pixel_scorer: list[PixelExtractor], tmp_path: Path
) -> None:
    requests = [replace(request_, kid=True, n=n, n_real=m) for n, m in ((None, None), (30, 100))]
    together = score_all([*requests, request_])
    assert pixel_scorer[0].images_seen == 240
    assert together[2].values.kid is None
    for i, (request, found) in enumerate(zip(requests, together, strict=False)):
        alone = score(replace(request, setup=replace(request.setup, cache=tmp_path / f"cache{i}")))
        assert found.values == alone.values


def test_kept_references_of_some_counts_spare_their_pass(request_: Request, pixel_scorer: list[PixelExtractor]) -> None:
    score(replace(request_, n_real=100))
    score_all([replace(request_, n_real=100), replace(request_, n_real=60)])
    assert [one.images_seen for one in pixel_scorer] == [190, 150], "only the first 60 are computed"
    score_all([replace(request_, n_real=n) for n in (60, 100)])
    assert pixel_scorer[2].images_seen == 90


def test_one_request_that_cannot_be_refuses_all_before_the_pass(
    request_: Request, pixel_scorer: list[PixelExtractor]
) -> None:
    with pytest.raises(HarnessError, match="holds 90 images, 91 are asked for"):
        score_all([request_, replace(request_, n=91)])
    assert pixel_scorer == []


def test_what_one_pass_cannot_serve_is_a_mistake_of_the_caller(request_: Request) -> None:
    with pytest.raises(AssertionError, match="differ in what they share"):
        score_all([request_, replace(request_, scorer="clean")])
