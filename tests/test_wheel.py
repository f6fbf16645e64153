"""The wheel in an environment of its own, from an empty folder: what works without a clone, what needs one and says so.

The environment sees the tested dependencies of this one, but not this checkout.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.comparison import reported
from harness.config import protocols
from tests.metrics.inception.helpers import noise_images
from tests.paths import ROOT

pytestmark = pytest.mark.slow

SOURCES = ("harness", "models", "baselines", "experiments", "results/reported", "results/verified.json")
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "constraints.txt")
SCORE = ("--scorer", "torch", "--weights", "stand-in", "--layer", "64")
ROW = "T4-model-scaling/TransGAN-S"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel, built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in (*SOURCES, *FILES):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation", "-w", str(folder), str(source)]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("transgan_bench-*.whl")
    venv.create(folder / "env", with_pip=False)
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    paths = dict.fromkeys(sysconfig.get_paths()[key] for key in ("purelib", "platlib"))
    (site / "tested_dependencies.pth").write_text("\n".join(paths) + "\n")  # a path alone: its .pth files do not act
    found = folder / "env" / "bin" / "python"
    install = ["--python", str(found), "install", "-q", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*pip, *install], check=True)
    return found


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds two folders of PNGs."""
    folder = tmp_path_factory.mktemp("empty")
    for seed, name in enumerate("ab"):
        (folder / name).mkdir()
        for i, image in enumerate(noise_images(80, side=32, seed=seed)):
            Image.fromarray(image).save(folder / name / f"{i}.png")
    return folder


def run(python: Path, folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `harness` of the environment, or its interpreter for `-c`."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "HARNESS_"))}
    environment |= {"HARNESS_CACHE": str(folder / ".cache"), "TQDM_DISABLE": "1", **variables}
    command = [str(python)] if arguments[0] == "-c" else [str(python.with_name("harness"))]
    command += arguments
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_samples_are_scored_and_held_against_the_ledger(python: Path, empty: Path) -> None:
    done = run(python, empty, "score", "a/", "b/", *SCORE, "--against", ROW, "--as", "released", "--json")
    assert done.returncode == 2, done.stderr  # stand-in weights: nothing comparable
    answer = json.loads(done.stdout)
    assert ROW in done.stdout
    assert "stand_in_inception" in json.dumps(answer)
    assert not (empty / "data").exists()
    assert {path.name for path in empty.iterdir()} == {"a", "b", ".cache"}, "nothing else is written here"


def test_python_scores_too_and_says_where_its_code_is_from(python: Path, empty: Path) -> None:
    code = "import harness, json; r = harness.score('a', 'b', scorer='torch', weights='stand-in', layer=64); "
    code += "print(json.dumps({**r.provenance, 'fid': r.values.fid, 'file': harness.__file__}))"
    done = run(python, empty, "-c", code)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert np.isfinite(said["fid"])
    assert said["file"].startswith(str(python.parents[1]))
    assert said["git_commit"] is None
    assert "installed as transgan-bench" in said["git_commit_unknown"]


def test_what_the_wheel_carries_is_shown(python: Path, empty: Path) -> None:
    rows = json.loads(run(python, empty, "reported", "--json").stdout)
    assert len(rows) == len(reported.load(ROOT / "results" / "reported").rows)
    listed = json.loads(run(python, empty, "protocols", "--json").stdout)
    assert {each["name"] for each in listed} == set(protocols.load(ROOT))
    experiments = run(python, empty, "experiments")
    assert "t4-transgan-s" in experiments.stdout, experiments.stderr
    models = run(python, empty, "models", "transgan-s", "--json")
    assert any(each["exact"] for each in json.loads(models.stdout)), "what test runs verified is carried, too"


def test_what_needs_a_checkout_says_so(python: Path, empty: Path) -> None:
    for arguments in (
        ["train", "x"],
        ["tables"],
        ["status"],
        ["protocols", "--coverage"],
        ["scale", "write"],
        ["reported", "--confirm", "T1-pairing", "--by", "x"],
    ):
        done = run(python, empty, *arguments)
        assert done.returncode == 1, arguments
        assert "this needs a checkout" in done.stderr, arguments
        assert "Traceback" not in done.stderr
    assert {path.name for path in empty.iterdir()} <= {"a", "b", ".cache"}


def test_a_checkout_is_never_mixed_with_what_the_wheel_carries(python: Path, tmp_path: Path) -> None:
    """A checkout with a smaller ledger and no models: commands of the installed wheel see these alone."""
    shutil.copytree(ROOT / "results" / "reported", tmp_path / "results" / "reported")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "datasets.yaml").write_text("{}\n")
    for path in (tmp_path / "results" / "reported").glob("*.csv"):
        if path.name != "transgan.csv":
            path.unlink()
    (tmp_path / "sub").mkdir()
    rows = json.loads(run(python, tmp_path / "sub", "reported", "--json").stdout)
    assert {row["file"] for row in rows} == {"transgan.csv"}
    models = run(python, tmp_path / "sub", "models", "--json")
    assert json.loads(models.stdout) == [], "its experiments have no models, and the wheel's are not taken"


def test_another_package_named_models_is_named(python: Path, empty: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("")
    done = run(python, empty, "models", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert f"`import models` finds {tmp_path / 'models'}, not " in done.stderr
    assert "Traceback" not in done.stderr
