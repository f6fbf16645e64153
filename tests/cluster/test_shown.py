"""What `harness status` tells of a launch."""

import json
from pathlib import Path

import pytest

from harness import cli
from harness.cluster import attempt_folder as state
from harness.cluster.shown import Shown, last_launch
from harness.files import locked
from tests.cluster.helpers import Processes, launch, toy


class Watched(Processes):
    """Notes what the last launch is said to do while a stage runs."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.seen = folder, []

    def wait(self, timeout: float):
        over = super().wait(timeout)
        if not over and self.running:
            self.seen = [(row.name, row.state, row.attempt, bool(row.host)) for row in last_launch(self.folder)]
        return over


def test_stages_at_work_stand_last_and_only_the_last_launch_counts(tmp_path: Path) -> None:
    assert last_launch(tmp_path) == []
    stages = {
        "a": {"cmd": "exit 1", "outs": ["a.txt"]},
        "b": {"cmd": "sleep 1; echo > b.txt", "outs": ["b.txt"]},
    }
    folder = toy(tmp_path, {"stages": stages})
    engine = Watched(folder)
    assert launch(folder, engine)[0] == 1
    assert engine.seen == [("a", "failed", 1, True), ("b", "running", 1, True)]
    (folder / "dvc.yaml").write_text((folder / "dvc.yaml").read_text().replace("exit 1", "echo > a.txt"))
    assert launch(folder)[0] == 0
    assert {row.name: row.state for row in last_launch(folder)} == {"a": "recorded", "b": "up to date"}


def test_what_a_killed_launch_left_is_interrupted(tmp_path: Path) -> None:
    row = Shown(name="a", folder=tmp_path / ".launch/a", gpus=1, state="queued", attempt=1)
    row.folder.mkdir(parents=True)
    with locked(tmp_path / ".launch/driver.lock"):
        pass
    events = [row.event() | {"launch": 1.0}]
    (tmp_path / ".launch/events.jsonl").write_text(json.dumps(events[0]) + '\n{"half')
    state.write(row.folder / "running.json", {"attempt": 1, "host": "n", "started": 5.0})
    assert [(one.state, one.host) for one in last_launch(tmp_path)] == [("interrupted", "n")]
    with locked(tmp_path / ".launch/driver.lock"):
        assert [one.state for one in last_launch(tmp_path)] == ["running"]


def test_status_shows_it_below_the_scale(
    tiny_scale: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tiny_scale)
    assert cli.run(["status"]) == 0
    assert "last launch" not in capsys.readouterr().out
    folder = tiny_scale / ".launch"
    folder.mkdir()
    one = Shown(name="train@e", folder=folder, gpus=1, state="failed", attempt=2, note="exit 9")
    (folder / "events.jsonl").write_text(json.dumps(one.event() | {"launch": 1.0}) + "\n")
    assert cli.run(["status"]) == 0
    said = capsys.readouterr().out
    assert said.index("last launch of this checkout") < said.index("train@e") < said.index("exit 9")
