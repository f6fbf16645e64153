"""How far measured scores lie from reported ones, and why that may be."""

from pathlib import Path

import pytest

from harness.comparison import check
from harness.report import gaps
from tests.comparison.test_check import autogan
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
