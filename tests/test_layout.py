"""Where things stand: the order of the packages, the size of files, where tests lie, which packages are imported."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from tests.paths import ROOT
from tests.tree import imports, modules, name, outside, texts

# A package imports only from those before it; those in one line may import each other.
ORDER = (
    {"errors", "files", "npz", "paths", "provenance", "device", "progress"},
    {"config"},
    {"data"},
    {"networks"},
    {"records"},
    {"sampling"},
    {"metrics"},
    {"training"},
    {"comparison"},
    {"pipeline"},
    {"report"},
    {"doctor"},
    {"cluster"},
    {"bench"},
    {"cli", "commands", "__init__", "__main__"},
)
RANK = {package: rank for rank, packages in enumerate(ORDER) for package in packages}

LONGEST = 400  # lines of a Python file
LONGER = {"harness/training/loop.py"}  # one page on purpose
ALONE = {"layout", "words", "readme", "docs", "install", "wheel"}  # tests of the whole project

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
    "rich",
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


def package_of(dotted: str) -> str:
    """Return the package of `harness` that an import leads to."""
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in RANK else "__init__"


def test_a_package_imports_only_from_packages_before_it():
    for path in modules("harness"):
        own = path.relative_to(ROOT / "harness").with_suffix("").parts[0]
        ours = {dotted for dotted in imports(path) if dotted.split(".")[0] == "harness"}
        later = {dotted for dotted in ours if RANK[package_of(dotted)] > RANK[own]}
        assert not later, f"{name(path)} imports {later}"


def test_every_package_has_its_place_in_the_order():
    folders = {path.name for path in (ROOT / "harness").iterdir() if path.is_dir() and path.name != "__pycache__"}
    files = {path.stem for path in (ROOT / "harness").glob("*.py")}
    assert folders | files <= set(RANK)


def test_files_can_be_read_in_one_sitting():
    longer = {name(path) for path in modules() if len(path.read_text().splitlines()) > LONGEST}
    assert longer <= LONGER


def test_tests_mirror_the_packages():
    for path in (ROOT / "tests").rglob("test_*.py"):
        folder = path.parent.relative_to(ROOT / "tests")
        assert (path.parent / "__init__.py").is_file(), f"{name(path.parent)} has no __init__.py"
        if folder == Path():
            module = path.stem.removeprefix("test_")
            assert module in ALONE or (ROOT / f"harness/{module}.py").is_file(), f"{name(path)} tests no module"
        else:
            assert (ROOT / "harness" / folder).is_dir() or (ROOT / folder).is_dir(), f"{name(path)} tests no package"


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=name)
def test_lines_of_prose_fit_a_screen(path: Path):
    """Tables, code and single long links excepted."""
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    long = [line for line in prose.splitlines() if len(line) > 120 and not line.startswith("|") and " " in line.strip()]
    assert not long, f"{name(path)}: {long}"


def test_files_and_modules_that_texts_name_exist():
    """In comments, docstrings, YAML and docs alike."""
    missing = set()
    for path in texts():
        text = path.read_text(encoding="utf-8")
        folders = "harness|baselines|docs" + "|experiments|tests|models" * (path.suffix == ".md")
        for place in re.findall(rf"(?<![\w/])(?:{folders})/[\w/]+\.(?:py|yaml|md)\b", text):
            if not (ROOT / place).is_file():
                missing.add(f"{name(path)}: {place}")
        for dotted in re.findall(r"\bharness((?:\.[a-z_]+)+)\b", text) if path.suffix != ".py" else ():
            first = dotted.split(".")[1]
            if first not in RANK and not hasattr(harness, first):
                missing.add(f"{name(path)}: harness{dotted}")
    assert not missing, sorted(missing)


def test_training_and_sampling_need_no_other_package(tiny_scale: Path):
    done = subprocess.run(
        [sys.executable, "-c", TRAIN.format(blocked=BLOCKED), str(tiny_scale)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tiny_scale / "out/runs/e/seed0/last/samples/rounded.npy").is_file()


ON_A_CARD = """
import sys
for name in ("tensorflow", "cleanfid", "dvc"):
    sys.modules[name] = None
import pytest
places = sys.argv[1:]
assert pytest.main(["-q", "-p", "no:cacheprovider", "-m", "gpu", "--collect-only", "tests"]) == 0
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-k", "cpu or cuda", *places]))
"""


@pytest.mark.slow
def test_tests_of_a_card_need_neither_tensorflow_nor_dvc_nor_clean_fid() -> None:
    """Every module is collected, and the tests' CPU variants pass, where none of these can be imported."""
    others = [path for path in modules("tests") if path.name.startswith("test_") and path != Path(__file__)]
    files = [name(path) for path in others if "tests.devices" in path.read_text(encoding="utf-8")]
    done = subprocess.run(
        [sys.executable, "-c", ON_A_CARD, *files], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
    assert len(files) >= 3


@pytest.mark.parametrize(("package", "home"), [("tensorflow", "tensorflow.py"), ("cleanfid", "clean_fid.py")])
def test_scorers_libraries_are_imported_in_one_module_only_and_lazily(package: str, home: str):
    product = modules("harness", "models", "baselines")
    assert [p.name for p in product if package in outside(p) and "bench" not in p.parts] == [home]
    assert not [p for p in product if package in outside(p, top_level_only=True)]


@pytest.mark.parametrize("folder", ["models", "baselines", "harness/training"])
def test_networks_and_training_import_only_what_a_bare_machine_has(folder: str):
    for path in modules(folder):
        other = outside(path) - set(sys.stdlib_module_names) - {"harness", "models", "baselines"}
        assert other <= ALLOWED, f"{name(path)}: {other - ALLOWED}"


def test_networks_know_nothing_of_the_benchmark():
    for path in modules("models", "baselines"):
        found = {dotted for dotted in imports(path) if dotted.startswith("harness")}
        assert all(dotted.startswith("harness.errors.") for dotted in found), f"{name(path)} imports {found}"


def test_help_loads_no_large_package():
    code = f"""
import sys
from harness.cli import group
group.main(["--help"], standalone_mode=False)
print(sorted({{"torch", *{BLOCKED!r}}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "doctor" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
