"""The bench of effects: each way differs in one field, and differences of the same images have intervals."""

from pathlib import Path

import numpy as np
import pytest

from harness.bench import effects
from harness.bench.effects import Way
from harness.errors import HarnessError
from harness.files import read_json
from harness.metrics.extractors.base import Setup
from tests.metrics.inception.helpers import PixelExtractor, shape_images


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Way:
    """A dump in two quantisations and its reference; the resizer is read off the features by a factor."""

    class Resized(PixelExtractor):
        def __init__(self, setup: Setup, resizer: str):
            super().__init__(setup)
            self.factor = 1.01 if resizer == "pil-bicubic" else 1.0

        def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
            rows, logits = super().__call__(images)
            return (rows * self.factor).astype(np.float32), logits

    monkeypatch.setattr(effects, "open_extractor", lambda scorer, setup, resizer: Resized(setup, resizer))
    dump = tmp_path / "samples"
    dump.mkdir()
    images = shape_images(400, seed=1, side=8)
    np.save(dump / "rounded.npy", images)
    np.save(dump / "truncated.npy", images - (images > 0))
    np.save(tmp_path / "reals.npy", shape_images(500, seed=2, side=8))
    np.save(tmp_path / "test.npy", shape_images(500, seed=3, side=8))
    return Way(dump, str(tmp_path / "reals.npy"), 400, 500)


def test_every_way_differs_from_the_base_in_its_field(base: Way, tmp_path: Path) -> None:
    found = effects.ways(base, "test.npy", tmp_path)
    names = {"split": "reference", "snapshot": "dump", "quantisation": "variant"}
    for field, others in found.items():
        for _, way in others:
            differing = [name for name in vars(base) if getattr(way, name) != getattr(base, name)]
            assert differing == [names.get(field, field)]
    assert [said for said, _ in found["quantisation"]] == ["uint8, truncated"], "the files that are there"


def test_changes_are_those_of_the_scores_and_sure_where_images_are_the_same(base: Way, tmp_path: Path) -> None:
    record = effects.run(tmp_path, base, Setup(layer=64, batch=50), test=str(tmp_path / "test.npy"))
    assert read_json(tmp_path / "effects-64.json") == record
    rows = {(row["field"], row["says"], row["metric"]): row for row in record["rows"]}
    for row in rows.values():
        before = record["fid" if row["metric"] == "fid" else "is"]
        assert row["score"] - before == pytest.approx(row["change"])
    resizer = rows["resizer", "torch-bilinear", "fid"]
    assert (resizer["change"], resizer["low"], resizer["high"]) == (0, 0, 0), "features do not differ"
    moved = rows["resizer", "pil-bicubic", "fid"]
    assert moved["low"] < moved["change"] < moved["high"]
    assert rows["n_fake", "80", "fid"]["change"] > rows["n_fake", "200", "fid"]["change"] > 0, "the bias of few images"
    assert rows["n_fake", "80", "fid"]["low"] is None
    assert ("is_bias", "with softmax/biases", "is") in rows
    assert ("is_bias", "with softmax/biases", "fid") not in rows
    assert "| quantisation | uint8, truncated | FID" in (tmp_path / "effects-64.md").read_text()


def test_too_few_samples_are_refused(base: Way, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"50 samples: .*; give at least 100"):
        effects.run(tmp_path, Way(base.dump, base.reference, 50, 500), Setup(layer=64))
