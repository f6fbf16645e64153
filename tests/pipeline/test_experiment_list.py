"""The list of what can be run."""

import pytest

from harness.errors import HarnessError
from harness.paths import Checkout
from harness.pipeline import experiment_list
from tests.paths import ROOT


def test_every_experiment_with_its_scales_length_and_ledger_rows() -> None:
    found = {row["name"]: row for row in experiment_list.rows(Checkout(ROOT))}
    quick = found["quick-cifar10-sngan"]
    assert (quick["images"], quick["scales"], quick["reported"]) == (256, {"quick": 1}, [])
    assert "T5-cifar10-comparison/SN-GAN" in found["cifar10-sngan"]["reported"]
    assert found["celeba-transgan-xl-checkpoint"]["images"] == 0
    text = experiment_list.table(list(found.values()))
    assert len(text.splitlines()) == len(found) + 1


def test_some_of_them() -> None:
    rows = experiment_list.rows(Checkout(ROOT), scale="quick")
    assert {row["dataset"] for row in rows} == {"standin-cifar10", "standin-stl10", "standin-celeba"}
    assert {row["dataset"] for row in experiment_list.rows(Checkout(ROOT), dataset="stl10")} == {"stl10"}
    with pytest.raises(HarnessError, match="Did you mean 'quick'"):
        experiment_list.rows(Checkout(ROOT), scale="quik")
    with pytest.raises(HarnessError, match="unknown data set"):
        experiment_list.rows(Checkout(ROOT), dataset="nothing")
