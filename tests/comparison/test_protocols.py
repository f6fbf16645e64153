"""Which scores may be held against which rows: every difference is named, every presumption priced."""

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.comparison import protocols, reported
from harness.comparison.protocols import Comparability, compare
from harness.config import experiments, schema
from harness.records import results
from harness.records.score_record import Protocol, ScoreRecord
from tests.paths import ROOT
from tests.records.score_trees import score


@pytest.fixture(scope="module")
def ledger() -> reported.Ledger:
    return reported.load()


def row(**changes: Any) -> dict[str, Any]:
    return results.row(score(**changes), Path("score.json"))


def against(
    ledger: reported.Ledger,
    link: str,
    metric: str = "fid",
    of: str = "cifar10",
    released: bool = False,
    **changes: Any,
) -> Comparability:
    rows = reported.find(ledger, link)
    line = rows[(rows["metric"] == metric) & (rows["dataset"] == of)].iloc[0].to_dict()
    return compare(row(**changes), line, ledger, DATASETS, released)


DATASETS = experiments.load_datasets(ROOT)
AUTOGAN = "autogan-cifar10/AutoGAN-top1"
TRANSGAN_S = "T4-model-scaling/TransGAN-S/depth {5,2,2} dim 384"


def test_the_same_protocol_is_comparable(ledger: reported.Ledger) -> None:
    found = against(ledger, AUTOGAN)
    assert found.comparable
    assert (found.blocking, found.presumed, found.declared) == ({}, ("snapshot",), ())
    assert found.low == 12.42
    assert found.high == pytest.approx(12.42 * 1.05)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"stand_in_data": True, "dataset": "standin-cifar10"}, "stand_in_data: drawn pictures"),
        ({"stand_in_data": None}, "stand_in_data: unknown"),
        ({"stand_in_data": False, "dataset": "standin-cifar10"}, "stand_in_data: 'standin-cifar10' is drawn pictures"),
        ({"stand_in_inception": True, "inception": "stand-in"}, "stand_in_inception: random weights"),
        ({"nimg": 500_000}, "partial: 500000 of 80000000 images"),
        ({"layer": 768}, "layer: 768, reported 2048"),
        ({"inception": "trunk"}, "inception: trunk, reported official"),
        ({"n_fake": 10_000}, "n_fake: 10000, reported 50000"),
        ({"n_real": 10_000}, "n_real: 10000, reported 50000"),
        ({"split": "test"}, "split: test, reported train"),
        ({"dataset": "stl10", "resolution": 48}, "dataset: stl10, reported cifar10"),
        ({"resolution": 48}, "resolution: 48, reported 32"),
        ({"resizer": "clean-bicubic"}, "resizer: clean-bicubic, reported tf1-bilinear"),
        ({"ema": False}, "ema: False, reported True"),
        ({"dataset": None}, "dataset: unknown, reported cifar10"),
        ({"dataset": "cifar-10"}, "dataset: cifar-10, reported cifar10"),
        ({"resize": "bilinear"}, "resize: bilinear, 'cifar10' is none"),
        ({"resize": None}, "resize: unknown, 'cifar10' is none"),
        ({"ema": None}, "ema: unknown, reported True"),
        ({"n_real": None}, "n_real: unknown, reported 50000"),
        ({"real_pixels_sha256": "12" * 32}, "real_pixels_sha256: 121212121212, 'cifar10' is 47af8b02cfcf"),
        ({"real_pixels_sha256": None}, "real_pixels_sha256: unknown"),
    ],
)
def test_a_stated_difference_forbids_and_is_named(ledger: reported.Ledger, changes: dict[str, Any], field: str) -> None:
    found = against(ledger, AUTOGAN, **changes)
    assert not found.comparable
    assert field in [f"{name}: {words}" for name, words in found.blocking.items()]


def test_unknown_is_not_real() -> None:
    nothing = row() | dict.fromkeys(("stand_in_data", "stand_in_inception", "partial"))
    assert protocols.unfit(nothing) == dict.fromkeys(("stand_in_data", "stand_in_inception", "partial"), "unknown")


def test_stylegan2_against_the_test_split_is_not_comparable(ledger: reported.Ledger) -> None:
    found = against(ledger, "T2-data-augmentation/StyleGAN v2/no DA")
    assert set(found.blocking) == {"n_fake", "split", "n_real"}


def test_mimicry_needs_its_stretch(ledger: reported.Ledger) -> None:
    plain = against(ledger, "mimicry/SNGAN", ema=False)
    assert plain.blocking == {"quantisation": "uint8, rounded, reported uint8, min-max stretched"}
    assert against(ledger, "mimicry/SNGAN", ema=False, quantisation="uint8, min-max stretched").comparable


def test_presumed_sample_count_widens_by_the_known_bias(ledger: reported.Ledger) -> None:
    """20,000 fakes score 0.6 to 1.2 above 50,000 (bias 20,000 to 40,000 per image count)."""
    at_50k = against(ledger, TRANSGAN_S)
    assert at_50k.comparable
    assert "n_fake" in at_50k.presumed
    share = 0.01 * 18.58  # of resizer and quantisation upwards, of quantisation downwards
    assert at_50k.low == pytest.approx(18.58 - 40_000 * 3e-5 - share - 0.08 * 18.58), "the graph's resizer scores lower"
    assert at_50k.high == pytest.approx(18.58 + 2 * share + 0.05 * 18.58)
    at_20k = against(ledger, TRANSGAN_S, n_fake=20_000)
    assert at_20k.high == pytest.approx(18.58 + 40_000 * 3e-5 + 2 * share + 0.05 * 18.58)
    assert not against(ledger, TRANSGAN_S, n_fake=10_000).comparable


def test_best_of_a_run_is_presumed_the_other_way_round(ledger: reported.Ledger) -> None:
    best = against(ledger, AUTOGAN, snapshot="best")
    assert (best.low, best.high) == (pytest.approx(12.42 * 0.95), 12.42)


def test_released_weights_need_no_snapshot(ledger: reported.Ledger) -> None:
    found = against(ledger, AUTOGAN, released=True)
    assert (found.low, found.high, found.presumed) == (12.42, 12.42, ())


def test_a_presumption_without_known_effect_forbids(ledger: reported.Ledger) -> None:
    changes = {"dataset": "celeba64", "resolution": 64, "split": "all", "crop": "center-178"}
    found = against(ledger, "abstract/TransGAN-XL/best", of="celeba", **changes)
    assert found.blocking["crop"] == "presumed none or center-178, effect unknown"
    assert found.blocking["n_real"] == "50000, reported unknown"


def test_is_does_not_ask_for_the_reference_images(ledger: reported.Ledger) -> None:
    assert against(ledger, AUTOGAN, "is", split="test", n_real=10_000).comparable
    assert against(ledger, AUTOGAN, "is", is_splits=1).blocking == {"is_splits": "1, reported 10"}


def frame(*scores: ScoreRecord) -> pd.DataFrame:
    return results.frame([results.row(value, Path("score.json")) for value in scores])


def experiment(*links: str, dataset: str = "cifar10") -> schema.Experiment:
    return schema.Experiment(dataset, {}, {}, "recipe", reported=links)


def lines_of(ledger: reported.Ledger, *scores: ScoreRecord, link: str = AUTOGAN, **of: Any) -> pd.DataFrame:
    known = {"sngan-cifar10": experiment(link, **of)}
    return protocols.comparisons(frame(*scores), known, ledger, DATASETS)


def test_a_line_for_every_seed_and_scorers_kept_apart(ledger: reported.Ledger) -> None:
    lines = lines_of(ledger, score(seed=1, fid=12.5), score(seed=0, fid=12.1), score("clean", fid=21.0))
    assert set(lines["scorer"]) == {"tf"}  # of the clean score: nothing to hold against this row
    fid = lines[lines["metric"] == "fid"]
    assert (list(fid["seed"]), list(fid["measured"])) == ([0, 1], [12.1, 12.5])
    assert list(fid["presumed_fields"]) == [("snapshot",)] * 2


def test_clean_rows_are_held_against_the_clean_scorer_only(ledger: reported.Ledger) -> None:
    test_split = {"split": "test", "dataset": "cifar10-test", "n_fake": 10_000, "n_real": 10_000}
    scores = score("clean", fid=21.0, **test_split), score(fid=12.4)
    lines = lines_of(ledger, *scores, link="clean-fid/AutoGAN (config A)/clean")
    assert list(lines["scorer"]) == ["clean"]
    assert lines["reason"].iloc[0] == "snapshot: last, reported checkpoint"


def test_an_experiment_with_the_wrong_scorer_alone_is_not_passed_over(ledger: reported.Ledger) -> None:
    lines = lines_of(ledger, score("clean", fid=21.0))
    assert (list(lines["metric"]), list(lines["blocking_fields"])) == (["fid"], [("reported",)])


def test_a_link_means_the_row_of_its_own_data_set(ledger: reported.Ledger) -> None:
    stl10 = score(dataset="stl10", resolution=48, split="train+unlabeled", n_real=105_000)
    lines = lines_of(ledger, stl10, link="abstract/TransGAN-XL/best", dataset="stl10")
    assert set(lines["reported"]) == {10.10, 25.32}


def test_an_unverified_row_is_named_and_its_number_never_used(ledger: reported.Ledger) -> None:
    lines = lines_of(ledger, score(), link="T1-pairing/G=AutoGAN D=Transformer/no DA")
    assert set(lines["confidence"]) == {"unverified"}
    assert all("confidence" in fields for fields in lines["blocking_fields"])
    assert lines[["reported", "reported_low", "reported_high"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ([{}, {"seed": 1, "samples_sha256": "ab" * 32}, {"seed": 2, "samples_sha256": "ab" * 32}], "samples_sha256"),
        ([{"seed": 1, "weights_sha256": "ab" * 32}, {"seed": 2, "weights_sha256": "ab" * 32}], "weights_sha256"),
        ([{}, {"samples_sha256": "ab" * 32}, {"samples_sha256": "cd" * 32}], "seed"),
    ],
)
def test_seeds_that_are_one_training_block_all_of_them(
    ledger: reported.Ledger, changes: list[dict[str, Any]], field: str
) -> None:
    lines = lines_of(ledger, *(score(**one) for one in changes))
    assert all(field in fields for fields in lines["blocking_fields"])


def test_samples_of_released_weights_share_their_weights(ledger: reported.Ledger) -> None:
    shared = [score(seed=seed, weights_sha256="ab" * 32) for seed in (0, 1)]
    known = {"sngan-cifar10": schema.Experiment("cifar10", {}, {}, "transgan-checkpoint", reported=(AUTOGAN,))}
    lines = protocols.comparisons(frame(*shared), known, ledger, DATASETS)
    assert not any(lines["blocking_fields"])
    twice = [score(seed=seed, samples_sha256="ab" * 32) for seed in (0, 1)]
    lines = protocols.comparisons(frame(*twice), known, ledger, DATASETS)
    assert set(lines["blocking_fields"]) == {("samples_sha256",)}


def test_a_seed_without_a_score_that_others_have_is_kept_out_with_the_reason(ledger: reported.Ledger) -> None:
    lines = lines_of(ledger, score(), score(seed=1, fid=None))
    assert list(lines[lines["seed"] == 1]["blocking_fields"]) == [("fid",), ("fid",)]
    assert not any(lines[lines["seed"] == 0]["blocking_fields"])
    assert set(lines["metric"]) == {"fid", "is"}


def test_a_metric_that_no_seed_has_is_a_line_too(ledger: reported.Ledger) -> None:
    lines = lines_of(ledger, score(fid=None)).set_index("metric")
    assert lines.loc["fid", "reason"] == "fid: not scored"
    assert lines.loc["is", "blocking_fields"] == ()


def test_what_is_declared_is_marked_where_it_matters(ledger: reported.Ledger) -> None:
    declared = ("ema", "split", "is_bias")
    assert against(ledger, AUTOGAN, declared=declared).declared == ("ema", "split")
    assert against(ledger, AUTOGAN, "is", declared=declared).declared == ("ema", "is_bias")
    statistics = {"real_pixels_sha256": None, "declared": ("dataset",)}
    assert against(ledger, AUTOGAN, **statistics).comparable


# ---------------------------------------------------------------- every field


PERTURBED: dict[str, Any] = {"n_fake": 40_000, "resolution": 31, "n_real": 49_999, "layer": 768, "is_splits": 1}
PERTURBED |= {"ema": False, "is_bias": True, "stand_in_data": True, "stand_in_inception": True}
PERTURBED |= {"real_pixels_sha256": "12" * 32, "kid_subsets": 7, "kid_subset_size": 7}


@pytest.mark.parametrize("value", ["another", None])
@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Protocol)])
def test_every_field_of_a_protocol_changes_what_can_be_compared_or_is_irrelevant(
    ledger: reported.Ledger, name: str, value: str | None
) -> None:
    """A new field of the score record that nobody compares fails here."""
    treated = Protocol.__dataclass_fields__[name].metadata
    metrics = treated["metrics"]
    assert bool(metrics) != bool(treated.get("because"))
    for metric in ("fid", "is"):
        measured = row() | {name: PERTURBED.get(name, value) if value else None}
        line = reported.find(ledger, AUTOGAN).set_index("metric", drop=False).loc[metric].to_dict()
        found = compare(measured, line, ledger, DATASETS)
        assert (name in found.blocking) == (metric in metrics), f"{metric}: {found.blocking}"
