"""Verdicts: every kind of comparison by table, and the properties they promise."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harness.comparison import verdicts
from harness.comparison.verdicts import ORDER, Tolerances
from harness.errors import HarnessError
from tests.paths import ROOT

FILE = ROOT / "experiments" / "tolerances.yaml"


@pytest.fixture(scope="module")
def tolerances() -> Tolerances:
    return verdicts.load(FILE)


@pytest.mark.parametrize(
    ("values", "metric", "reported", "expected"),
    [
        ([11.89, 11.80, 11.95], "fid", 11.89, "within"),
        ([12.45, 12.48, 12.50], "fid", 11.89, "within"),  # just below 1.05 x 11.89 = 12.48
        ([13.00, 13.10, 13.20], "fid", 11.89, "near"),
        ([13.90, 14.00, 14.10], "fid", 11.89, "outside"),
        ([10.00, 10.10, 10.20], "fid", 11.89, "too-good"),  # beyond 11.89 / 1.15 = 10.34
        ([10.40, 10.50, 10.60], "fid", 11.89, "within"),
        ([11.89, 11.80], "fid", 11.89, "insufficient-runs"),
        ([11.00, 11.50, 40.00], "fid", 11.89, "insufficient-runs"),  # one broken run: no mean excuses it
        ([8.60, 8.65, 8.70], "is", 8.63, "within"),
        ([8.00, 8.05, 8.10], "is", 8.63, "near"),  # 8.63 / 1.05 = 8.22, 8.63 / 1.15 = 7.50
        ([7.00, 7.05, 7.10], "is", 8.63, "outside"),
        ([10.2, 10.3, 10.4], "is", 8.63, "too-good"),
    ],
)
def test_training(values: list[float], metric: str, reported: float, expected: str, tolerances: Tolerances) -> None:
    assert verdicts.training(values, reported, metric, tolerances.training) == expected


@pytest.mark.parametrize(
    ("value", "metric", "reported", "n_fake", "is_std", "expected"),
    [
        (24.90, "fid", 24.768, 50_000, None, "within"),  # 1 % is 0.248
        (25.32, "fid", 24.768, 50_000, None, "near"),
        (25.60, "fid", 24.768, 50_000, None, "outside"),
        (24.40, "fid", 24.768, 50_000, None, "too-good"),  # the same weights cannot be better
        (2.55, "fid", 2.42, 50_000, None, "within"),  # 3 sd of evaluation (0.174) outweigh 1 %
        (2.62, "fid", 2.42, 50_000, None, "near"),
        (24.90, "fid", 24.768, 20_000, None, "within"),  # the count of the released script
        (24.768, "fid", 24.768, 19_999, None, "insufficient-runs"),
        (8.55, "is", 8.63, 50_000, 0.16, "within"),  # 3 x 0.16 / sqrt(10) = 0.152
        (8.30, "is", 8.63, 50_000, 0.16, "near"),
        (8.00, "is", 8.63, 50_000, 0.16, "outside"),
        (9.20, "is", 8.63, 50_000, 0.16, "too-good"),
        (8.63, "is", 8.63, 50_000, None, "insufficient-runs"),
    ],
)
def test_checkpoint(
    value: float,
    metric: str,
    reported: float,
    n_fake: int,
    is_std: float | None,
    expected: str,
    tolerances: Tolerances,
) -> None:
    assert verdicts.checkpoint([value], reported, metric, n_fake, is_std, tolerances.checkpoint) == expected


@pytest.mark.parametrize(
    ("values", "history", "expected"),
    [
        ([14.1, 14.2, 14.3], [14.0, 14.2, 14.4], "within"),
        ([14.40, 14.41, 14.42], [14.2, 14.21, 14.22], "near"),  # sure, but 1.4 %
        ([15.0, 15.1, 15.2], [14.0, 14.2, 14.4], "outside"),
        ([13.0, 13.01, 13.02], [14.0, 14.01, 14.02], "too-good"),
        ([13.9, 13.91, 13.92], [14.0, 14.01, 14.02], "within"),  # better, by less than 5 %
        ([16.0], [14.0, 14.2, 14.4], "outside"),
        ([14.1], [14.0, 14.2], "insufficient-runs"),
    ],
)
def test_regression(values: list[float], history: list[float], expected: str, tolerances: Tolerances) -> None:
    assert verdicts.regression(values, history, "fid", tolerances.regression) == expected


@pytest.mark.parametrize("metric", ["fid", "is"])
def test_every_kind_is_monotone_in_the_score(metric: str, tolerances: Tolerances) -> None:
    """Worse scores never get a better verdict, and all four verdicts are met on the way."""
    sign = -1 if metric == "is" else 1
    shifts = np.linspace(-4, 4, 801) * sign
    seeds, history = np.array([9.9, 10.0, 10.15]), [9.9, 10.05, 10.1]
    rules = {
        "training": lambda x: verdicts.training(x, 10.0, metric, tolerances.training),
        "control": lambda x: verdicts.training(x, 10.0, metric, tolerances.control),
        "checkpoint": lambda x: verdicts.checkpoint(x, 10.0, metric, 50_000, 0.2, tolerances.checkpoint),
        "regression": lambda x: verdicts.regression(x, history, metric, tolerances.regression),
    }
    for name, rule in rules.items():
        places = [ORDER.index(rule(list(seeds + shift))) for shift in shifts]
        assert places == sorted(places), name
        assert set(places) >= {0, 1, 3}, name


def test_training_is_monotone_in_the_reported_value(tolerances: Tolerances) -> None:
    places = [
        ORDER.index(verdicts.training([9.9, 10.0, 10.15], r, "fid", tolerances.training))
        for r in np.arange(7, 14, 0.01)
    ]
    assert places == sorted(places, reverse=True)
    assert set(places) == {0, 1, 2, 3}


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("metric", ["fid", "is"])
def test_training_false_alarms_are_five_percent(seeds: int, metric: str, tolerances: Tolerances) -> None:
    """Null: the true mean lies exactly at the limit (reported x 1.05 for FID, / 1.05 for IS), seeds differ by 2 %."""
    limit = 10 / 1.05 if metric == "is" else 10 * 1.05
    draws = np.random.default_rng(7).normal(limit, 0.02 * limit, size=(10_000, seeds))
    alarms = np.mean([verdicts.training(x, 10.0, metric, tolerances.training) != "within" for x in draws])
    assert 0.04 <= alarms <= 0.06


@pytest.mark.parametrize(("now", "before"), [(3, 3), (1, 5)])
def test_regression_false_alarms_are_five_percent(now: int, before: int, tolerances: Tolerances) -> None:
    """Null: new and recorded runs come from the same distribution."""
    draws = np.random.default_rng(8).normal(14.2, 0.5, size=(1_000, now + before))
    found = [verdicts.regression(x[:now], x[now:], "fid", tolerances.regression) for x in draws]
    assert 0.04 <= np.mean([v != "within" for v in found]) <= 0.06


def test_a_true_reproduction_is_seldom_condemned_and_a_bad_one_mostly(tolerances: Tolerances) -> None:
    rng = np.random.default_rng(9)
    good = rng.normal(10.0, 0.2, size=(2_000, 3))
    bad = rng.normal(12.5, 0.2, size=(2_000, 3))
    found = {
        name: [verdicts.training(x, 10.0, "fid", tolerances.training) for x in d]
        for name, d in (("good", good), ("bad", bad))
    }
    assert np.mean([v == "within" for v in found["good"]]) > 0.99
    assert np.mean([v == "outside" for v in found["bad"]]) > 0.9


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["within", "within", "within"], ("within",)),
        (["within", "near", "near"], ("within", "near")),
        (["outside", "within"], ("within", "near", "outside")),  # what lies between cannot be left out
        (["insufficient-runs", "insufficient-runs"], ("insufficient-runs",)),
        (["within", "not-comparable"], ("not-comparable",)),
    ],
)
def test_presumptions_give_one_verdict_or_a_range(found: list[str], expected: tuple[str, ...]) -> None:
    assert verdicts.spread(found) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (("within",), "pass"),
        (("within", "near"), "pass"),
        (("near", "outside"), "undecided"),
        (("outside",), "fail"),
        (("too-good",), "fail"),
        (("not-comparable",), "none"),
        (("insufficient-runs",), "none"),
    ],
)
def test_status(found: tuple[str, ...], expected: str, tolerances: Tolerances) -> None:
    assert verdicts.status(found, tolerances.statuses) == expected


def test_kinds(tolerances: Tolerances) -> None:
    control = tolerances.control
    assert verdicts.kind("sngan.pytorch/SN-GAN", False, control) == "control"
    assert verdicts.kind("autogan-cifar10/AutoGAN-top1", False, control) == "control"
    assert verdicts.kind("mimicry/SNGAN", False, control) == "control (secondary)"
    assert verdicts.kind("T5-cifar10-comparison/TransGAN-XL", True, control) == "checkpoint"
    assert verdicts.kind("T5-cifar10-comparison/TransGAN-XL", False, control) == "training"


def test_a_tolerance_without_a_reason_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tolerances.yaml"
    path.write_text(FILE.read_text().replace(', because: "fewer give no useful sd"', ""))
    with pytest.raises(HarnessError, match=r"training\.min_seeds: missing key 'because'"):
        verdicts.load(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[within, near]", "[wihtin, near]", "statuses.passes[0]: 'wihtin' is unknown. Did you mean 'within'"),
        ("[within, near]", "[within, outside]", "statuses.passes[1]: 'outside' is unknown."),
        ("[within, near]", "[within, too-good]", "statuses.passes[1]: 'too-good' is unknown."),
        ("[within, near]", "[near]", "'within' must pass"),
        ("[outside, too-good]", "[too-good]", "'outside' must fail"),
        ("[outside, too-good]", "[outside, near]", "'near' passes and fails"),
        ("[outside, too-good]", "[outside, insufficient-runs]", "statuses.fails[1]: 'insufficient-runs' is unknown"),
        ("alpha: {value: 0.05", "alpha: {value: 0", "training.alpha.value: 0 must be above 0"),
        ("alpha: {value: 0.05", "alpha: {value: 1", "training.alpha.value: 1 must be at most 0.5"),
        ("alpha: {value: 0.05", "alpha: {value: .nan", ".nan is not a finite number"),
        (" share: {value: 1.05", " share: {value: .inf", ".inf is not a finite number"),
        (" share: {value: 1.05", " share: {value: 0.9", "training.share.value: 0.9 must be at least 1"),
        (" share: {value: 1.05", " share: {value: 1.2", "training.near_share is less than share"),
        (" share: {value: 0.01", " share: {value: -1", "checkpoint.share.value: -1 must be above 0"),
        ("too_good_share: {value: 1.15", "too_good_share: {value: 0", "too_good_share.value: 0 must be at least 1"),
        ("min_seeds: {value: 3", "min_seeds: {value: 1", "training.min_seeds.value: 1 must be at least 2"),
        ("min_seeds: {value: 3", "min_seeds: {value: 2.5", "training.min_seeds.value: expected a whole number"),
        ("max_spread: {value: 0.10", "max_spread: {value: 2", "training.max_spread.value: 2 must be at most 1"),
        ("min_history: {value: 3", "min_history: {value: 1", "regression.min_history.value: 1 must be at least 2"),
        ("stand_in_share: {value: 1.02", "stand_in_share: {value: 30", "stand_in_share.value: 30 must be at most 3"),
        ('because: "fewer give no useful sd"', 'because: " "', "training.min_seeds.because: ' ' must be a reason"),
    ],
)
def test_a_tolerance_that_makes_no_sense_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = FILE.read_text()
    assert old in text
    path = tmp_path / "tolerances.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(HarnessError, match=re.escape(said)):
        verdicts.load(path)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_what_is_not_a_number_decides_nothing(bad: float, tolerances: Tolerances) -> None:
    good = [12.0, 12.1, 12.2]
    for values, reported in ((good, bad), ([12.0, bad, 12.2], 12.0), ([], 12.0)):
        assert verdicts.training(values, reported, "fid", tolerances.training) == "not-comparable"
        assert verdicts.checkpoint(values, reported, "fid", 50_000, None, tolerances.checkpoint) == "not-comparable"
    assert verdicts.checkpoint([8.6], 8.6, "is", 50_000, bad, tolerances.checkpoint) == "insufficient-runs"
    assert verdicts.regression([12.0], [12.0, bad, 12.1], "fid", tolerances.regression) == "not-comparable"
    assert verdicts.regression([bad], good, "fid", tolerances.regression) == "not-comparable"


def test_one_seed_has_no_spread_whatever_the_tolerance_says(tolerances: Tolerances) -> None:
    one = dataclasses.replace(tolerances.training, min_seeds=verdicts.Tolerance(1, "for this test"))
    assert verdicts.training([12.0], 12.0, "fid", one) == "insufficient-runs"


@pytest.mark.parametrize(
    ("value", "stand_in", "expected"),
    [
        (14.1, True, "within"),
        (14.6, True, "outside"),  # 3 %
        (13.6, True, "too-good"),  # on stand-ins, better is no better than worse
        (13.6, False, "within"),
        (14.2, True, "near"),  # sure, but less than 2 %
    ],
)
def test_a_stand_in_may_change_in_neither_direction(
    value: float, stand_in: bool, expected: str, tolerances: Tolerances
) -> None:
    history = [14.1, 14.11, 14.09, 14.1]
    assert verdicts.regression([value], history, "fid", tolerances.regression, stand_in) == expected


def test_scores_that_never_vary_are_held_to_equality(tolerances: Tolerances) -> None:
    assert verdicts.regression([14.1], [14.1] * 3, "fid", tolerances.regression, True) == "within"
    assert verdicts.regression([14.6], [14.1] * 3, "fid", tolerances.regression, True) == "outside"
    assert verdicts.regression([14.1, 14.1], [14.1] * 3, "fid", tolerances.regression) == "within"


def judged(tolerances: Tolerances, values: Sequence[float] = (12.0, 12.1, 12.2), **changes: object) -> tuple[str, ...]:
    row = {
        "kind": "training",
        "metric": "fid",
        "reported": 11.89,
        "reported_low": 11.89,
        "reported_high": 11.89,
        "n_fake": 50_000,
        "is_std": float("nan"),
    }
    return verdicts.judge(row | changes, values, tolerances)


def test_judging_under_presumptions(tolerances: Tolerances) -> None:
    assert judged(tolerances) == ("within",)
    assert judged(tolerances, reported_high=12.5) == ("within",)
    assert judged(tolerances, reported_low=11.0) == ("within", "near")
    assert judged(tolerances, reported_low=9.0) == ("within", "near", "outside")
    assert judged(tolerances, reported_high=float("nan")) == ("not-comparable",)
    assert judged(tolerances, values=[12.0]) == ("insufficient-runs",)
    assert judged(tolerances, kind="checkpoint", values=[11.9]) == ("within",)
    assert judged(tolerances, kind="checkpoint", values=[8.6], metric="is", is_std=0.16) == ("outside",)


# ---------------------------------------------------------------- the wider of what is stated and what was measured


def test_a_checkpoint_may_be_off_by_the_widest_sd_of_evaluation(tolerances: Tolerances) -> None:
    """FID 2.55 against 2.42 at 50,000: 3 x 0.058 are stated; a wider measured sd counts, a narrower one does not."""
    row = {"kind": "checkpoint", "reported": 2.42, "reported_low": 2.42, "reported_high": 2.42}
    assert judged(tolerances, values=[2.65], **row) == ("near",)
    assert judged(tolerances, values=[2.65], **row, evaluation_sd=0.08) == ("within",)
    assert judged(tolerances, values=[2.65], **row, evaluation_sd=float("nan")) == ("near",)
    assert judged(tolerances, values=[2.55], **row, evaluation_sd=0.001) == ("within",)
    assert judged(tolerances, values=[2.65], **row, reported_std=0.08) == ("within",)


@pytest.mark.parametrize("field", ["reported_std", "evaluation_sd"])
def test_an_sd_of_evaluation_that_hides_everything_decides_nothing(tolerances: Tolerances, field: str) -> None:
    row = {"reported": 11.89, "reported_low": 11.89, "reported_high": 11.89}
    assert judged(tolerances, kind="checkpoint", values=[30.0], **row, **{field: 11.89}) == ("insufficient-runs",)
    three = judged(tolerances, kind="training", values=[30.0, 30.1, 30.2], **row, evaluation_sd=11.89)
    assert three == ("insufficient-runs",)


def test_the_std_that_a_paper_prints_of_an_inception_score_is_over_splits(tolerances: Tolerances) -> None:
    row = {"kind": "checkpoint", "metric": "is", "is_std": 0.05, "reported": 8.63}
    row |= {"reported_low": 8.63, "reported_high": 8.63}
    assert judged(tolerances, values=[8.52], **row) == ("near",)  # 1 % is 0.086
    assert judged(tolerances, values=[8.52], **row, reported_std=0.16) == ("within",)  # 3 x 0.16 / sqrt(10) = 0.152
    assert judged(tolerances, values=[8.52], **row, reported_std=0.06) == ("near",)


def test_seeds_closer_than_their_evaluations_do_not_narrow_the_bound(tolerances: Tolerances) -> None:
    values = [12.60, 12.61, 12.62]  # against 11.89 x 1.05 = 12.48
    assert judged(tolerances, values=values) == ("near",)
    assert judged(tolerances, values=values, evaluation_sd=0.1) == ("within",)
    assert judged(tolerances, values=values, evaluation_sd=0.001) == ("near",)
    assert judged(tolerances, values=[12.0, 12.1, 30.0], evaluation_sd=20.0) == ("insufficient-runs",)
