"""The sentences at the head of the page follow from the scores by a rule."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.comparison import check
from harness.config import experiments
from harness.records import results
from harness.report import charts, finding
from tests.comparison.test_check import autogan
from tests.comparison.test_tables import STAND_IN
from tests.paths import ROOT
from tests.records import score_trees


def curve(out: Path, experiment: str, points: dict[int, float], scorer: str = "tf", **changes: object) -> None:
    for nimg, fid in points.items():
        last = nimg == max(points)
        snapshot = "last" if last else str(nimg)
        run = {"snapshot": snapshot, "nimg": nimg, "planned_nimg": max(points), "partial": not last}
        score_trees.add(out, scorer, experiment=experiment, fid=fid, **run, **changes)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Two curves that share 2,000 images, one point of a third model, and a control; the scorers disagree."""
    curve(tmp_path, "mini-transgan", {1000: 9.0, 2000: 5.0})
    curve(tmp_path, "mini-conv", {2000: 6.0, 4000: 2.0})
    curve(tmp_path, "mini-transgan", {1000: 9.0, 2000: 5.5}, "clean")
    curve(tmp_path, "mini-conv", {2000: 4.5, 4000: 2.5}, "clean")
    score_trees.add(tmp_path, experiment="t4-transgan-s", fid=1.0)
    score_trees.add(tmp_path, experiment="mini-untrained", nimg=0, planned_nimg=0, fid=20.0)
    return tmp_path


def test_best_and_worst_are_those_at_the_largest_shared_count(out: Path) -> None:
    (said,) = finding.findings(results.load(out))
    assert said.startswith("At 2,000 images seen, the largest count that all curves of cifar10 share, ")
    assert "mini-transgan has the lowest FID, 5.00, and mini-conv the highest, 6.00" in said
    assert "; the untrained control mini-untrained has 20.00" in said
    assert "50,000 samples against 50,000 train images, 2048 channels; one seed each" in said
    assert "clean-fid gives 5.50, 4.50, and others in front: mini-conv is lowest, mini-transgan highest" in said


def test_seeds_are_averaged_and_counted(out: Path) -> None:
    for name, points in (("mini-transgan", {1000: 9.0, 2000: 7.0}), ("mini-conv", {2000: 8.0, 4000: 2.0})):
        curve(out, name, points, seed=1)
    (said,) = finding.findings(results.load(out))
    assert "lowest FID, 6.00, and mini-conv the highest, 7.00" in said
    assert "means of 2 seeds" in said


def test_curves_without_a_shared_count_are_not_ranked(tmp_path: Path) -> None:
    curve(tmp_path, "mini-transgan", {1000: 9.0, 2000: 5.0})
    curve(tmp_path, "mini-conv", {3000: 6.0, 4000: 2.0})
    assert finding.findings(results.load(tmp_path)) == [
        "The curves of cifar10 share no image count, so their models are not ranked."
    ]


def test_stand_ins_find_nothing(tmp_path: Path) -> None:
    drawn = {key: value for key, value in STAND_IN.items() if key not in ("experiment", "fid")}
    curve(tmp_path, "mini-transgan", {1000: 9.0, 2000: 5.0}, **drawn)
    assert finding.findings(results.load(tmp_path)) == [finding.STAND_INS]


def test_one_point_is_no_curve(tmp_path: Path) -> None:
    score_trees.add(tmp_path, experiment="mini-conv")
    assert finding.findings(results.load(tmp_path)) == [finding.NO_CURVE]


def test_scores_under_two_protocols_share_no_panel(tmp_path: Path) -> None:
    curve(tmp_path, "mini-transgan", {1000: 9.0, 2000: 5.0})
    curve(tmp_path, "mini-conv", {1000: 9.0, 2000: 5.0}, layer=768)
    found = finding.panels(results.load(tmp_path).scores)
    assert [set(panel.curves["experiment"]) for panel in found] == [{"mini-transgan"}, {"mini-conv"}]


def test_comparability_names_its_reasons(tmp_path: Path) -> None:
    scale, other = tmp_path / "a/results/test", tmp_path / "b/results/test"
    curve(scale, "mini-transgan", {1000: 9.0, 2000: 5.0}, layer=768)
    assert finding.comparability(check.check(score_trees.scale_of(scale))) == (
        "Nothing here can be compared with the paper's numbers: 768-channel features, no reported row, "
        "scored before the recipe's end."
    )
    said = finding.comparability(check.check(score_trees.scale_of(autogan(other, 12.4))))
    assert said == "6 of 8 comparisons with a reported number are possible: 6 within."


def test_a_model_has_one_colour_everywhere(out: Path) -> None:
    found = results.load(out)
    places = charts.colour_indices(found.scores)
    assert places == {"mini-untrained": None, "mini-conv": 0, "mini-transgan": 1, "t4-transgan-s": 2}
    panels = charts.fid_charts(found, check_comparisons(found))
    assert [chart.name for chart in panels] == ["fid-cifar10-tf", "fid-cifar10-clean"]
    for chart in panels:
        for name, place in (("mini-conv", 0), ("mini-transgan", 1)):
            assert re.search(rf"fill: {charts.LIGHT[place]}[^>]*>{name}</text>", chart.svg)
            assert re.search(rf"fill: var\(--m{place}\)[^>]*>{name}</text>", chart.inline)
        assert charts.LIGHT[2] not in chart.svg


def test_no_two_of_thirty_models_look_alike() -> None:
    looks = {(one["color"], one["ls"], one["marker"]) for one in map(charts.look, [None, *range(30)])}
    assert len(looks) == 31
    for place in range(22):
        assert charts.look(place)["color"] == charts.look(place + 8)["color"]
        assert charts.look(place)["marker"] != charts.look(place + 8)["marker"], "a scatter has no dashes"


def test_lines_to_thirty_names_do_not_cross(tmp_path: Path) -> None:
    """Right of the panel: the heights where they start and where they end are in the same order."""
    names = [name for name in experiments.load(ROOT) if "untrained" not in name][:30]
    rng = np.random.default_rng(0)
    for name in names:
        points = {1000: 9.0, int(rng.integers(2, 9)) * 1000: float(rng.uniform(1, 9))}
        curve(tmp_path, name, points)
    (panel,) = finding.panels(results.load(tmp_path).scores)
    assert panel.curves["experiment"].nunique() == 30
    drawn: list[Any] = []
    with charts._figure(1, height=8) as (_, (axis,)):
        axis.set_ylim(0, 10)
        axis.set_xlim(0, 10)
        last = panel.curves[panel.curves["snapshot"] == "last"]
        points = last[["nimg", "fid", "experiment"]].itertuples(index=False)
        charts._direct_labels(axis, [(nimg / 1000, fid, name, "#000000") for nimg, fid, name in points])
        drawn = [(text.xy, text.xyann) for text in axis.texts]
        ends = {text.arrowprops["relpos"] for text in axis.texts}
    assert {x for (x, _), _ in drawn} == {1}, "from the border"
    assert ends == {(0, 0.5)}, "to where a name begins: to its middle, a line would strike out the names between"
    starts, ends_ = [y for (_, y), _ in drawn], [y for _, (_, y) in drawn]
    assert [ends_[i] for i in np.argsort(starts, kind="stable")] == sorted(ends_)
    assert min(np.diff(sorted(ends_))) > 0.01


def check_comparisons(found: results.Results):  # type: ignore[no-untyped-def]
    return found.scores.assign(metric="fid", blocking_fields=[("reported",)] * len(found.scores), reported=None)


def test_a_reported_value_is_drawn_where_protocols_allow(out: Path) -> None:
    found = results.load(out)
    able = check_comparisons(found).assign(blocking_fields=[()] * len(found.scores), reported=7.0)
    for comparisons, drawn in ((able, True), (check_comparisons(found), False)):
        panel = charts.fid_charts(found, comparisons)[0]
        assert ("mini-conv, reported" in panel.svg) is drawn


def test_the_interval_over_seeds_is_a_band(out: Path) -> None:
    one_seed = charts.fid_charts(results.load(out), check_comparisons(results.load(out)))[0]
    assert "PolyCollection" not in one_seed.svg
    curve(out, "mini-transgan", {1000: 9.5, 2000: 5.5}, seed=1)
    several = charts.fid_charts(results.load(out), check_comparisons(results.load(out)))[0]
    assert several.svg != one_seed.svg
    assert "Bands: 95 % interval" in several.svg
    assert "Bands" not in one_seed.svg


def test_labels_are_spread() -> None:
    """As little as can be: two that are too near part by as much on either side."""
    assert charts.spread([2.0, 2.2, 5.0], 1.0, 9.0) == pytest.approx([1.6, 2.6, 5.0])
    assert charts.spread([0.0], 1.0, 9.0) == [0.5]
    assert charts.spread([5.0, 4.9, 1.0], 1.0, 5.0) == pytest.approx([5.0, 4.0, 1.0])


@pytest.mark.parametrize("values", [[0.28, 0.57, 3.21], [12.1, 12.4], [3.0, 400.0], [0.0, 2.0]])
def test_an_axis_of_fids_shows_all_and_has_numbers(values: list[float]) -> None:
    with charts._figure(1, height=3) as (_, (axis,)):
        low, high = charts._logarithmic(axis, "y", values)
        assert axis.get_yscale() == "log"
        assert low < max(charts.LEAST, min(values))
        assert high > max(values)
        assert len([tick for tick in axis.get_yticks() if low <= tick <= high]) >= 2


@pytest.mark.parametrize(("palette", "ground"), [(charts.LIGHT, "#fefefe"), (charts.DARK, "#19212c")])
def test_colours_can_be_read(palette: tuple[str, ...], ground: str) -> None:
    """At least 4.5 : 1 (WCAG 2.1, contrast of text, level AA)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in palette:
        high, low = sorted((luminance(colour), luminance(ground)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, colour
