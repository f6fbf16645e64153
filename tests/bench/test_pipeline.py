"""The pipeline bench: an up-to-date copy without any training, and what its record says."""

import shutil
from pathlib import Path

import pytest

from harness.bench import pipeline
from harness.bench.pipeline import Command
from harness.errors import HarnessError
from harness.files import read_json
from harness.paths import Checkout
from tests.paths import ROOT

NOTHING = (Command("dvc repro, nothing to do", ("dvc", "repro"), "", 1e9, "Running stage"),)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The project's pipeline files of the scale at the root, without the others."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", "data/dvc.yaml", "data/params.yaml", ".dvc/config"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "experiments", root / "experiments")
    (root / "results/reported").mkdir(parents=True)
    (root / "results/history.csv").write_text("\n")
    return Checkout(root)


@pytest.mark.slow
def test_a_repro_of_the_copy_runs_nothing(checkout: Checkout, tmp_path: Path) -> None:
    record = pipeline.run(tmp_path, checkout, NOTHING, rounds=1)
    assert read_json(tmp_path / "pipeline.json") == record
    (row,) = record["commands"]
    assert row["sec"] > 0
    assert record["stages"]["dvc.yaml"] > 40
    assert "dvc repro, nothing to do" in (tmp_path / "pipeline.md").read_text()
    assert not (checkout.root / "dvc.lock").exists(), "the checkout itself is not touched"


@pytest.mark.slow
def test_a_repro_that_would_run_something_is_no_measurement(checkout: Checkout, tmp_path: Path) -> None:
    pipeline.up_to_date_copy(checkout, tmp_path)
    (tmp_path / "results/quick/tables/placeholder").write_text("other\n")
    with pytest.raises(HarnessError, match="Running stage 'tables'"):
        pipeline.seconds(Command("", ("dvc", "repro", "--dry"), "", None, "Running stage"), tmp_path)


def test_a_command_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"`json\.tool nowhere`"):
        pipeline.seconds(Command("", ("json.tool", "nowhere")), tmp_path)
    sec, cpu_sec = pipeline.seconds(Command("", ("json.tool", "--help")), tmp_path)
    assert sec > 0
    assert cpu_sec > 0


def test_the_table_has_targets_and_machine() -> None:
    row = {"command": "a", "sec": 6.0, "cpu_sec": 5.0, "target_sec": 5.0, "reached": False}
    machine = {"cpu": "x", "cpu_count": 2, "load_average_before": [0.5], "packages": {"dvc": "3"}}
    text = pipeline.markdown({"rounds": 3, "stages": {"dvc.yaml": 4}, "commands": [row], "machine": machine})
    assert "| a | 6.00 | 5.00 | 5 | no |" in " ".join(text.split())
    assert "4 in dvc.yaml" in text
