"""The tables of scores: the norm, the order, what is apart; and what a scale cost."""

from pathlib import Path
from typing import Any

import pytest

from harness.records import results
from harness.report import scores
from tests.comparison.test_check import autogan
from tests.records import score_trees
from tests.report.test_finding import curve, train_on


def table(out: Path) -> dict[str, Any]:
    return scores.score_table(results.load(out))


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["experiment"] for row in rows]


def test_scorers_that_differ_alike_share_a_flag(tmp_path: Path) -> None:
    for scorer in ("tf", "clean"):
        score_trees.add(tmp_path, scorer, experiment="mini-conv")
        score_trees.add(tmp_path, scorer, experiment="mini-transgan")
        score_trees.add(tmp_path, scorer, experiment="mini-transgan", seed=1, n_fake=1000)
    rows = table(tmp_path)["rows"]
    assert [row["flags"] for row in rows] == [[], ["clean, tf: 1k vs 50k cifar10 train"]]


def test_a_mean_over_seeds_has_sd_and_interval(tmp_path: Path) -> None:
    (row,) = table(autogan(tmp_path, 12.4))["rows"]
    assert row["cells"]["FID, TF"][0] == "12.50 ± 0.10"
    assert row["cells"]["95 % over seeds"][0] == "12.25 to 12.75"  # 12.5 ± 4.303 * 0.1 / sqrt(3)
    assert row["cells"]["seeds"][0] == "3"


def test_an_interval_that_reaches_below_0_is_not_cut(tmp_path: Path) -> None:
    for seed, fid in enumerate((0.4, 0.6)):
        score_trees.add(tmp_path, experiment="mini-conv", seed=seed, fid=fid)
    (row,) = table(tmp_path)["rows"]
    assert row["cells"]["95 % over seeds"][0] == "-0.77 to 1.77"  # 0.5 ± 12.706 * 0.1414 / sqrt(2)


def test_a_row_under_another_protocol_says_so_where_it_is_the_only_one(tmp_path: Path) -> None:
    score_trees.add(tmp_path, experiment="t4-transgan-s")
    score_trees.add(tmp_path, experiment="t1-autogan-autogan")
    score_trees.add(tmp_path, experiment="mini-conv", layer=768)
    found = table(tmp_path)
    flags = {row["experiment"]: row["flags"] for row in found["rows"]}
    assert flags["t4-transgan-s"] == flags["t1-autogan-autogan"] == []
    assert flags["mini-conv"][0] == "tf: official 768 channels", "and not what is the same"
    assert found["other"] == []


def test_the_norm_is_what_most_ends_were_scored_under_and_of_equals_that_of_most_samples(tmp_path: Path) -> None:
    """However many snapshots on the way have another, and whichever of them a suite names first."""
    first = {"n_fake": 1000, "name": "a-first", "planned_nimg": 9}
    for name, fid in (("mini-conv", 3.0), ("mini-transgan", 2.0)):
        score_trees.add(tmp_path, experiment=name, fid=fid + 1, nimg=9, **first)
        score_trees.add(tmp_path, experiment=name, fid=fid, nimg=9, **first | {"n_fake": 2000, "name": "second"})
        for nimg in (3, 6):
            score_trees.add(tmp_path, experiment=name, fid=1.0, snapshot=str(nimg), nimg=nimg, **first)
    third = {"experiment": "t4-transgan-s", "fid": 9.0}
    score_trees.add(tmp_path, snapshot="3", nimg=3, **first | third)
    score_trees.add(tmp_path, nimg=9, **first | third | {"n_fake": 3000, "name": "third"})
    found = table(tmp_path)
    ((_, said),) = scores.protocol_lines(results.load(tmp_path).scores)
    assert said.startswith("2k vs 50k cifar10 train")
    assert names(found["rows"]) == ["mini-transgan", "mini-conv", "t4-transgan-s"], (
        "lowest FID first, of the end, not of the way"
    )
    assert [row["cells"]["FID, TF"][1] for row in found["rows"]] == [2.0, 3.0, 9.0]
    assert [row["flags"] for row in found["rows"]] == [[], [], ["tf: 3k vs 50k cifar10 train"]]
    assert names(found["other"]) == ["mini-transgan", "mini-conv"]
    assert all(row["flags"] == ["tf: 1k vs 50k cifar10 train"] for row in found["other"])
    assert names(found["before"]) == ["mini-transgan"] * 2 + ["mini-conv"] * 2 + ["t4-transgan-s"]
    assert [row["images"][0] for row in found["before"]] == ["6 of 9", "3 of 9"] * 2 + ["3 of 9"]
    score_trees.add(tmp_path, experiment="mini-untrained", nimg=0, **first | {"planned_nimg": 0})
    ((_, said),) = scores.protocol_lines(results.load(tmp_path).scores)
    assert said.startswith("1k vs 50k cifar10 train"), "most models"


def test_numbered_snapshots_without_a_last_end_with_the_longest(tmp_path: Path) -> None:
    for nimg in (1000, 2000):
        score_trees.add(tmp_path, experiment="mini-conv", snapshot=str(nimg), nimg=nimg, planned_nimg=2000)
    found = table(tmp_path)
    assert [row["images"][0] for row in found["rows"]] == ["2k"]
    assert [row["images"][0] for row in found["before"]] == ["1k of 2k"]


def test_models_stand_with_those_trained_on_the_same_data_set(tmp_path: Path) -> None:
    for name, fid in (("mini-conv", 3.0), ("mini-transgan", 2.0), ("mini-1k-conv", 1.0)):
        score_trees.add(tmp_path, experiment=name, fid=fid)
    train_on(tmp_path, "mini-1k-conv", "cifar10-1k")
    found = table(tmp_path)
    assert [(trained, names(rows)) for trained, rows in found["sets"]] == [
        ("cifar10", ["mini-transgan", "mini-conv"]),
        ("cifar10-1k", ["mini-1k-conv"]),
    ]
    costs = {row["experiment"]: row["trained on"] for row in scores.costs(results.load(tmp_path))}
    assert costs == {"mini-conv": "cifar10", "mini-transgan": "cifar10", "mini-1k-conv": "cifar10-1k"}


def test_an_untrained_control_was_trained_on_nothing(tmp_path: Path) -> None:
    score_trees.add(tmp_path, experiment="mini-untrained", nimg=0, planned_nimg=0)
    ((cost),) = scores.costs(results.load(tmp_path))
    assert cost["trained on"] == "—"


def test_a_pass_that_serves_two_protocols_is_paid_once(tmp_path: Path) -> None:
    """Each of its records says what the whole pass took; other scorers and seeds have passes of their own."""

    def add(device_sec: float, scorer: str = "tf", **changes: Any) -> None:
        path = score_trees.add(tmp_path, scorer, experiment="mini-conv", **changes)
        seconds = {"device_sec": device_sec, "wall_sec": device_sec + 1, "scores_of_pass": 2}
        score_trees.edit(path, provenance={"device": "cpu", **seconds})

    add(1800.0, name="a", n_fake=1000)
    add(1800.0, name="b", n_fake=2000)
    assert scores.total_hours(results.load(tmp_path)) == (pytest.approx(2.0), pytest.approx(0.5))
    add(1800.0, "clean")
    add(1800.0, seed=1)
    add(900.0, name="c", quantisation="float")
    assert scores.total_hours(results.load(tmp_path))[1] == pytest.approx(0.5 * 3 + 0.25)


def test_curves_of_a_scale_without_seconds_cost_nothing(tmp_path: Path) -> None:
    curve(tmp_path, "mini-conv", {1000: 2.0, 2000: 1.0})
    assert scores.total_hours(results.load(tmp_path))[1] == 0
