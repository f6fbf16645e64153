"""What DVC's own commands show: few columns, a row a dump, and folders that are never missing."""

import json
from pathlib import Path

import pytest

from harness.comparison import dvc_views
from harness.paths import ScaleFolder
from harness.records import results
from tests.records import score_trees


def test_a_dump_is_a_row_and_a_metric_a_column(tmp_path: Path) -> None:
    score_trees.add(tmp_path, experiment="t4-transgan-s", fid=19.1, is_mean=8.2)
    score_trees.add(tmp_path, "clean", experiment="t4-transgan-s", fid=21.1, kid=0.0123)
    score_trees.add(tmp_path, experiment="sngan-cifar10", fid=14.5, is_mean=None)
    assert dvc_views.metrics(results.load(tmp_path).scores) == {
        "t4-transgan-s-seed0-last": {"fid_tf": 19.1, "is_tf": 8.2, "fid_clean": 21.1, "kid_clean": 0.0123},
        "sngan-cifar10-seed0-last": {"fid_tf": 14.5},
    }


def test_another_protocol_is_another_column(tmp_path: Path) -> None:
    score_trees.add(tmp_path, name="test", fid=1.0, is_mean=None)
    score_trees.add(tmp_path, name="other", fid=2.0, is_mean=None, kid=0.1, kid_std=0.1)
    found = dvc_views.metrics(results.load(tmp_path).scores)
    assert found == {"sngan-cifar10-seed0-last": {"fid_tf": 1.0, "fid_tf_other": 2.0, "kid_tf_other": 0.1}}


def test_both_uncertainties_stand_beside_a_score_where_they_are_known(tmp_path: Path) -> None:
    for seed, fid in enumerate((10.0, 11.0, 13.0)):
        score_trees.add(
            tmp_path, seed=seed, fid=fid, is_mean=None, fid_interval=(fid - 0.2, fid + 0.2) if seed else None
        )
    found = dvc_views.metrics(results.load(tmp_path).scores)
    assert found["sngan-cifar10-seed0-last"] == {"fid_tf": 10.0, "fid_tf_training": pytest.approx(3.794583)}
    assert found["sngan-cifar10-seed2-last"]["fid_tf_evaluation"] == pytest.approx(0.2)


def test_curves_are_one_file_a_quantity(tmp_path: Path) -> None:
    for snapshot, nimg, fid in (("1000", 1000, 30.0), ("2000", 2000, 20.0)):
        score_trees.add(tmp_path, experiment="sngan-cifar10", snapshot=snapshot, nimg=nimg, fid=fid)
    score_trees.add(tmp_path, experiment="t4-transgan-s", fid=19.0)
    curve = dvc_views.plots(results.load(tmp_path))["fid_tf"]
    assert curve.to_dict("list") == {"run": ["sngan-cifar10-seed0"] * 2, "nimg": [1000, 2000], "value": [30.0, 20.0]}


def test_what_is_no_longer_planned_is_removed(tmp_path: Path) -> None:
    folder = ScaleFolder(tmp_path)
    folder.metrics.mkdir()
    (folder.metrics / "gone-seed0-last.json").write_text("{}")
    score_trees.add(tmp_path, experiment="t4-transgan-s", fid=19.1)
    dvc_views.write(folder, results.load(tmp_path))
    assert {p.name for p in folder.metrics.iterdir()} == {".gitkeep", "t4-transgan-s-seed0-last.json"}
    assert json.loads((folder.metrics / "t4-transgan-s-seed0-last.json").read_text())["fid_tf"] == 19.1
    assert (folder.plots / "none.csv").read_text() == "run,nimg,value\n"
