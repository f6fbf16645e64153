"""Claims that test runs verified, as README and page list them."""

from pathlib import Path

import pytest

from harness.comparison import verified
from harness.files import write_json
from harness.paths import Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    held = {
        "exact: b@32": True,
        "exact: a@32": True,
        "exact: c@32": False,
        "resume is exact": True,
        "a late one": False,
    }
    write_json(tmp_path / "results/verified.json", {name: {"holds": value} for name, value in held.items()})
    return Checkout(tmp_path)


def test_what_holds_comes_first_and_exact_models_are_one_claim(checkout: Checkout) -> None:
    assert verified.claims(checkout) == [
        ("forward pass equals the golden numbers: a@32, b@32", True),
        ("resume is exact", True),
        ("forward pass equals the golden numbers: c@32", False),
        (f"{verified.SELF_TEST}: `harness score --self-test`", False),
        ("a late one", False),
    ]


def test_a_self_test_says_what_it_found(checkout: Checkout) -> None:
    figures = {"found": {"is_mean": 11.237, "fid": 0.0}, "known": {"is_mean": 11.24, "fid": 0.0}}
    write_json(checkout.self_test, figures | {"file": "x.pb", "sha256": "ab" * 32, "holds": True})
    found = dict(verified.claims(checkout))
    assert found[f"{verified.SELF_TEST}: 11.24 (known 11.24) and 0.00 (known 0.0), x.pb, sha256 abababababab"]


def test_without_a_recorded_test_run_there_is_no_claim(tmp_path: Path) -> None:
    assert verified.claims(Checkout(tmp_path)) == []
