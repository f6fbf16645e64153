"""`harness launch` as a command line."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import cli
from harness.files import locked
from tests.cluster.helpers import toy


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(toy(tmp_path))
    return tmp_path


@pytest.mark.parametrize("line", [[], ["--jobs", "2", "--address", "auto"], ["--jobs", "0"], ["--gpus", "1"]])
def test_a_wrong_command_line_is_told_apart(folder: Path, line: list[str]) -> None:
    assert cli.run(["launch", *line]) == 64
    assert not (folder / ".launch").exists()


def test_a_dry_run_says_what_is_stale_and_starts_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["launch", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "stale    make (1 CPU, 0 GPU, 4 GiB): " in said
    assert "\n5 stages: 5 stale, 0 may run, 0 up to date.\n" in said
    assert said.endswith("Longest chain: 3 stages: make > left > join.\n")
    assert not (folder / ".launch").exists()
    assert not (folder / "a.txt").exists()


def test_without_ray_it_says_what_to_type(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.run(["launch", "--jobs", "2"]) == 2
    assert "pip install -c constraints.txt -e '.[launch]'" in capsys.readouterr().err
    assert not (folder / "a.txt").exists()


def test_a_ray_that_does_not_start_is_a_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def init(**_: object) -> None:
        raise Exception("The current node timed out during startup.")  # Ray's own type and words

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    assert cli.run(["launch", "--jobs", "2"]) == 2
    assert "Ray does not start: The current node timed out" in capsys.readouterr().err
    assert not (folder / "a.txt").exists()


def test_a_launch_beside_another_one_is_refused(folder: Path) -> None:
    with locked(folder / ".launch/driver.lock"):
        line = [sys.executable, "-m", "harness", "launch", "--jobs", "1"]
        done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is working here" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in (folder / ".launch").iterdir()] == ["driver.lock"]
    assert not (folder / "a.txt").exists()


@pytest.mark.parametrize(
    ("line", "said"), [(["nowhere.yaml"], "nowhere.yaml"), (["make", "nothing@here"], "nothing@here")]
)
def test_an_unknown_target_is_refused(
    folder: Path, line: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["launch", "--jobs", "1", *line]) == 2
    assert said in capsys.readouterr().err


def test_a_misspelt_resource_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "resources.yaml").write_text("default: {gpu: 1}\n")
    assert cli.run(["launch", "--dry-run"]) == 2
    assert "gpus" in capsys.readouterr().err
