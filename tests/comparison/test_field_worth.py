"""What protocol fields are worth, in words: changes in percent, counts without an interval, stand-ins labelled."""

from pathlib import Path
from typing import Any

import pytest

from harness.comparison import field_worth
from harness.comparison.table_formats import NONE
from harness.files import write_json
from harness.paths import Checkout

ROWS: list[dict[str, Any]] = [
    {"field": "resizer", "says": "pil-bicubic", "instead_of": "tf1-bilinear", "metric": "fid"},
    {"field": "resizer", "says": "pil-bicubic", "instead_of": "tf1-bilinear", "metric": "is"},
    {"field": "n_fake", "says": "1,000", "instead_of": "5,000", "metric": "fid"},
    {"field": "is_splits", "says": "1", "instead_of": "10", "metric": "is"},
]
MOVES = ((-0.01, -0.4, 0.0), (0.02, 0.02, 0.06), (0.5, None, None), (-1e-9, -1e-9, 1e-9))
RECORD: dict[str, Any] = {
    "experiment": "e",
    "seed": 0,
    "snapshot": "last",
    "nimg": 16000,
    "dataset": "tiny",
    "resolution": 16,
    "reference": "reals",
    "n_fake": 5000,
    "n_real": 10000,
    "inception": "stand-in",
    "layer": 2048,
    "fid": 20.0,
    "is": 2.0,
    "rows": [
        row | {"score": before * (1 + share), "change": before * share, "share": share, "low": low, "high": high}
        for row, (share, low, high) in zip(ROWS, MOVES, strict=True)
        for before in (20.0 if row["metric"] == "fid" else 2.0,)
    ],
}
WITHOUT_LOGITS = RECORD | {"layer": 768, "inception": "trunk", "is": None} | {"rows": RECORD["rows"][::2]}


def test_a_row_has_each_metric_that_the_field_moves_in_percent() -> None:
    frame = field_worth.table(RECORD).frame
    assert list(frame) == ["field", "says", "instead of", "FID", "FID, 95 %", "IS", "IS, 95 %"]
    assert frame.to_numpy().tolist() == [
        ["resizer", "pil-bicubic", "tf1-bilinear", "-1.00%", "-2.00% to +0.00%", "+2.00%", "+1.00% to +3.00%"],
        ["n_fake", "1,000", "5,000", "+50.00%", "not paired", NONE, NONE],
        ["is_splits", "1", "10", NONE, NONE, "+0.00%", "+0.00% to +0.00%"],
    ]


def test_a_network_without_logits_has_no_inception_score() -> None:
    table = field_worth.table(WITHOUT_LOGITS)
    assert list(table.frame) == ["field", "says", "instead of", "FID", "FID, 95 %"]
    assert (len(table.frame), table.title) == (2, "trunk Inception at 768 channels")


def test_each_table_says_what_was_measured_and_stand_ins_are_labelled(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    assert field_worth.tables(checkout) == []
    for record in (RECORD, WITHOUT_LOGITS):
        write_json(checkout.bench / f"effects-{record['layer']}.json", record)
    trunk, stand_in = field_worth.tables(checkout)
    assert (trunk.name, stand_in.name) == ("effects-768", "effects-2048")
    assert "STAND-IN" in stand_in.title
    assert "STAND-IN" not in trunk.title
    for words in (
        "of e, seed 0, snapshot last (16,000 images of tiny seen), 16 px",
        "trunk Inception at 768",
        "20.000.",
    ):
        assert words in trunk.note


@pytest.mark.parametrize("share", [0.123456, -0.5])
def test_a_change_has_its_sign(share: float) -> None:
    moved = RECORD | {"rows": [ROWS[0] | {"share": share, "low": None, "high": None}]}
    assert field_worth.table(moved).frame["FID"].tolist() == [f"{share:+.2%}"]
