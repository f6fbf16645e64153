"""Which scores may be held against which rows: every difference is named, every presumption priced."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.comparison import protocols, reported
from harness.comparison.protocols import Comparability, compare
from harness.config import schema
from harness.records import results
from harness.records.score_record import ScoreRecord
from tests.records.score_trees import score


@pytest.fixture(scope="module")
def book() -> reported.Ledger:
    return reported.load()


def row(**changes: Any) -> dict[str, Any]:
    return results.row(score(**changes), Path("score.json"))


def against(
    book: reported.Ledger,
    link: str,
    metric: str = "fid",
    of: str = "cifar10",
    released: bool = False,
    **changes: Any,
) -> Comparability:
    rows = reported.find(book, link)
    line = rows[(rows["metric"] == metric) & (rows["dataset"] == of)].iloc[0]
    protocol = book.protocols[line["protocol"]]
    return compare(row(**changes), metric, line["value"], of, line["resolution"], protocol, book, released)


AUTOGAN = "autogan-cifar10/AutoGAN-top1"
TRANSGAN_S = "T4-model-scaling/TransGAN-S/depth {5,2,2} dim 384"


def test_the_same_protocol_is_comparable(book: reported.Ledger) -> None:
    found = against(book, AUTOGAN)
    assert found.comparable
    assert found.presumed == "snapshot best or last"
    assert found.low == 12.42
    assert found.high == pytest.approx(12.42 * 1.05)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"stand_in_data": True, "dataset": "standin-cifar10"}, "dataset: stand-in data"),
        ({"stand_in_inception": True, "inception": "stand-in"}, "inception: stand-in"),
        ({"nimg": 500_000}, "partial run: 500000 of 80000000 images"),
        ({"layer": 768}, "layer: 768, reported 2048"),
        ({"inception": "trunk"}, "inception: trunk, reported official"),
        ({"n_fake": 10_000}, "n_fake: 10000, reported 50000"),
        ({"n_real": 10_000}, "n_real: 10000, reported 50000"),
        ({"split": "test"}, "split: test, reported train"),
        ({"dataset": "stl10", "resolution": 48}, "dataset: stl10, reported cifar10"),
        ({"resolution": 48}, "resolution: 48, reported 32"),
        ({"resizer": "clean-bicubic"}, "resizer: clean-bicubic, reported tf1-bilinear"),
        ({"ema": False}, "ema: False, reported True"),
        ({"dataset": None}, "dataset: not declared"),
    ],
)
def test_a_stated_difference_forbids_and_is_named(book: reported.Ledger, changes: dict[str, Any], field: str) -> None:
    found = against(book, AUTOGAN, **changes)
    assert not found.comparable
    assert found.reason.split("; ")[0] == field


def test_stylegan2_against_the_test_split_is_not_comparable(book: reported.Ledger) -> None:
    found = against(book, "T2-data-augmentation/StyleGAN v2/no DA")
    assert set(part.split(":")[0] for part in found.reason.split("; ")) == {"n_fake", "split", "n_real"}


def test_mimicry_needs_its_stretch(book: reported.Ledger) -> None:
    plain = against(book, "mimicry/SNGAN", ema=False)
    assert plain.reason.startswith("quantisation: uint8, rounded, reported uint8, min-max stretched")
    assert against(book, "mimicry/SNGAN", ema=False, quantisation="uint8, min-max stretched").comparable


def test_presumed_sample_count_widens_by_the_known_bias(book: reported.Ledger) -> None:
    """20,000 fakes score 0.6 to 1.2 above 50,000 (bias 20,000 to 40,000 per image count)."""
    at_50k = against(book, TRANSGAN_S)
    assert at_50k.comparable
    assert "n_fake 50000 or 20000" in at_50k.presumed
    share = 0.01 * 18.58  # resizer and quantisation, each way
    assert at_50k.low == pytest.approx(18.58 - 40_000 * 3e-5 - 2 * share)
    assert at_50k.high == pytest.approx(18.58 + 2 * share + 0.05 * 18.58)
    at_20k = against(book, TRANSGAN_S, n_fake=20_000)
    assert at_20k.high == pytest.approx(18.58 + 40_000 * 3e-5 + 2 * share + 0.05 * 18.58)
    assert not against(book, TRANSGAN_S, n_fake=10_000).comparable


def test_best_of_a_run_is_presumed_the_other_way_round(book: reported.Ledger) -> None:
    best = against(book, AUTOGAN, snapshot="best")
    assert (best.low, best.high) == (pytest.approx(12.42 * 0.95), 12.42)


def test_released_weights_need_no_snapshot(book: reported.Ledger) -> None:
    found = against(book, AUTOGAN, released=True)
    assert (found.low, found.high, found.presumed) == (12.42, 12.42, "")


def test_a_presumption_without_known_effect_forbids(book: reported.Ledger) -> None:
    changes = {"dataset": "celeba64", "resolution": 64, "split": "all", "crop": "center-178"}
    found = against(book, "abstract/TransGAN-XL/best", of="celeba", **changes)
    assert "crop: presumed none or center-178, effect unknown" in found.reason
    assert "n_real: reported unknown" in found.reason


def test_is_does_not_ask_for_the_reference_images(book: reported.Ledger) -> None:
    assert against(book, AUTOGAN, "is", split="test", n_real=10_000).comparable
    assert against(book, AUTOGAN, "is", is_splits=1).reason == "is_splits: 1, reported 10"


def frame(*scores: ScoreRecord) -> pd.DataFrame:
    return results.frame([results.row(value, Path("score.json")) for value in scores])


def experiment(*links: str, dataset: str = "cifar10") -> schema.Experiment:
    return schema.Experiment(dataset, {}, {}, "recipe", reported=links)


def test_seeds_are_put_together_and_scorers_kept_apart(book: reported.Ledger) -> None:
    scores = frame(score(seed=1, fid=12.5), score(seed=0, fid=12.1), score("clean", fid=21.0))
    known = {"sngan-cifar10": experiment(AUTOGAN)}
    lines = protocols.table(scores, known, book)
    assert list(lines["metric"]) == ["is", "fid"]  # of the clean score: nothing to hold against this row
    assert lines["values"].iloc[1] == "12.1 12.5"
    assert lines["seeds"].iloc[1] == 2


def test_clean_rows_are_answered_by_the_clean_scorer_only(book: reported.Ledger) -> None:
    scores = frame(
        score("clean", fid=21.0, split="test", dataset="cifar10-test", n_fake=10_000, n_real=10_000), score(fid=12.4)
    )
    known = {"sngan-cifar10": experiment("clean-fid/AutoGAN (config A)/clean")}
    lines = protocols.table(scores, known, book)
    assert list(lines["scorer"]) == ["clean"]
    assert lines["reason"].iloc[0] == "snapshot: last, reported checkpoint"


def test_a_link_means_the_row_of_its_own_data_set(book: reported.Ledger) -> None:
    stl10 = frame(score(dataset="stl10", resolution=48, split="train+unlabeled", n_real=105_000))
    known = {"sngan-cifar10": experiment("abstract/TransGAN-XL/best", dataset="stl10")}
    assert set(protocols.table(stl10, known, book)["reported"]) == {10.10, 25.32}


def test_unverified_rows_wait_to_be_asked_for(book: reported.Ledger) -> None:
    known = {"sngan-cifar10": experiment("T1-pairing/G=AutoGAN D=Transformer/no DA")}
    assert protocols.table(frame(score()), known, book).empty
    assert set(protocols.table(frame(score()), known, book, unverified=True)["confidence"]) == {"unverified"}
