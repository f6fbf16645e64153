"""The commands of README and docs, typed in a fresh clone in the order of each page."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fences import PAGES, commands
from tests.paths import ROOT
from tests.tree import name

NOT_RUN = {  # whole commands as regular expressions -> why they are not typed here
    r"make (repro|test)|pip (install|wheel) .*|pytest|dvc repro": "installs gigabytes, or runs for minutes; CI does it",
    r"pytest -m gpu": "needs a GPU",
    r"dvc repro results/.*|git restore .* && .*": "hours, or minutes; tests/pipeline/test_dvc.py",
    r"dvc repro --single-item .*|dvc --wait-for-lock repro .*": "half an hour of training; tests/pipeline/test_dvc.py",
    r"export SCALE=.*|harness train .* --processes 4|torchrun .*": "needs GPUs; tests/training/test_together.py",
    r"harness check": "needs the scores of `make repro`; .github/workflows/quick.yml",
    r"dvc exp run .*|dvc (push|pull) .*": "tests/pipeline/test_dvc_clone.py does it on a small scale",
    r"dvc remote add -d lab (s3|ssh):.*": "an alternative to the folder, with an account",
    r"export HARNESS_\w+=.*|HARNESS_DATA=.*": "a folder or file of the reader's",
    r"harness data (cifar10|stl10)(-test)?( && harness data cifar10-test)?": "downloads the official archive",
    r"harness score .*": "needs somebody's samples; tests/commands/test_score.py",
    r"harness check --foreign .*|echo \$\?": "a session that tests of samples.md type",
    r"harness check .* --records DIR|harness adopt .*|harness import .*": "files of somebody else's machine",
    r"harness rehearse.*": "trains and scores whole networks; tests/pipeline",
    r"code=\$PWD;.*": "runs `quick` five times",
    r"harness launch .*--(jobs|address) .*|srun .*|export RAY_.*": "needs Ray or Slurm; tests/cluster/test_ray.py",
    r"harness bench effects .*": "hours, of a trained row; tests/bench/test_effects.py",
    r"docker .*": "needs Docker; .github/workflows/nightly.yml",
}
EXIT = {  # commands whose answer is an exit code
    r"harness doctor.*": (0, 1),
    r"harness check .*": (1,),
}
NOISE = ("Traceback", "WARNING", "Warning:")


def excuse(command: str) -> str | None:
    """Return why a command is not run here."""
    return next((why for pattern, why in NOT_RUN.items() if re.fullmatch(pattern, command, re.DOTALL)), None)


def test_every_excuse_is_needed() -> None:
    typed = [command for page in PAGES for command in commands(page)]
    for pattern in (*NOT_RUN, *EXIT):
        if not pattern.startswith(("docker", "harness rehearse")):
            assert any(re.fullmatch(pattern, command, re.DOTALL) for command in typed), pattern


@pytest.mark.parametrize("page", PAGES[1:], ids=name)
def test_a_page_begins_with_what_its_reader_wants(page: Path) -> None:
    assert re.match(r"# [^\n]+\n\nYou (want to|have) ", page.read_text(encoding="utf-8"))


def copy_of_the_checkout(folder: Path) -> Path:
    """A repository of its own with the files that git knows of, as they are now."""
    known = subprocess.run(["git", "ls-files", "-zco", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    for file in filter(None, known.stdout.decode().split("\0")):
        if (ROOT / file).is_file():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, folder / file)
    user = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    for command in (["init", "-q"], ["add", "-A"], [*user, "commit", "-qm", "a copy"], [*user, "commit", "-qm", "2"]):
        allowed = ["--allow-empty"] if command[-1] == "2" else []
        subprocess.run(["git", *command, *allowed], cwd=folder, check=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(not excuse(c) for c in commands(page))], ids=name)
def test_the_commands_of_a_page_work_as_typed(page: Path, tmp_path: Path) -> None:
    folder = copy_of_the_checkout(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(folder), "HARNESS_CACHE": str(folder / ".cache")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    for command in (c for c in commands(page) if excuse(c) is None):
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        codes = next((codes for pattern, codes in EXIT.items() if re.fullmatch(pattern, command)), (0,))
        said = done.stdout + done.stderr
        assert done.returncode in codes, f"{command}: exit {done.returncode}\n{said[-2000:]}"
        assert not any(word in said for word in NOISE), f"{command}\n{said[-2000:]}"
