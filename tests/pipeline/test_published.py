"""The committed results of scale `mini`: sound, of clean commits, and what the code of today would make again."""

import csv
import dataclasses
import hashlib
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from harness import provenance
from harness.config.experiments import open_scale
from harness.config.yaml_file import read_yaml
from harness.data.fetch import prepare
from harness.files import read_json
from harness.pipeline import contributed
from harness.training import experiment
from harness.training.loop import TrainingStopped
from tests.paths import ROOT

MINI = ROOT / "results" / "mini"
PROCESSOR = "AMD EPYC"
RECORDS = sorted(MINI.glob("records/**/*.json"))
BOTH = ("models", "baselines", "harness/networks")
DECIDE = {  # what decides a record of a kind, beside the recipe, options and versions that it names itself
    "train.json": (*BOTH, "harness/data", "harness/training"),
    "samples.json": (*BOTH, "harness/sampling"),
    "score": ("harness/metrics", "harness/data"),
}


def kind(path: Path) -> str:
    return path.name if path.name in DECIDE else "score"


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"git {arguments[0]}: {done.stderr.strip()}; a checkout with its history is needed")
    return done.stdout


def commits(name: str) -> list[str]:
    """Every commit that made a record of one kind."""
    made = {read_json(path)["provenance"]["git_commit"] for path in RECORDS if kind(path) == name}
    assert made
    assert None not in made
    return sorted(made)


def test_every_record_is_sound_and_of_a_clean_commit() -> None:
    found = contributed.examine(open_scale(MINI / "params.yaml"), MINI)
    assert set(found.findings.frame["finding"]) == {"sound"}
    assert {read_json(path)["provenance"]["git_dirty"] for path in RECORDS} == {False}


def test_the_lock_file_names_the_committed_files() -> None:
    """So that `dvc repro --allow-missing` goes on from it: nothing that is recorded runs again."""
    outs = [out for stage in read_yaml(MINI / "dvc.lock")["stages"].values() for out in stage.get("outs", ())]
    files = {MINI / out["path"]: out["md5"] for out in outs if (MINI / out["path"]).is_file()}
    assert len(files) > len(RECORDS) / 2
    assert {path: md5 for path, md5 in files.items() if hashlib.md5(path.read_bytes()).hexdigest() != md5} == {}


@pytest.mark.parametrize("name", DECIDE)
def test_every_commit_of_a_record_is_in_the_history(name: str) -> None:
    for commit in commits(name):
        assert git("merge-base", commit, "HEAD").strip() == commit


@pytest.mark.parametrize("name", DECIDE)
def test_nothing_that_decides_a_result_changed_between_the_commits_of_the_records(name: str) -> None:
    for one, other in pairwise(commits(name)):
        assert git("diff", "--stat", one, other, "--", *DECIDE[name]) == ""


@pytest.fixture(scope="module")
def packed(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the packed data sets that the scale trains on."""
    folder = tmp_path_factory.mktemp("packed")
    subprocess.run([sys.executable, str(shared_dir / "tools" / "unpack_cifar10.py"), str(folder)], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_DATA", str(folder))
        for name in {run.dataset for run in open_scale(MINI / "params.yaml").params.runs.values()}:
            prepare(name, folder / "data" / name, ROOT)
    return folder / "data"


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.skipif(
    not provenance.processor().startswith(PROCESSOR),
    reason=f"these trainings were made on {PROCESSOR}; on another processor the mean of 125 steps differs",
)
@pytest.mark.parametrize("path", sorted(MINI.glob("records/*/seed*/train/history.csv")), ids=lambda p: p.parts[-4])
def test_the_code_of_today_begins_each_training_alike(
    path: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first line of a history is the mean of 125 steps: another random number or another gradient shows in it.

    So does another processor: by a thousandth to a tenth on an Intel Xeon, with the same code. Records name theirs now.
    """
    rows = list(csv.DictReader(path.read_text().splitlines()))
    if not rows:
        return  # the untrained control
    scale = open_scale(MINI / "params.yaml")
    monkeypatch.setattr(type(scale.checkout), "data", lambda _, name: packed / name)
    scale = dataclasses.replace(scale, out=tmp_path / "out")
    with pytest.raises(TrainingStopped):
        experiment.train(
            path.parts[-4],
            int(path.parts[-3].removeprefix("seed")),
            scale=scale,
            checkpoints=tmp_path / "checkpoints",
            stop_nimg=int(rows[0]["nimg"]),
        )
    (again,) = (list(csv.DictReader(p.read_text().splitlines())) for p in tmp_path.glob("checkpoints/**/history.csv"))
    for name in ("discriminator_loss", "generator_loss", "penalty", "discriminator_grad_norm"):
        assert float(again[0][name]) == pytest.approx(float(rows[0][name]), rel=1e-3), name
