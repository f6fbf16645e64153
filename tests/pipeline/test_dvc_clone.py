"""A scale that was run and committed, as somebody else finds it in a clone; DVC's commands in it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from harness.cli import group
from harness.paths import Checkout
from harness.pipeline import suite
from tests.conftest import tiny_root
from tests.paths import ROOT
from tests.pipeline.test_dvc import run as start

pytestmark = pytest.mark.slow
SCALE = "results/tiny"
COMMITTED = (".gitignore", ".dvcignore", ".dvc/plots", "results/.gitignore", "data/.gitignore")


def harness(*arguments: str) -> None:
    """Run one subcommand in this process."""
    code = group.main([*arguments], standalone_mode=False)
    assert not isinstance(code, int) or code == 0, f"{arguments}: exit {code}"


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed and say nothing on stderr."""
    done = start(folder, *command)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done


def commit(folder: Path, message: str) -> None:
    for command in (["add", "-A"], ["commit", "-qm", message]):
        run(folder, "git", "-c", "user.name=test", "-c", "user.email=test@example.org", *command)


def pipeline(folder: Path) -> None:
    """Every stage of the tiny scale in this process, then what DVC writes down of it."""
    own = ("--params", f"{folder}/{SCALE}")
    harness("plan", *own)
    harness("references", "tiny", *own)
    for experiment in "ef":
        harness("train", experiment, *own)
        harness("sample", experiment, *own)
        harness("score-dump", experiment, "--scorer", "torch", *own)
    harness("tables", *own)
    harness("check", "--write", *own)
    harness("report", *own)
    run(folder, "dvc", "commit", "-q", "-f", f"{SCALE}/dvc.yaml", "data/dvc.yaml")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one scale that was run, committed twice, and pushed to a folder."""
    folder = tiny_root(tmp_path_factory.mktemp("origin"))
    for link in [p for p in folder.glob("*/*") if p.is_symlink()]:
        target = link.resolve()
        link.unlink()
        (shutil.copytree if target.is_dir() else shutil.copy)(target, link)
    (folder / "params.yaml").unlink()
    (folder / "experiments/suites").mkdir()
    rows = {"about": "", "threads": 1, "protocols": ["tiny"], "scorers": ["torch"], "tables": {"t": {"e": {}, "f": {}}}}
    (folder / "experiments/suites/tiny.yaml").write_text(yaml.safe_dump(rows))
    (folder / "experiments/claims.yaml").write_text("level: {value: 0.95, because: a test}\nscales: {}\nclaims: {}\n")
    shutil.copy(ROOT / "experiments/overlays.yaml", folder / "experiments")
    stages = yaml.safe_load((ROOT / "data/dvc.yaml").read_text())
    del stages["stages"]["checkpoint"]
    (folder / "data/dvc.yaml").write_text(yaml.safe_dump(stages))
    (folder / "data/params.yaml").write_text("datasets: [tiny]\n")
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        run(folder, *command)
    for name in COMMITTED:
        place = folder / name
        place.parent.mkdir(exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, place)
    suite.write([suite.generate(Checkout(folder), "tiny")])
    commit(folder, "before anything was run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(folder / ".cache"))
        patch.chdir(folder)
        pipeline(folder)
    run(folder, "dvc", "remote", "add", "-d", "lab", f"{folder}-remote")
    run(folder, "dvc", "push", "-q")
    commit(folder, "run")
    return folder


@pytest.fixture
def clone(origin: Path, tmp_path: Path) -> Path:
    run(tmp_path, "git", "clone", "-q", str(origin), "clone")
    return tmp_path / "clone"


def test_a_clone_without_data_has_nothing_to_run(clone: Path) -> None:
    done = run(clone, "dvc", "repro", "--allow-missing", "--dry", "-P")
    assert "Running stage" not in done.stdout


def test_a_clone_is_up_to_date_after_pull_and_packing(clone: Path) -> None:
    run(clone, "dvc", "pull", "-q")
    run(clone, "harness", "data", "tiny")
    assert json.loads(run(clone, "dvc", "status", "--json").stdout) == {}
    assert run(clone, "git", "status", "--porcelain").stdout == ""


def test_a_removed_scale_comes_back_from_git_and_the_cache(clone: Path) -> None:
    run(clone, "dvc", "pull", "-q")
    run(clone, "harness", "data", "tiny")
    before = {p.relative_to(clone): p.read_bytes() for p in (clone / SCALE).rglob("*") if p.is_file()}
    shutil.rmtree(clone / SCALE)
    run(clone, "git", "restore", SCALE)
    run(clone, "dvc", "checkout", "-q", f"{SCALE}/dvc.yaml")
    after = {p.relative_to(clone): p.read_bytes() for p in (clone / SCALE).rglob("*") if p.is_file()}
    assert before.keys() == after.keys()
    assert all(before[p] == content for p, content in after.items())
    assert json.loads(run(clone, "dvc", "status", "--json").stdout) == {}


COMMANDS = (
    "metrics show",
    "metrics diff",
    "metrics diff HEAD~1",
    "params diff HEAD~1",
    "plots show",
    "plots diff HEAD~1",
    "exp show --no-pager",
)


@pytest.mark.parametrize("place", [".", SCALE])
@pytest.mark.parametrize("command", COMMANDS)
def test_dvcs_commands_need_no_targets_and_warn_of_nothing(clone: Path, command: str, place: str) -> None:
    done = run(clone / place, "dvc", *command.split())
    assert done.stderr == ""


def test_metrics_are_a_table_with_a_row_a_dump(clone: Path) -> None:
    shown = json.loads(run(clone, "dvc", "metrics", "show", "--json").stdout)[""]["data"]
    assert {Path(name).stem: set(one["data"]) for name, one in shown.items()} == {
        "e-seed0-last": {"fid_torch"},
        "f-seed0-last": {"fid_torch"},
    }
    changed = json.loads(run(clone, "dvc", "metrics", "diff", "--json", "HEAD~1").stdout)
    assert set(changed) == set(shown)


def test_an_experiment_with_a_limit_runs_and_is_given_back(clone: Path) -> None:
    """DVC writes params.yaml anew, without comments: what is compared are its values."""
    run(clone, "dvc", "pull", "-q")
    run(clone, "harness", "data", "tiny")
    done = run(clone, "dvc", "exp", "run", "-S", f"{SCALE}/params.yaml:limit_nimg=8", f"{SCALE}/dvc.yaml")
    assert "WARNING" not in done.stderr + done.stdout
    for stage in ("train@e-seed0", "score-torch@f-seed0-last", "tables"):
        assert stage in done.stdout
    record = json.loads((clone / SCALE / "records/e/seed0/train/train.json").read_text())
    assert (record["nimg"], record["partial"]) == (8, True)
    run(clone, "git", "restore", SCALE)
    run(clone, "git", "clean", "-fdq", SCALE)
    run(clone, "dvc", "checkout", "-q", f"{SCALE}/dvc.yaml")
    assert json.loads((clone / SCALE / "records/e/seed0/train/train.json").read_text())["nimg"] == 16
    assert json.loads(run(clone, "dvc", "status", "--json").stdout) == {}


def test_the_workflows_commands_between_two_commits(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What .github/workflows/quick.yml writes into its summary, where a commit changes one score."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/quick.yml").read_text())
    steps = [step.get("run", "") for step in workflow["jobs"]["quick"]["steps"]]
    script = "\n".join(command for command in steps if "dvc metrics" in command)
    (clone / SCALE / "metrics/e-seed0-last.json").write_text('{"fid_torch": 1.5}')
    commit(clone, "another score")
    summary = clone.parent / "summary.md"
    monkeypatch.setenv("BASE", "HEAD~1")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    done = run(clone, "bash", "-ec", script.replace(".venv/bin/", ""))
    assert done.stderr == ""
    shown, changes = summary.read_text().split("| Metric", 1)
    assert ("e-seed0-last" in shown, "f-seed0-last" in shown) == (True, True)
    assert ("e-seed0-last" in changes, "f-seed0-last" in changes) == (True, False)
    assert "1.5" in changes
