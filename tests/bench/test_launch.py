"""The launch bench: what it times has run, and its record says under which conditions."""

from pathlib import Path

import pytest

from harness.bench import launch
from harness.errors import HarnessError
from harness.files import read_json
from harness.paths import Checkout
from tests.cluster.helpers import Processes
from tests.paths import ROOT


def test_every_stage_runs_and_is_counted(tmp_path: Path) -> None:
    record = launch.run(tmp_path, Checkout(ROOT), Processes, stages=3, serial=2)
    assert read_json(tmp_path / "launch.json") == record
    whole, locked, serial = record["rows"]
    assert 0 < locked["sec_a_stage"] < whole["sec_a_stage"]
    assert (whole["stages"], serial["stages"]) == (3, 2)
    assert serial["sec_a_stage"] > 0
    assert "| dvc repro | 2 | " in " ".join((tmp_path / "launch.md").read_text().split())


def test_stages_that_fail_are_no_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "COMMAND", "exit 1")
    with pytest.raises(HarnessError, match="not all stages ran"):
        launch.run(tmp_path, Checkout(ROOT), Processes, stages=1, serial=1)
    assert list(tmp_path.glob("launch.*")) == []
