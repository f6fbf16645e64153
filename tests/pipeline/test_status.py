"""How far a scale is, at every stage that its files can show."""

import json
from pathlib import Path

import pytest

from harness import cli
from harness.config.experiments import find_scale
from harness.errors import HarnessError
from harness.files import locked
from harness.pipeline import status
from harness.training import loop
from harness.training.experiment import train
from tests.pipeline.test_tiny import run


@pytest.fixture
def folder(tiny_scale: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tiny_scale)
    return tiny_scale


def rows() -> dict[str, status.Status]:
    return {row.run: row for row in status.status(find_scale())}


def test_a_training_that_waits_and_one_that_was_stopped(folder: Path) -> None:
    assert (rows()["e-seed0"].stage, rows()["e-seed0"].nimg, rows()["e-seed0"].length_nimg) == ("waits", 0, 16)
    with pytest.raises(loop.TrainingStopped):
        train("e", scale=find_scale(), stop_nimg=8)
    row = rows()["e-seed0"]
    assert (row.stage, row.nimg, row.left_sec) == ("stopped", 8, None)
    assert row.images_per_sec is not None
    (folder / "out/records/e/seed0/train/stopped.json").unlink()  # as kill -9 leaves it
    assert rows()["e-seed0"].stage == "interrupted"


def test_a_training_at_work_says_what_is_left(folder: Path) -> None:
    with pytest.raises(loop.TrainingStopped):
        train("e", scale=find_scale(), stop_nimg=8)
    scale = find_scale()
    place = status.run_folder(scale.checkout.checkpoints, scale.run("e", 0))
    assert place is not None
    with locked(place / "lock"):
        row = rows()["e-seed0"]
        assert row.stage == "training"
        assert row.left_sec == pytest.approx(8 / row.images_per_sec)
        with pytest.raises(HarnessError, match="is working here"):
            train("e", scale=find_scale())
    assert rows()["e-seed0"].stage == "stopped"


def test_a_training_planned_otherwise_is_not_taken_for_this_one(folder: Path) -> None:
    with pytest.raises(loop.TrainingStopped):
        train("e", scale=find_scale(), stop_nimg=8)
    path = folder / "experiments/recipes/tiny.yaml"
    path.write_text(path.read_text().replace("length_nimg: 16", "length_nimg: 24"))
    assert (rows()["e-seed0"].stage, rows()["e-seed0"].nimg) == ("waits", 0)


def test_what_comes_after_training(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("train", "e")
    assert rows()["e-seed0"].stage == "trained"
    run("sample", "e")
    assert rows()["e-seed0"].stage == "sampled"
    run("references", "tiny")
    run("score-dump", "e", "--scorer", "torch")
    row = rows()["e-seed0"]
    assert (row.stage, row.nimg) == ("scored", 16)
    assert row.score.startswith("FID ")
    assert row.score.endswith("(torch, last, tiny)")
    path = folder / "experiments/recipes/tiny.yaml"
    path.write_text(path.read_text().replace("length_nimg: 16", "length_nimg: 24"))
    assert rows()["e-seed0"].stage == "scored, planned otherwise since then"
    capsys.readouterr()
    assert cli.run(["status", "--json"]) == 0
    assert [one["run"] for one in json.loads(capsys.readouterr().out)] == ["e-seed0", "f-seed0"]
    assert cli.run(["status"]) == 0
    assert "scored, planned otherwise since then" in capsys.readouterr().out


def test_missing_data_are_named(folder: Path) -> None:
    (folder / "data/tiny/card.json").unlink()
    assert rows()["f-seed0"].stage == "waits for data (tiny)"
