"""Reported rows under the protocol of their source: every one that can be is planned, and the count is on record."""

from pathlib import Path

import pytest

from harness.paths import Checkout
from harness.pipeline import coverage
from tests.paths import ROOT


@pytest.fixture(scope="module")
def found() -> list[coverage.Row]:
    return coverage.rows(Checkout(ROOT))


def test_every_row_whose_source_states_its_protocol_is_planned_or_cannot_be(found: list[coverage.Row]) -> None:
    assert all(row.scale or row.reason for row in found)
    could = [row for row in found if row.reason.startswith(("not planned", "no entry"))]
    assert could == []


def test_the_rows_that_the_paper_quotes(found: list[coverage.Row]) -> None:
    by_name = {(row.row, row.dataset, row.metric): row for row in found}
    stylegan = by_name["T2-data-augmentation/StyleGAN v2/no DA", "cifar10", "fid"]
    assert (stylegan.state, stylegan.protocol, stylegan.scale) == ("stated", "stylegan2-10k-test", "paper")
    release = next(row for row in found if row.row.startswith("released-checkpoint/"))
    assert (release.state, release.protocol, release.scale) == ("stated", "transgan-release", "checkpoints")
    sngan = by_name["T5-cifar10-comparison/SN-GAN", "cifar10", "fid"]
    assert (sngan.state, sngan.scale) == ("unknown", "")
    assert "split" in sngan.reason


@pytest.mark.parametrize("name", coverage.FILES)
def test_the_committed_count_is_fresh(found: list[coverage.Row], name: str) -> None:
    assert (ROOT / "results/bench" / name).read_text() == coverage.files(found)[name], (
        "run `harness protocols --coverage --write`"
    )


def test_a_row_that_could_be_planned_is_named(found: list[coverage.Row], tmp_path: Path) -> None:
    """With the row's protocol taken out of the suite."""
    for name in ("experiments", "results/reported"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / "experiments").mkdir()
    for path in (ROOT / "experiments").iterdir():
        if path.name != "suites":
            (tmp_path / "experiments" / path.name).symlink_to(path)
    (tmp_path / "results/reported").symlink_to(ROOT / "results/reported")
    (tmp_path / "experiments/suites").mkdir()
    for path in (ROOT / "experiments/suites").iterdir():
        text = path.read_text().replace("protocols: [stylegan2-10k-test]", "protocols: []")
        (tmp_path / "experiments/suites" / path.name).write_text(text)
    missing = [row for row in coverage.rows(Checkout(tmp_path)) if row.reason.startswith("not planned")]
    assert "not planned: add `stylegan2-10k-test` to t2-stylegan2" in {row.reason for row in missing}
    assert len(missing) > 1
