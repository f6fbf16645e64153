"""The dot plot that stands for curves of few points."""

import re
from pathlib import Path

import pytest

from harness.records import results
from harness.report import charts, drawing, forest
from tests.records import score_trees
from tests.report.test_finding import check_comparisons, curve, train_on


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Two models on one data set, a third on another, of two seeds each; a control."""
    for name, fid in (("mini-conv", 4.0), ("mini-transgan", 2.0), ("mini-1k-conv", 3.0)):
        for seed in (0, 1):
            curve(tmp_path, name, {1000: fid + 5, 2000: fid + seed / 10}, seed=seed)
    for seed in (0, 1):
        train_on(tmp_path, "mini-1k-conv", "cifar10-1k", seed)
    score_trees.add(tmp_path, experiment="mini-untrained", nimg=0, planned_nimg=0, fid=20.0)
    return tmp_path


def chart(out: Path, reported: float | None = None) -> drawing.Chart:
    found = results.load(out)
    comparisons = check_comparisons(found)
    if reported is not None:
        comparisons = comparisons.assign(blocking_fields=[()] * len(comparisons), reported=reported)
        comparisons = comparisons[comparisons["experiment"] == "mini-conv"]
    (one,) = charts.fid_charts(found, comparisons)
    return one


def labels(svg: str) -> list[str]:
    """The texts of a plot from above, without the numbers and the name of its axis."""
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    return [text for text in texts if not re.fullmatch(r"[\d.]+|FID.*", text)]


def test_models_stand_by_training_data_set_and_fid(out: Path) -> None:
    assert labels(chart(out).svg) == [
        "trained on cifar10",
        "mini-transgan",
        "mini-conv",
        "mini-untrained",
        "trained on cifar10-1k",
        "mini-1k-conv",
    ]


def test_a_control_of_other_networks_and_a_reported_value_stand_below(out: Path) -> None:
    train_on(out, "mini-untrained", "stl10")
    assert labels(chart(out, 3.5).svg)[-2:] == ["mini-untrained", "mini-conv, reported"]
    said = chart(out, 3.5)
    assert "; mini-untrained 20.00; mini-conv, reported 3.50." in said.svg
    assert "upright: reported" in said.caption
    assert "reported" not in chart(out).caption


def test_it_says_what_its_marks_are(out: Path) -> None:
    said = chart(out)
    assert said.caption == (
        "Full marks: the mean over seeds after 2k images seen; hollow: after 1k; dots: single seeds; bars: 95 % "
        "interval of the mean over seeds; dashed: untrained."
    )
    assert "trained on cifar10: mini-transgan 2.05 at 2k, 7.00 at 1k; mini-conv 4.05 at 2k, 9.00 at 1k;" in said.svg
    assert 'role="img" aria-labelledby="title desc"' in said.svg
    assert said.svg == chart(out).svg, "the same bytes"


def test_one_seed_has_no_bar(tmp_path: Path) -> None:
    curve(tmp_path, "mini-conv", {1000: 9.0, 2000: 4.0})
    assert "bars" not in chart(tmp_path).caption


def test_a_bar_that_goes_on_beyond_the_axis_is_cut_and_said_to_be(out: Path) -> None:
    curve(out, "mini-conv", {1000: 9.0, 2000: 5.5}, seed=1)  # 4.75 ± 12.706 * 1.06 / sqrt(2)
    assert "cut with an arrow at an end of the axis, also where it reaches below 0" in chart(out).caption
    row = forest.Row("a", 0, 2000, 4.0, low=0.9, high=60.0, seeds=(4.0,))
    assert forest._draw([row])[1]
    assert not forest._draw([forest.Row("a", 0, 2000, 4.0, low=3.5, high=4.5, seeds=(4.0,))])[1]
    row = forest.Row("a", 0, 2000, 4.0, low=0.9, high=4.5)
    assert "below 0" not in forest._caption([row], controls=False, reported=False, cut=True)


@pytest.mark.parametrize(("points", "few"), [(2, True), (3, True), (4, False)])
def test_many_points_are_drawn_as_curves(tmp_path: Path, points: int, few: bool) -> None:
    curve(tmp_path, "mini-conv", {1000 * n: 9.0 - n for n in range(1, points + 1)})
    assert chart(tmp_path).caption.startswith("Full marks: " if few else "FID against images seen")


def test_curves_on_two_data_sets_are_two_figures(tmp_path: Path) -> None:
    for name in ("mini-conv", "mini-1k-conv"):
        curve(tmp_path, name, {1000 * n: 9.0 - n for n in range(1, 5)})
    train_on(tmp_path, "mini-1k-conv", "cifar10-1k")
    found = results.load(tmp_path)
    drawn = charts.fid_charts(found, check_comparisons(found))
    assert [one.title.split(":")[0] for one in drawn] == ["Trained on cifar10", "Trained on cifar10-1k"]
    assert [one.name for one in drawn] == ["fid-cifar10-tf", "fid-cifar10-tf-2"]
    assert "mini-1k-conv" not in drawn[0].svg
    history = charts.loss_charts(found)
    assert [one.title for one in history] == ["Losses, cifar10", "Losses, cifar10-1k"]


def test_models_without_a_shared_count_stand_at_their_last(tmp_path: Path) -> None:
    curve(tmp_path, "mini-transgan", {1000: 9.0, 2000: 5.0})
    curve(tmp_path, "mini-conv", {3000: 6.0, 4000: 2.0})
    said = chart(tmp_path)
    assert "mini-conv 2.00 at 4k, 6.00 at 3k; mini-transgan 5.00 at 2k, 9.00 at 1k" in said.svg
    assert "after 2k or 4k images seen; hollow: after 1k or 3k;" in said.caption
