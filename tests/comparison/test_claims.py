"""Claims: contrasts of means decide for, against or not at all, and nothing that is unknown decides."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from harness.comparison import claims, reported
from harness.comparison.claims import CONTRADICTED, SUPPORTED, UNDECIDABLE
from harness.config import experiments
from harness.errors import HarnessError
from harness.paths import Checkout
from harness.records import results
from tests.paths import ROOT
from tests.records.score_trees import score

CHECKOUT = Checkout(ROOT)
KNOWN = experiments.load(ROOT)
LEDGER = reported.load(CHECKOUT.reported)
GAIN = {"t1-transgan-transgan": 1.0, "t2-transgan-diffaug": -1.0}


def frame(values: dict[str, list[float]], **changes: Any) -> pd.DataFrame:
    """Scores (FID) of several seeds of each experiment."""
    rows = []
    for name, fids in values.items():
        for seed, fid in enumerate(fids):
            record = score("tf", experiment=name, seed=seed, fid=fid, **changes)
            rows.append(results.row(record, Path(f"{name}-{seed}.json")))
    return results.frame(rows)


def evaluate(made: claims.Claims, scores: pd.DataFrame, scale: str) -> pd.DataFrame:
    return claims.evaluate(made, scores, scale, LEDGER)


def claim(smallest: float = 1.0, **contrasts: dict[str, float]) -> claims.Claims:
    one = claims.Claim("x", "fid", claims.Because(smallest, ""), contrasts or {"gain": GAIN})
    return claims.Claims(claims.Because(0.95, ""), {"c": one}, {"short": {"t1-transgan-transgan": "short-transgan"}})


def only(found: pd.DataFrame) -> dict[str, Any]:
    assert len(found) == 1
    return {str(key): value for key, value in found.iloc[0].items()}


def test_the_committed_claims_are_read_and_name_rows_of_the_paper() -> None:
    found = claims.load(CHECKOUT.claims, KNOWN, LEDGER)
    assert {key[:2] for key in found.claims} >= {"t1", "t2", "t3", "t4"}
    from harness.pipeline import suite

    for one in found.claims.values():
        named = {name for part in one.contrasts.values() for name in part}
        for scale in one.only_at or ("paper",):
            assert named <= suite.read(CHECKOUT, scale).rows().keys()
    for scale, stand_ins in found.scales.items():
        assert set(stand_ins.values()) <= suite.read(CHECKOUT, scale).rows().keys()


def test_two_groups_are_welch_s_test() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = list(rng.normal(10, 1, 3)), list(rng.normal(9, 3, 4))
        found = claims.contrast_interval({"a": a, "b": b}, {"a": 1, "b": -1}, 0.95)
        expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_the_interval_of_four_groups_covers_the_truth() -> None:
    """A difference of differences: its 90 % interval misses the true value in 10 % of cases."""
    rng, missed = np.random.default_rng(1), 0
    coefficients = {"a": 1.0, "b": -1.0, "c": -1.0, "d": 1.0}
    for _ in range(2000):
        groups = {name: list(rng.normal(i, 1, 5)) for i, name in enumerate("abcd")}
        found = claims.contrast_interval(groups, coefficients, 0.9)
        missed += not found.low <= 0 <= found.high
    assert 0.07 < missed / 2000 < 0.13


@pytest.mark.parametrize(
    ("plain", "augmented", "expected"),
    [
        ([40.0, 41, 42], [19.0, 20, 21], SUPPORTED),
        ([20.0, 20.1, 20.2], [19.9, 20, 20.1], CONTRADICTED),
        ([20.0, 25, 30], [15.0, 20, 25], UNDECIDABLE),
    ],
)
def test_an_effect_is_more_than_the_smallest_that_counts_or_not(
    plain: list[float], augmented: list[float], expected: str
) -> None:
    line = only(evaluate(claim(), frame(dict(zip(GAIN, (plain, augmented), strict=True))), "test"))
    assert line["verdict"] == line["claim_verdict"] == expected
    assert line["effect"] == pytest.approx(np.mean(plain) - np.mean(augmented))
    assert line["decidable"] == pytest.approx((line["high"] - line["low"]) / 2)
    assert (line["seeds"], sum(line["seeds_of"].values())) == (3, 6)


def test_a_claim_needs_all_its_contrasts() -> None:
    two = claim(up=GAIN, down={name: -factor for name, factor in GAIN.items()})
    scores = frame(dict(zip(GAIN, ([40.0, 41, 42], [19.0, 20, 21]), strict=True)))
    found = evaluate(two, scores, "test")
    assert list(found["verdict"]) == [SUPPORTED, CONTRADICTED]
    assert set(found["claim_verdict"]) == {CONTRADICTED}
    wide = found["high"].iloc[0] - found["low"].iloc[0]
    assert wide > only(evaluate(claim(), scores, "test"))["high"] - found["low"].iloc[0]


@pytest.mark.parametrize(
    ("values", "changes", "reason"),
    [
        (([40.0, 41, 42], []), {}, "not scored under test: t2-transgan-diffaug"),
        (([40.0, 41, 42], [20.0]), {}, "t2-transgan-diffaug: one seed"),
        (([40.0, 40, 40], [20.0, 20, 20]), {}, "seeds do not differ"),
        (([40.0, 41, 42], [19.0, 20, 21]), {"stand_in_data": True}, "stand_in_data"),
        (([40.0, 41, 42], [19.0, 20, 21]), {"samples_sha256": "ab" * 32}, "samples_sha256"),
    ],
)
def test_what_is_not_known_decides_nothing(values: Any, changes: dict[str, Any], reason: str) -> None:
    line = only(evaluate(claim(), frame(dict(zip(GAIN, values, strict=True)), **changes), "test"))
    assert line["verdict"] == UNDECIDABLE
    assert reason in line["reason"]


def test_no_scores_at_all() -> None:
    empty = frame({"cifar10-sngan": [14.0]})
    assert only(evaluate(claim(), empty, "test"))["verdict"] == UNDECIDABLE


def test_other_counts_of_reals_are_not_compared() -> None:
    plain, augmented = GAIN
    scores = pd.concat(
        [frame({plain: [40.0, 41, 42]}), frame({augmented: [19.0, 20, 21]}, n_real=10000)], ignore_index=True
    )
    assert only(evaluate(claim(), scores, "test"))["verdict"] == UNDECIDABLE


def test_a_score_that_is_not_there_moves_no_claim_to_another_protocol() -> None:
    plain, augmented = GAIN
    under = {"other": {plain: [40.0, 41, 42], augmented: [19.0, 20, 21]}, "test": {plain: [50.0, 51], "e": [3.0]}}
    scores = pd.concat([frame(values, name=name) for name, values in under.items()], ignore_index=True)
    assert only(evaluate(claim(), scores, "test"))["protocol"] == "other"
    more = frame({"e": [3.0], "f": [3.0], "g": [3.0]}, name="test")
    line = only(evaluate(claim(), pd.concat([scores, more], ignore_index=True), "test"))
    assert (line["verdict"], line["reason"]) == (UNDECIDABLE, f"not scored under test: {augmented}")


def test_what_the_smallest_effect_presumes_is_said() -> None:
    links = ("T4-model-scaling/TransGAN-M/depth {5,2,2} dim 512", "T1-pairing/G=AutoGAN D=Transformer/no DA")
    one = dataclasses.replace(claim().claims["c"], smallest=claims.Because(1.0, "", links))
    scores = frame(dict(zip(GAIN, ([40.0, 41, 42], [19.0, 20, 21]), strict=True)))
    found = evaluate(dataclasses.replace(claim(), claims={"c": one}), scores, "test")
    assert only(found)["presumed"] == links[1], "the other one is verified"
    assert claims.table(found).frame["needed"].tolist() == [f"> 1 (presumes {links[1]})"]


def test_averaged_weights_belong_to_the_training_not_to_the_scoring() -> None:
    plain, augmented = GAIN
    scores = pd.concat(
        [frame({plain: [40.0, 41, 42]}, ema=False), frame({augmented: [19.0, 20, 21]}, ema=True)], ignore_index=True
    )
    assert only(evaluate(claim(), scores, "test"))["verdict"] == SUPPORTED


def test_partial_runs_are_compared_at_equal_lengths_only() -> None:
    values = dict(zip(GAIN, ([40.0, 41, 42], [19.0, 20, 21]), strict=True))
    line = only(evaluate(claim(), frame(values, nimg=500_000), "test"))
    assert (line["verdict"], line["images_seen"], line["whole"]) == (SUPPORTED, 500_000, False)
    plain, augmented = GAIN
    other = pd.concat(
        [frame({plain: values[plain]}, nimg=500_000), frame({augmented: values[augmented]}, nimg=900_000)],
        ignore_index=True,
    )
    assert "different lengths" in only(evaluate(claim(), other, "test"))["reason"]
    whole = pd.concat([frame({plain: values[plain]}), frame({augmented: values[augmented]}, nimg=9)], ignore_index=True)
    assert "whole runs beside partial" in only(evaluate(claim(), whole, "test"))["reason"]


def test_another_scale_has_rows_that_stand_for_the_paper_s() -> None:
    scores = frame({"short-transgan": [40.0, 41, 42], "t2-transgan-diffaug": [19.0, 20, 21]}, nimg=500_000)
    assert only(evaluate(claim(), scores, "short"))["verdict"] == SUPPORTED
    assert only(evaluate(claim(), scores, "test"))["verdict"] == UNDECIDABLE


def test_another_scale_may_have_another_smallest_effect() -> None:
    scores = frame({"short-transgan": [40.0, 41, 42], "t2-transgan-diffaug": [19.0, 20, 21]}, nimg=500_000)
    one = claim()
    own = dataclasses.replace(one.claims["c"], smallest_at={"short": claims.Because(30, "")})
    found = only(evaluate(dataclasses.replace(one, claims={"c": own}), scores, "short"))
    assert (found["verdict"], found["smallest"]) == (CONTRADICTED, 30)


def test_a_scale_may_ask_a_question_of_its_own() -> None:
    scores = frame(dict(zip(GAIN, ([40.0, 41, 42], [19.0, 20, 21]), strict=True)))
    one = claim()
    both = {"c": one.claims["c"], "own": dataclasses.replace(one.claims["c"], only_at=("short",))}
    two = dataclasses.replace(one, claims=both)
    assert [list(evaluate(two, scores, scale)["claim"]) for scale in ("paper", "short")] == [["c"], ["c", "own"]]


def test_the_table_says_what_could_be_decided() -> None:
    scores = frame(dict(zip(GAIN, ([40.0, 41, 42], [19.0, 20, 21]), strict=True)))
    table = claims.table(evaluate(claim(), scores, "test"))
    assert table.frame["needed"].tolist() == ["> 1"]
    assert table.frame["decidable"].iloc[0].startswith("± ")
    assert table.note == "1 supported, 0 contradicted, 0 undecidable"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contrasts": {"x": {"t1-autogan-autogan": 1}}}, "coefficients sum to 1"),
        ({"contrasts": {"x": {"t1-autogan-auto": 1, "t4-transgan-s": -1}}}, "unknown experiment 't1-autogan-auto'"),
        ({"contrasts": {}}, "has no contrast"),
        ({"smallest": {"value": ".inf", "because": ""}}, "smallest"),
        ({"smallest": {"value": 1, "because": "", "rests_on": ["T1-pairng/x"]}}, "smallest.rests_on: no ledger row"),
        ({"smallest_at": {"shrot": {"value": 1, "because": ""}}}, "no scale 'shrot' under `scales`"),
        ({"only_at": ["shrot"]}, "claims.c.only_at: no scale 'shrot' under `scales`"),
        ({"metric": "fids"}, "metric"),
    ],
)
def test_a_claim_that_cannot_be_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    one = yaml.safe_load(CHECKOUT.claims.read_text())["claims"]["t1-generator"] | {"smallest_at": {}} | change
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump({"level": {"value": 0.95, "because": ""}, "scales": {}, "claims": {"c": one}}))
    with pytest.raises(HarnessError, match=message):
        claims.load(path, KNOWN, LEDGER)


# ---------------------------------------------------------------- how sure, and how many seeds more


@pytest.mark.parametrize(("d", "seeds"), [(0.5, 64), (0.8, 26), (1.0, 17), (1.2, 12)])
def test_seeds_needed_are_cohens_table(d: float, seeds: int) -> None:
    """Two groups of one sd, two-sided 5 %, power 80 % (Cohen 1988, table 2.4.1)."""
    assert claims.seeds_needed([1.0, 1.0], d, 0.95) == seeds


def test_seeds_needed_decide_as_often_as_they_say() -> None:
    """A difference of differences with unequal spreads, simulated at the number of seeds and at a third of it."""
    parts = {"a": 1.0, "b": -1.0, "c": -1.0, "d": 1.0}
    sds = {"a": 1.0, "b": 2.0, "c": 0.5, "d": 1.0}
    needed = claims.seeds_needed(list(sds.values()), 3.0, 0.95)
    assert needed is not None
    rng = np.random.default_rng(0)

    def power(n: int) -> float:
        draws = [{name: list(rng.normal(0, sds[name], n)) for name in parts} for _ in range(600)]
        return float(np.mean([claims.contrast_interval(one, parts, 0.95).low > -3 for one in draws]))

    assert power(needed) == pytest.approx(claims.POWER, abs=0.06)
    assert power(max(2, needed // 3)) < 0.6


def test_an_undecidable_claim_says_how_many_seeds_would_decide() -> None:
    scores = frame({"t1-transgan-transgan": [20.0, 24.0, 22.0], "t2-transgan-diffaug": [19.0, 22.0, 20.0]})
    line = only(evaluate(claim(2.0, gain=GAIN), scores, "paper"))
    assert line["verdict"] == UNDECIDABLE
    sds = [float(np.std(values, ddof=1)) for values in ([20.0, 24.0, 22.0], [19.0, 22.0, 20.0])]
    assert line["seeds_needed"] == claims.seeds_needed(sds, 2.0, 0.95)
    assert claims.table(evaluate(claim(2.0, gain=GAIN), scores, "paper")).frame["seeds needed"][0].isdecimal()
    any_gain = only(evaluate(claim(0.0, gain=GAIN), scores, "paper"))
    assert any_gain["seeds_needed"] == claims.seeds_needed(sds, any_gain["effect"], 0.95)


def test_nobody_knows_how_many_seeds_where_one_was_run_or_none_is_needed() -> None:
    one = frame({"t1-transgan-transgan": [20.0], "t2-transgan-diffaug": [19.0]})
    decided = frame({"t1-transgan-transgan": [20.0, 20.1, 20.2], "t2-transgan-diffaug": [10.0, 10.1, 10.2]})
    for scores in (one, decided):
        found = evaluate(claim(1.0, gain=GAIN), scores, "paper")
        assert pd.isna(only(found)["seeds_needed"])
        assert claims.table(found).frame["seeds needed"][0] == "—"


def test_seeds_that_agree_by_chance_are_no_surer_than_their_evaluations() -> None:
    """The sd of evaluation (0.5 by its interval) stands in for an sd of 0.01 over seeds; a wider one stays."""
    half = 0.5 * 2.262157
    values = {"t1-transgan-transgan": [20.0, 20.01, 20.02], "t2-transgan-diffaug": [18.0, 18.01, 18.02]}
    sure = only(evaluate(claim(1.0, gain=GAIN), frame(values), "paper"))
    known = frame(values, fid_interval=(20 - half, 20 + half))
    unsure = only(evaluate(claim(1.0, gain=GAIN), known, "paper"))
    assert sure["verdict"] == SUPPORTED
    assert unsure["verdict"] == UNDECIDABLE
    assert unsure["decidable"] == pytest.approx(stats.t.ppf(0.975, 4) * 0.5 * (2 / 3) ** 0.5, rel=1e-4)
    spread = {name: [v * 10 for v in part] for name, part in values.items()}  # sd 0.1
    narrow = frame(spread, fid_interval=(199.9, 200.1))
    same = frame(spread)
    assert only(evaluate(claim(1.0, gain=GAIN), narrow, "paper"))["low"] == pytest.approx(
        only(evaluate(claim(1.0, gain=GAIN), same, "paper"))["low"]
    )
