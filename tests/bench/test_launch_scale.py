"""The bench of a whole scale: both ways run from nothing, and what they made is held against each other."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.bench import launch_scale as bench
from harness.errors import HarnessError
from harness.files import read_json
from harness.paths import Checkout
from tests.paths import ROOT

LAUNCH = "import sys; sys.path.insert(0, %r)\nfrom tests.cluster.helpers import launch\nfrom pathlib import Path\n"
STAGES: dict[str, Any] = {
    "plan": {"cmd": "date +%s%N > plan.txt", "outs": ["plan.txt"]},  # differs from run to run
    "sample": {
        "cmd": "mkdir -p samples && grep threads params.yaml > samples/a.npy",
        "deps": ["plan.txt"],
        "outs": ["samples"],
    },
}


def checkout(folder: Path, stages: dict[str, Any] = STAGES) -> Checkout:
    """A commit with two stages."""
    folder.mkdir()
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (folder / "params.yaml").write_text("scale: quick\nthreads: 2\n")
    for line in (
        ("git", "init", "--quiet"),
        (sys.executable, "-m", "dvc", "init", "--quiet"),
        ("git", "add", "--all"),
        ("git", "-c", "user.name=n", "-c", "user.email=e@x", "commit", "--quiet", "--message", "m"),
    ):
        subprocess.run(line, cwd=folder, check=True)
    return Checkout(folder)


def command(then: str) -> tuple[str, ...]:
    return (sys.executable, "-c", LAUNCH % str(ROOT) + then, "launch", "--jobs", "2")


def test_both_run_from_nothing_with_the_threads_asked_for(tmp_path: Path) -> None:
    line = command("sys.exit(launch(Path.cwd())[0])")
    record = bench.run(tmp_path / "out", checkout(tmp_path / "c"), line, threads=3)
    assert read_json(tmp_path / "out/launch-quick.json") == record
    assert [row["what"] for row in record["rows"]] == ["dvc repro", "harness launch --jobs 2"]
    compared = record["compared"]
    assert (compared["stages"], compared["outputs"], compared["equal_outputs"]) == (2, 2, 1)
    assert (compared["weights_and_dumps"], compared["different_outputs"]) == (1, ["plan.txt"])
    assert "| dvc repro " in (tmp_path / "out/launch-quick.md").read_text()


@pytest.mark.slow
def test_a_launch_that_leaves_stages_to_dvc_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="dvc repro ran stages after"):
        bench.run(tmp_path / "none", checkout(tmp_path / "c"), command("pass"), threads=1)
    assert not (tmp_path / "none").exists()


def entry(path: str, md5: str) -> dict[str, Any]:
    return {"cmd": "c", "outs": [{"path": path, "md5": md5, "size": 1}]}


def test_other_numbers_or_other_stages_are_no_measurement() -> None:
    same = {"dvc.lock:a": entry("samples", "1")}
    assert bench.compare(same, same)["weights_and_dumps"] == 1
    with pytest.raises(HarnessError, match="other numbers: samples"):
        bench.compare(same, {"dvc.lock:a": entry("samples", "2")})
    for other in ({}, same | {"dvc.lock:b": entry("x", "1")}, {"dvc.lock:a": entry("samples", "1") | {"cmd": "d"}}):
        with pytest.raises(HarnessError, match=r"disagrees on dvc\.lock:"):
            bench.compare(same, other)
