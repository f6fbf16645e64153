"""The bench of effects: each way differs in one field, and differences of the same latents have intervals."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from harness.bench import effects
from harness.bench.effects import Way
from harness.commands.bench import effects as command
from harness.config.experiments import Scale, find_scale
from harness.errors import HarnessError
from harness.files import read_json, sha256_file
from harness.metrics.extractors.base import Setup
from harness.pipeline.sample import sample
from harness.records.sample_record import VARIANTS
from harness.training.experiment import train
from tests.metrics.inception.helpers import PixelExtractor, shape_images

SETUP = Setup(layer=64, batch=50, threads=1)


@pytest.fixture
def scale(tiny_scale: Path, monkeypatch: pytest.MonkeyPatch) -> Scale:
    """A scale with a trained row and other images; the resizer is read off the features by a factor."""

    class Resized(PixelExtractor):
        def __init__(self, setup: Setup, resizer: str):
            super().__init__(setup)
            self.factor = 1.01 if resizer == "pil-bicubic" else 1.0

        def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
            rows, logits = super().__call__(images)
            return (rows * self.factor).astype(np.float32), logits

    monkeypatch.setattr(effects, "open_extractor", lambda scorer, setup, resizer: Resized(setup, resizer))
    np.save(tiny_scale / "test.npy", shape_images(40, seed=3))
    found = find_scale(tiny_scale)
    train("f", scale=found)
    return found


def run(scale: Scale, **changes: Any) -> dict[str, Any]:
    return effects.run(scale.root / "bench", scale, scale.run("f", 0), SETUP, **{"n_fake": 200, "n_real": 40} | changes)


def test_every_way_differs_from_the_base_in_its_field() -> None:
    base = Way(Path("last"), Path("reals"), 400, 500)
    found = effects.ways(base, [Path("test.npy")], base.n_real, Path("8"))
    names = {"split": "reference", "snapshot": "dump", "quantisation": "variant"}
    for field, others in found.items():
        for way in others:
            differing = [name for name in vars(base) if getattr(way, name) != getattr(base, name)]
            assert differing == [names.get(field, field)]
            assert [key for key, said in effects.says(way).items() if said != effects.says(base)[key]] == [field]
    assert {way.variant for way in found["quantisation"]} == {*VARIANTS} - {"rounded"}


def test_changes_are_those_of_the_scores_and_sure_where_latents_are_the_same(scale: Scale) -> None:
    record = run(scale, other="8", tests=[str(scale.root / "test.npy")])
    assert read_json(scale.root / "bench/effects-64.json") == record
    rows = {(row["field"], row["says"], row["metric"]): row for row in record["rows"]}
    for row in rows.values():
        if row["field"] == "split":
            continue
        before = record["fid" if row["metric"] == "fid" else "is"]
        assert row["score"] - before == pytest.approx(row["change"])
    resizer = rows["resizer", "torch-bilinear", "fid"]
    assert (resizer["change"], resizer["low"], resizer["high"]) == (0, 0, 0), "features do not differ"
    for moved in (
        ("resizer", "pil-bicubic"),
        ("quantisation", "float"),
        ("split", "test.npy, first 40"),
        ("snapshot", "8"),
    ):
        row = rows[(*moved, "fid")]
        assert row["low"] < row["change"] < row["high"]
    assert rows["n_fake", "40", "fid"]["change"] > rows["n_fake", "100", "fid"]["change"] > 0, "the bias of few images"
    assert rows["n_fake", "40", "fid"]["low"] is None
    assert ("is_bias", "with softmax/biases", "is") in rows
    assert ("is_bias", "with softmax/biases", "fid") not in rows


def test_the_record_names_what_was_scored_and_the_samples_are_those_of_harness_sample(scale: Scale) -> None:
    record = run(scale, other="8")
    drawn = sample(scale, scale.run("f", 0), n=200)
    assert {key: record[key] for key in ("experiment", "seed", "snapshot", "nimg", "dataset", "resolution")} == {
        "experiment": "f",
        "seed": 0,
        "snapshot": "last",
        "nimg": 16,
        "dataset": "tiny",
        "resolution": 32,
    }
    assert (record["samples_sha256"], record["weights_sha256"]) == (drawn.samples_sha256, drawn.weights_sha256)
    assert (record["other"]["snapshot"], record["other"]["nimg"]) == ("8", 8)
    assert record["other"]["weights_sha256"] == sha256_file(scale.folder.weights("f", 0, "8"))
    assert (record["reference"], record["tests"]) == ("tiny", [])
    said = (scale.root / "bench/effects-64.md").read_text()
    assert "samples of f, seed 0, snapshot last (16 images of tiny seen), 32 px, against the first 40" in said
    assert re.search(r"\| quantisation +\| uint8, truncated +\| uint8, rounded ", said)


def test_the_command_scores_a_row_of_the_scale(scale: Scale) -> None:
    np.save(scale.root / "reals.npy", shape_images(100, seed=2))
    line = ["f", "--params", str(scale.path), "--n", "100", "--n-real", "100", "--weights", "stand-in", "--layer", "64"]
    line += ["--reference", str(scale.root / "reals.npy"), "--out", str(scale.root / "there")]
    CliRunner().invoke(command, line, catch_exceptions=False)
    assert read_json(scale.root / "there/effects-64.json")["reference"] == "reals.npy"


def test_what_cannot_be_scored_is_refused_before_the_hours(scale: Scale) -> None:
    with pytest.raises(HarnessError, match=r"50 samples: .*; give at least 100"):
        run(scale, n_fake=50)
    np.save(scale.root / "small.npy", shape_images(40, seed=3, side=8))
    with pytest.raises(HarnessError, match=r"small\.npy: images of 8 px; f makes those of 32"):
        run(scale, tests=[str(scale.root / "small.npy")])
    with pytest.raises(HarnessError, match="no snapshot '9'; the recipe keeps last, best, 8"):
        run(scale, other="9")
    scale.folder.weights("f", 0, "last").unlink()
    with pytest.raises(HarnessError, match=r"last\.safetensors: no such weights; `dvc repro train@f-seed0` in"):
        run(scale)


def test_another_split_is_held_against_as_many_images(scale: Scale) -> None:
    """The first thirty of the data set itself are no other split."""
    first = np.load(scale.checkout.data("tiny") / "train.npy")[:30]
    np.save(scale.root / "same.npy", first)
    (row,) = (row for row in run(scale, tests=[str(scale.root / "same.npy")])["rows"] if row["field"] == "split")
    assert (row["says"], row["instead_of"]) == ("same.npy, first 30", "tiny, first 30")
    assert row["change"] == pytest.approx(0, abs=1e-9)
