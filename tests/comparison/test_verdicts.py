"""Verdicts: every lane by table, and the properties they promise."""

import dataclasses

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
def test_training_lane(
    values: list[float], metric: str, reported: float, expected: str, tolerances: Tolerances
) -> None:
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
        (24.768, "fid", 24.768, 20_000, None, "insufficient-runs"),
        (8.55, "is", 8.63, 50_000, 0.16, "within"),  # 3 x 0.16 / sqrt(10) = 0.152
        (8.30, "is", 8.63, 50_000, 0.16, "near"),
        (8.00, "is", 8.63, 50_000, 0.16, "outside"),
        (9.20, "is", 8.63, 50_000, 0.16, "too-good"),
        (8.63, "is", 8.63, 50_000, None, "insufficient-runs"),
    ],
)
def test_checkpoint_lane(
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
def test_regression_lane(values: list[float], history: list[float], expected: str, tolerances: Tolerances) -> None:
    assert verdicts.regression(values, history, "fid", tolerances.regression) == expected


@pytest.mark.parametrize("metric", ["fid", "is"])
def test_every_lane_is_monotone_in_the_score(metric: str, tolerances: Tolerances) -> None:
    """Worse scores never get a better verdict, and all four verdicts are met on the way."""
    sign = -1 if metric == "is" else 1
    shifts = np.linspace(-4, 4, 801) * sign
    seeds, history = np.array([9.9, 10.0, 10.15]), [9.9, 10.05, 10.1]
    lanes = {
        "training": lambda x: verdicts.training(x, 10.0, metric, tolerances.training),
        "control": lambda x: verdicts.training(x, 10.0, metric, tolerances.control),
        "checkpoint": lambda x: verdicts.checkpoint(x, 10.0, metric, 50_000, 0.2, tolerances.checkpoint),
        "regression": lambda x: verdicts.regression(x, history, metric, tolerances.regression),
    }
    for name, lane in lanes.items():
        places = [ORDER.index(lane(list(seeds + shift))) for shift in shifts]
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
    draws = np.random.default_rng(8).normal(14.2, 0.5, size=(10_000, now + before))
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


def test_lanes(tolerances: Tolerances) -> None:
    control = tolerances.control
    assert verdicts.lane("sngan.pytorch/SN-GAN", False, control) == "control"
    assert verdicts.lane("autogan-cifar10/AutoGAN-top1", False, control) == "control"
    assert verdicts.lane("mimicry/SNGAN", False, control) == "control (secondary)"
    assert verdicts.lane("T5-cifar10-comparison/TransGAN-XL", True, control) == "checkpoint"
    assert verdicts.lane("T5-cifar10-comparison/TransGAN-XL", False, control) == "training"


def test_control_rows_are_in_the_ledger(tolerances: Tolerances) -> None:
    from harness.comparison import reported

    book = reported.load()
    for link in (*tolerances.control.rows, *tolerances.control.secondary):
        reported.find(book, link)


def test_every_tolerance_has_a_reason(tolerances: Tolerances) -> None:
    for lane in (tolerances.checkpoint, tolerances.training, tolerances.control, tolerances.regression):
        for field in dataclasses.fields(lane):
            value = getattr(lane, field.name)
            assert not isinstance(value, verdicts.Number) or len(value.because) > 10


def test_a_tolerance_without_a_reason_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "tolerances.yaml"
    path.write_text(FILE.read_text().replace(', because: "fewer give no useful sd"', ""))
    with pytest.raises(HarnessError, match=r"training\.min_seeds: missing key 'because'"):
        verdicts.load(path)


def test_an_unknown_verdict_among_the_statuses_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "tolerances.yaml"
    path.write_text(FILE.read_text().replace("[within, near]", "[wihtin, near]"))
    with pytest.raises(HarnessError, match=r"unknown verdict 'wihtin'\. Did you mean 'within'"):
        verdicts.load(path)


def judged(tolerances: Tolerances, **changes: object) -> tuple[str, ...]:
    row = {
        "lane": "training",
        "comparable": True,
        "metric": "fid",
        "values": "12.0 12.1 12.2",
        "reported": 11.89,
        "reported_low": 11.89,
        "reported_high": 11.89,
        "n_fake": 50_000,
        "is_std": float("nan"),
    }
    return verdicts.judge(row | changes, tolerances)


def test_judging_under_presumptions(tolerances: Tolerances) -> None:
    assert judged(tolerances) == ("within",)
    assert judged(tolerances, reported_high=12.5) == ("within",)
    assert judged(tolerances, reported_low=11.0) == ("within", "near")
    assert judged(tolerances, reported_low=9.0) == ("within", "near", "outside")
    assert judged(tolerances, comparable=False) == ("not-comparable",)
    assert judged(tolerances, values="12.0") == ("insufficient-runs",)
    assert judged(tolerances, lane="checkpoint", values="11.9") == ("within",)
    assert judged(tolerances, lane="checkpoint", values="8.6", metric="is", is_std=0.16) == ("outside",)
