"""What a scale plans is kept; what is left out or missing is named."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from harness.comparison import check
from harness.config import experiments
from harness.files import read_json
from harness.records import planned, results, train_record
from harness.records.train_record import StoppedRecord
from tests.records import score_trees


@pytest.fixture
def planned_scale(tiny_scale: Path) -> experiments.Scale:
    for experiment in "ef":
        score_trees.add(tiny_scale / "out", **common(experiment))
    scale = experiments.open_scale(tiny_scale / "params.yaml")
    score_trees.as_planned(scale)
    return scale


def common(experiment: str) -> dict[str, object]:
    return {"experiment": experiment, "scale": "tiny", "name": "tiny", "nimg": 16, "planned_nimg": 16}


def test_all_that_is_planned_is_kept(planned_scale: experiments.Scale) -> None:
    kept, remarks = planned.split(results.load(planned_scale.out), planned_scale)
    assert remarks == []
    assert (len(kept.scores), len(kept.training), len(kept.curves)) == (2, 2, 16)


def test_what_nobody_planned_is_named_and_left_out(planned_scale: experiments.Scale) -> None:
    out = planned_scale.out
    named = [
        score_trees.add(out, **common("e") | {"seed": 7}),
        score_trees.add(out, **common("e") | {"snapshot": "8", "nimg": 8}),
        score_trees.add(out, **common("e") | {"name": "other"}),
        score_trees.add(out, **common("f") | {"nimg": 12}),
    ]
    score_trees.as_planned(planned_scale)
    kept, remarks = planned.split(results.load(out), planned_scale)
    assert list(kept.scores["experiment"]) == ["e"]
    assert (set(kept.training["seed"]), set(kept.curves["seed"])) == ({0}, {0})
    for path in (*named, out / "records/e/seed7/train/train.json"):
        assert any(text.startswith(f"left out: {path}: ") for text in remarks), path
    assert len(remarks) == 5


def test_a_dump_taken_out_of_params_leaves_its_scores_out(planned_scale: experiments.Scale) -> None:
    path = planned_scale.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    del params["dumps"]["f-seed0-last"]
    path.write_text(yaml.safe_dump(params))
    kept, remarks = planned.split(results.load(planned_scale.out), experiments.open_scale(path))
    assert list(kept.scores["experiment"]) == ["e"]
    assert len(remarks) == 1


def test_scores_of_a_training_by_another_recipe_are_left_out(planned_scale: experiments.Scale) -> None:
    """Their mean with others would be of two kinds of model."""
    place = planned_scale.folder.train_record("e", 0)
    recipe = read_json(place)["recipe"]
    score_trees.edit(place, recipe=recipe | {"source": "another page"})
    assert planned.split(results.load(planned_scale.out), planned_scale)[1] == [], "that changes nothing"
    score_trees.edit(place, recipe=recipe | {"n_critic": 77})
    kept, remarks = planned.split(results.load(planned_scale.out), planned_scale)
    for frame in (kept.scores, kept.training, kept.curves):
        assert set(frame["experiment"]) == {"f"}
    assert len(remarks) == 2
    assert all("planned otherwise since then (recipe.n_critic: 77 -> " in text for text in remarks)


def test_scores_without_the_record_of_their_training_are_left_out(planned_scale: experiments.Scale) -> None:
    planned_scale.folder.train_record("e", 0).unlink()
    kept, (remark,) = planned.split(results.load(planned_scale.out), planned_scale)
    assert list(kept.scores["experiment"]) == ["f"]
    assert "no record of its training" in remark


@pytest.fixture
def five(tmp_path: Path) -> experiments.Scale:
    """Five seeds of one experiment, of which three are as good as reported."""
    out = tmp_path / "results" / "test"
    for seed, fid in enumerate((12.4, 12.5, 12.6, 63.0, 64.0)):
        score_trees.add(out, experiment="t1-autogan-autogan", seed=seed, fid=fid, is_mean=8.55 + seed / 100)
    return score_trees.scale_of(out)


def test_seeds_that_diverged_or_are_not_there_leave_no_mean_of_the_others(five: experiments.Scale) -> None:
    for seed in (3, 4):
        shutil.rmtree(five.folder.records("t1-autogan-autogan", seed))
    stopped = StoppedRecord("t1-autogan-autogan", 3, "0" * 16, "diverged", "NaN", 12_000, 16_000, "folder", {})
    train_record.write(five.folder.training("t1-autogan-autogan", 3).stopped, stopped)
    kept, (remark,) = planned.split(results.load(five.out), five)
    said = "2 of 5 planned seeds are not there: 3 (diverged after 12,000 images), 4 (not trained)"
    assert remark == f"missing: t1-autogan-autogan/last/tf/test: {said}"
    assert set(kept.scores["absent_seeds"]) == {said}
    found = check.check(five).verdicts
    mine = found[found["reported"].notna()]
    assert len(mine)
    assert set(mine["verdict"]) == {"not-comparable"}
    assert all("seeds" in fields for fields in mine["blocking_fields"])
    assert all(said in reason for reason in mine["reason"])


def test_a_seed_under_one_protocol_less_is_absent_there_alone(five: experiments.Scale) -> None:
    score_trees.add(five.out, "clean", experiment="t1-autogan-autogan", seed=0)
    whole = score_trees.scale_of(five.out)
    assert planned.split(results.load(five.out), whole)[1] == []
    five.folder.score("t1-autogan-autogan", 4, "last", "tf", "test").unlink()
    kept, remarks = planned.split(results.load(five.out), whole)
    assert remarks == ["missing: t1-autogan-autogan/last/tf/test: 1 of 5 planned seeds are not there: 4 (not scored)"]
    assert pd.isna(kept.scores.set_index("scorer").loc["clean", "absent_seeds"])
