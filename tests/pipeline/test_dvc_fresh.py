"""DVC in a clone that nothing was run in: what would run, what is missing, and no link that a clone could lose."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.bench.pipeline import COPIED
from tests.paths import ROOT
from tests.pipeline.test_dvc import run

SCALES = ("dvc.yaml", *(f"results/{name}/dvc.yaml" for name in ("short", "checkpoints", "paper")))


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The pipeline files, without data or results."""
    for path in (path for pattern in COPIED for path in ROOT.glob(pattern)):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if path.is_dir() else shutil.copy)(path, target)
    assert run(tmp_path, "dvc", "init", "--no-scm", "-q").returncode == 0
    return tmp_path


def content(folder: Path) -> dict[str, str]:
    """Hashes of all files but DVC's own."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".dvc" not in path.parts]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("pipeline", [pytest.param(name, marks=pytest.mark.slow) for name in SCALES])
def test_what_would_run_is_listed_before_anything_is_there(clone: Path, pipeline: str) -> None:
    """Every stage of the scale and those that pack its data, with their commands; nothing is run or written."""
    before = content(clone)
    done = run(clone, "dvc", "repro", "--dry", "--force", pipeline)
    assert done.returncode == 0, done.stderr[-2000:]
    stages = re.findall(r"Running stage '([^']+)'", done.stdout)
    own = [name for name in stages if not name.startswith("data/")]
    listed = run(clone, "dvc", "stage", "list", pipeline, "--name-only").stdout.split()
    assert sorted(own) == sorted(listed)
    assert any(name.startswith("data/dvc.yaml:") for name in stages)
    assert len(re.findall(r"^> harness ", done.stdout, re.MULTILINE)) == len(stages)
    assert content(clone) == before


@pytest.mark.slow
def test_without_data_one_sentence_says_what_is_missing(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And how to get it. The download is tried, and fails: its proxy is a closed port."""
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    done = run(clone, "dvc", "repro", "results/paper/dvc.yaml")
    assert done.returncode != 0
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "cifar10: the official download failed" in error
    assert "Get cifar-10-python.tar.gz by other means" in error
    assert error.endswith("set HARNESS_DATA to that folder.")
    for name in ("cifar10", "stl10", "celeba64"):  # `plan`, which ran before, names all that is missing
        assert f"warning: {name}: neither packed nor in HARNESS_DATA" in done.stderr


def test_no_file_is_a_link() -> None:
    """Windows, CIFS and zip files make plain files of links, and DVC then reads a path where YAML should be."""
    done = subprocess.run(["git", "ls-files", "--stage"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("no git repository")
    lines = done.stdout.splitlines()
    assert len(lines) > 100
    assert [line for line in lines if line.startswith("120000")] == []


@pytest.mark.slow
def test_a_clone_without_links_has_all_scales(tmp_path: Path) -> None:
    words = ["git", "clone", "--quiet", "-c", "core.symlinks=false", str(ROOT), str(tmp_path / "clone")]
    if subprocess.run(words, check=False).returncode != 0:
        pytest.skip("no git repository")
    for scale in SCALES:
        done = run(tmp_path / "clone", "dvc", "stage", "list", scale, "--name-only")
        assert done.returncode == 0, done.stderr
        assert "report" in [line.rsplit(":", 1)[-1] for line in done.stdout.split()]
