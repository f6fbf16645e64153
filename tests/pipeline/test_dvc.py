"""The pipeline as a user runs it: `dvc repro` in a folder of its own, then only what changed runs again."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from harness.paths import Checkout
from harness.pipeline import suite
from tests.conftest import tiny_root
from tests.paths import ROOT

SCORERS = ("tf", "clean")


def environment(folder: Path) -> dict[str, str]:
    """This interpreter's scripts first on PATH, and a cache of the folder's own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "HARNESS_CACHE": str(folder / ".cache")}


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False, timeout=900
    )


def repro(folder: Path) -> set[str]:
    """Run `dvc repro` and return the names of the stages that ran."""
    done = run(folder, "dvc", "repro")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return {name.removeprefix("data/dvc.yaml:") for name in re.findall(r"Running stage '([^']+)'", done.stdout)}


def changed(folder: Path) -> set[str]:
    """Names of the stages that `dvc repro` would run, without those that wait for them."""
    done = run(folder, "dvc", "status", "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    released = "data/dvc.yaml:checkpoint@"  # no experiment of this scale asks for released weights
    return {name for name in json.loads(done.stdout) if not name.startswith(released)}


def edit(path: Path, change: dict) -> None:
    from harness.config.reader import merge

    path.write_text(yaml.safe_dump(merge(yaml.safe_load(path.read_text()), change)))


def write_suite(folder: Path, rows: dict) -> None:
    """The suite `tiny` with these rows, and its files at the root."""
    path = folder / "experiments/suites/tiny.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        yaml.safe_dump({"about": "", "threads": 1, "protocols": ["tiny"], "choose": "tiny", "tables": {"t": rows}})
    )
    (folder / "experiments/claims.yaml").write_text("level: {value: 0.95, because: a test}\nscales: {}\nclaims: {}\n")
    if not (folder / "experiments/overlays.yaml").exists():
        shutil.copy(ROOT / "experiments/overlays.yaml", folder / "experiments")
    suite.write([suite.generate(Checkout(folder), "tiny", folder)])


@pytest.fixture(scope="module")
def scale(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny scale with the project's own pipeline files, run once."""
    folder = tiny_root(tmp_path_factory.mktemp("pipeline"))
    write_suite(folder, {"e": {}, "f": {}})
    shutil.rmtree(folder / "data")
    (folder / "data").mkdir()
    shutil.copy(ROOT / "data/dvc.yaml", folder / "data")
    (folder / "data/params.yaml").write_text("datasets: [tiny]\ncheckpoints: [e.safetensors]\n")
    for link in [p for p in folder.glob("*/*") if p.is_symlink()]:  # DVC follows no links out of its folder
        target = link.resolve()
        link.unlink()
        (shutil.copytree if target.is_dir() else shutil.copy)(target, link)
    assert run(folder, "dvc", "init", "--no-scm", "-q").returncode == 0
    ran = repro(folder)
    assert {"plan", "data@tiny", "train@e-seed0", "score-clean@f-seed0-last", "tables", "check", "report"} <= ran
    assert len(ran) == 14
    return folder


def test_a_second_repro_runs_nothing(scale: Path):
    assert repro(scale) == set()


def test_a_removed_folder_comes_back_from_the_cache(scale: Path):
    """Nothing of the scale at the root is in git: all of it is in DVC's cache."""
    before = {p.relative_to(scale): p.read_bytes() for p in (scale / "results/tiny").rglob("*") if p.is_file()}
    shutil.rmtree(scale / "results/tiny")
    assert repro(scale) == set()
    assert {p.relative_to(scale): p.read_bytes() for p in (scale / "results/tiny").rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_score_says_how_it_was_made(scale: Path, scorer: str):
    score = json.loads((scale / f"results/tiny/records/e/seed0/last/{scorer}/tiny.json").read_text())
    assert score["values"]["fid"] > 0
    assert (score["values"]["kid"] is not None) == (scorer == "clean")
    protocol = score["protocol"]
    assert protocol["stand_in_data"] is True
    assert protocol["stand_in_inception"] is True
    assert (protocol["n_fake"], protocol["n_real"], protocol["layer"]) == (10, 20, 64)
    assert score["run"]["experiment"] == "e"
    samples = json.loads((scale / "results/tiny/records/e/seed0/last/samples.json").read_text())
    assert score["content"]["samples_sha256"] == samples["samples_sha256"]


def test_stand_ins_are_never_compared(scale: Path):
    verdicts = (scale / "results/tiny/check/verdicts.csv").read_text().splitlines()
    assert len(verdicts) > 1
    assert all("not-comparable" in line for line in verdicts[1:])
    page = (scale / "results/tiny/report/index.html").read_text()
    assert "stand-in" in page


def test_one_changed_recipe_reruns_its_stages_and_the_tables(scale: Path):
    edit(scale / "experiments/tables/tiny.yaml", {"f": {"changes": {"discriminator_optimiser": {"lr": 0.002}}}})
    ran = repro(scale)
    assert {name for name in ran if "e-seed0" in name} == set()
    assert {
        "train@f-seed0",
        "sample@f-seed0-last",
        "score-tf@f-seed0-last",
        "score-clean@f-seed0-last",
        "tables",
    } <= ran


def test_a_changed_tolerance_reruns_check_and_report_only(scale: Path):
    path = scale / "experiments/tolerances.yaml"
    path.write_text(path.read_text() + "\n# another reason\n")
    ran = repro(scale)
    assert "check" in ran
    assert ran <= {"check", "report"}


def test_a_new_seed_is_the_only_new_work(scale: Path):
    assert changed(scale) == set()
    write_suite(scale, {"e": {"seeds": [0, 1]}, "f": {}})
    new = {"train@e-seed1", "sample@e-seed1-last", "score-tf@e-seed1-last", "score-clean@e-seed1-last"}
    try:
        assert {name for name in changed(scale) if "@" in name} == new
    finally:
        write_suite(scale, {"e": {}, "f": {}})


def test_another_device_is_no_new_work(scale: Path):
    edit(scale / "params.yaml", {"device": "cpu"})
    assert changed(scale) == set()


def test_a_params_file_that_its_suite_would_not_give_stops(scale: Path):
    text = (scale / "params.yaml").read_text()
    edit(scale / "params.yaml", {"dumps": {"e-seed0-last": {"n_fake": 11}}})
    done = run(scale, "dvc", "repro", "plan")
    (scale / "params.yaml").write_text(text)
    assert done.returncode != 0
    assert "run `harness scale write tiny" in done.stderr


def test_missing_data_stops_its_own_rows_only(scale: Path):
    """What can run runs, up to tables and check."""
    shutil.rmtree(scale / "results/tiny/check")
    datasets = yaml.safe_load((scale / "experiments/datasets.yaml").read_text())
    absent = {
        "source": "folder",
        "path": "nowhere",
        "split": "train",
        "resolution": 32,
        "version": 1,
        "licence": "ours",
    }
    edit(scale / "experiments/datasets.yaml", {"absent": absent})
    tables = yaml.safe_load((scale / "experiments/tables/tiny.yaml").read_text())
    edit(scale / "experiments/tables/tiny.yaml", {"g": {**tables["e"], "dataset": "absent"}})
    edit(scale / "data/params.yaml", {"datasets": ["tiny", "absent"]})
    write_suite(scale, {"e": {}, "f": {}, "g": {}})
    try:
        done = run(scale, "dvc", "repro", "--ignore-errors")
        ran = set(re.findall(r"Running stage '([^']+)'", done.stdout))
        assert done.returncode == 0, done.stderr[-3000:]
        assert {"plan", "tables"} <= ran
        assert (scale / "results/tiny/check/verdicts.csv").is_file()  # run, or from the cache
        assert "nowhere" in done.stderr
        assert sorted(path.name for path in (scale / "results/tiny/metrics").glob("*.json")) == [
            "e-seed0-last.json",
            "f-seed0-last.json",
        ]
    finally:
        (scale / "experiments/datasets.yaml").write_text(yaml.safe_dump(datasets))
        (scale / "experiments/tables/tiny.yaml").write_text(yaml.safe_dump(tables))
        write_suite(scale, {"e": {}, "f": {}})


def test_a_bumped_model_version_reruns_that_model_only(scale: Path):
    edit(scale / "experiments/models/sngan.yaml", {"sngan-narrow": {"version": 99}})
    ran = repro(scale)
    assert "train@f-seed0" in ran
    assert "train@e-seed0" not in ran


def test_the_same_seed_gives_the_same_dump(scale: Path):
    before = json.loads((scale / "results/tiny/records/e/seed0/last/samples.json").read_text())["samples_sha256"]
    shutil.rmtree(scale / ".checkpoints")
    for command in (["train", "e"], ["sample", "e"]):
        done = run(scale, sys.executable, "-m", "harness", *command)
        assert done.returncode == 0, done.stderr[-2000:]
    assert (
        json.loads((scale / "results/tiny/records/e/seed0/last/samples.json").read_text())["samples_sha256"] == before
    )


def test_a_killed_repro_goes_on_where_it_was(scale: Path):
    """kill -9 of DVC and of the training under it, then `dvc repro` again: the generator of an uninterrupted run."""
    changes = {"length_nimg": 600, "checkpoint_every_nimg": 8, "snapshots_nimg": []}
    edit(scale / "experiments/tables/tiny.yaml", {"e": {"changes": changes}})
    before = checkpoints(scale)
    process = subprocess.Popen(
        ["dvc", "repro"],
        cwd=scale,
        env=environment(scale),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while len(checkpoints(scale) - before) < 2:
        assert process.poll() is None, "dvc repro ended before it could be killed"
        assert time.monotonic() < deadline, "no checkpoint appeared"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    weights = scale / "results/tiny/runs/e/seed0/weights/last.safetensors"
    assert not weights.exists(), "the training was over before it was killed"

    done = run(scale, "dvc", "repro")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.search(r"e: resuming at \d+ of 600 images", done.stderr)
    resumed = weights.read_bytes()
    whole = run(scale, sys.executable, "-m", "harness", "train", "e", "--checkpoints", str(scale / "others"))
    assert whole.returncode == 0, whole.stderr[-2000:]
    assert "resuming" not in whole.stderr
    assert weights.read_bytes() == resumed


def checkpoints(folder: Path) -> set[Path]:
    """Checkpoints of all runs that are whole on disk."""
    return set(folder.glob(".checkpoints/*/*/*.json"))


def test_check_says_that_nothing_is_comparable(scale: Path):
    assert run(scale, sys.executable, "-m", "harness", "check").returncode == 2
