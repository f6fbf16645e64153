"""Training and sampling run on a bare GPU box; heavy packages stay in one module each."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

ALLOWED = {"torch", "numpy", "safetensors", "yaml", "click", "tqdm", "PIL"}
BLOCKED = (
    "tensorflow",
    "cleanfid",
    "dvc",
    "pandas",
    "scipy",
    "torchvision",
    "matplotlib",
    "jinja2",
    "pooch",
    "filelock",
)

TRAIN = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None
import os
os.chdir(sys.argv[1])
from harness.cli import group
for arguments in (["plan"], ["train", "e"], ["sample", "e"]):
    group.main(arguments, standalone_mode=False)
"""


def test_training_and_sampling_need_no_heavy_package(tiny_scale: Path):
    done = subprocess.run(
        [sys.executable, "-c", TRAIN.format(blocked=BLOCKED), str(tiny_scale)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tiny_scale / "out/runs/e/seed0/last/samples.npy").is_file()


def imports(path: Path, top_level_only: bool) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize(("package", "home"), [("tensorflow", "tensorflow.py"), ("cleanfid", "clean_fid.py")])
def test_heavy_scorers_are_imported_in_one_module_only_and_lazily(package: str, home: str):
    modules = [p for room in ("harness", "models", "baselines") for p in (ROOT / room).rglob("*.py")]
    assert [p.name for p in modules if package in imports(p, top_level_only=False) and "bench" not in p.parts] == [home]
    assert not [p for p in modules if package in imports(p, top_level_only=True)]


@pytest.mark.parametrize("room", ["models", "baselines", "harness/training"])
def test_networks_and_training_import_only_what_a_bare_box_has(room: str):
    for path in (ROOT / room).rglob("*.py"):
        outside = (
            imports(path, top_level_only=False) - set(sys.stdlib_module_names) - {"harness", "models", "baselines"}
        )
        assert outside <= ALLOWED, f"{path}: {outside - ALLOWED}"


def test_networks_know_nothing_of_the_benchmark():
    for room in ("models", "baselines"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("harness"):
                    assert node.module == "harness.errors", f"{path} imports {node.module}"
