"""How far measured scores lie from reported ones, and why that may be."""

from pathlib import Path

import pytest

from harness.comparison import check
from harness.config import experiments
from harness.report import gaps
from tests.comparison.test_check import autogan
from tests.paths import ROOT
from tests.records import score_trees


def rows_of(out: Path) -> list[dict[str, object]]:
    found = gaps.gaps(check.check(score_trees.scale_of(out)))
    return [row for row in found if str(row["score"]).startswith("FID") and "T1" in str(row["row"])]


def test_a_gap_is_told_in_sds_of_our_seeds(tmp_path: Path) -> None:
    (row, *_) = rows_of(autogan(tmp_path / "results/test", 13.32))
    assert (row["reported"], row["measured"]) == ("12.42", "13.42")
    assert (row["gap"], row["sds"]) == ("+1.00", "+10.0")
    assert all(str(cause).startswith("presumed of the source: ") for cause in row["causes"])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [({"layer": 768}, "differs: layer"), ({"declared": ("split",)}, "declared by hand: split")],
)
def test_what_differs_is_a_likely_cause(tmp_path: Path, changes: dict[str, object], cause: str) -> None:
    (row, *_) = rows_of(autogan(tmp_path / "results/test", 12.4, **changes))
    assert cause in row["causes"]  # type: ignore[operator]


def test_one_seed_is_a_likely_cause_and_has_no_sd(tmp_path: Path) -> None:
    score_trees.add(tmp_path / "results/test", experiment="t1-autogan-autogan", fid=30.0)
    (row, *_) = rows_of(tmp_path / "results/test")
    assert row["sds"] == "—"
    assert "1 seed" in row["causes"]  # type: ignore[operator]


def test_a_snapshot_before_the_end_is_on_the_way(tmp_path: Path) -> None:
    out = tmp_path / "results/test"
    for snapshot, nimg in (("1000", 1000), ("last", 2000)):
        run = {"snapshot": snapshot, "nimg": nimg, "planned_nimg": 2000, "partial": nimg < 2000}
        score_trees.add(out, experiment="t1-autogan-autogan", fid=30.0, **run)
    assert {str(row["score"]): row["on_the_way"] for row in rows_of(out)} == {
        "FID (tf, 1000, test)": True,
        "FID (tf, last, test)": False,
    }


def test_settings_that_sources_leave_open_are_a_likely_cause(tmp_path: Path) -> None:
    score_trees.add(tmp_path / "results/test", experiment="t4-transgan-s", fid=30.0)
    score_trees.add(tmp_path / "results/test", experiment="quirk-tanh", fid=25.0)
    score_trees.add(tmp_path / "results/test", "clean", experiment="quirk-tanh", fid=5.0)
    score_trees.add(tmp_path / "results/test", experiment="t1-autogan-autogan", fid=30.0)
    checked = check.check(score_trees.scale_of(tmp_path / "results/test"))
    rows = gaps.gaps(checked)
    said = {str(row["experiment"]): " ".join(row["causes"]) for row in rows}
    assert "settings that the sources leave open: 10, listed below" in said["t4-transgan-s"]
    assert "leave open" not in said["t1-autogan-autogan"]
    found = {one["name"]: one for one in gaps.open_settings(rows, checked)}
    assert len(found) == 10
    assert found["quirk-tanh"]["fid"] == "FID 25.00", "of one scorer"
    assert found["quirk-clip-1"]["fid"] == "not run here"
    assert "gradient clip" in found["quirk-clip-1"]["note"]


def test_another_size_of_a_network_is_no_open_setting() -> None:
    known = experiments.load(ROOT)
    assert gaps.quirks("stl10-transgan-l", known) == []
    assert set(gaps.quirks("t4-transgan-xl", known)) == {name for name in known if name.startswith("quirk-")}
    assert gaps.quirks("mini-conv", known) == []
    assert gaps.quirks("somebody-elses", known) == []
