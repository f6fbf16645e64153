"""Where a subcommand works: any folder of a checkout, or a checkout named from outside; and what it exits with."""

from pathlib import Path

import pytest
import yaml

from harness import cli
from harness.config.experiments import find_scale
from harness.config.reader import merge
from harness.errors import HarnessError
from tests.config.test_reader import PARAMS


def checkout(folder: Path, scale: str = "") -> Path:
    """A checkout with a scale at its root, and one in results/other."""
    (folder / "experiments").mkdir(parents=True)
    (folder / "experiments" / "datasets.yaml").write_text("{}\n")
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (folder / "results" / "other" / "records").mkdir(parents=True)
    other = merge(PARAMS, {"scale": "other", "root": "../../", "out": ""})
    (folder / "results" / "other" / "params.yaml").write_text(yaml.safe_dump(other))
    return folder


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (".", "s"),
        ("experiments", "s"),
        ("results", "s"),
        ("results/other", "other"),
        ("results/other/records", "other"),
    ],
)
def test_the_scale_is_the_nearest_one_upwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, expected: str
) -> None:
    monkeypatch.chdir(checkout(tmp_path / "a") / place)
    scale = find_scale()
    assert (scale.params.scale, scale.root) == (expected, tmp_path / "a")
    assert scale.out == tmp_path / "a" / ("results/other" if expected == "other" else "out")


def test_root_and_params_name_a_scale_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = checkout(tmp_path / "a")
    monkeypatch.chdir(checkout(tmp_path / "b"))
    assert find_scale(root).out == root / "out"
    assert find_scale(root, Path("results/other")).out == root / "results/other"
    assert find_scale(None, root / "results/other").root == root
    with pytest.raises(HarnessError, match=r"lies in the checkout .*/b, --root names .*/a"):
        find_scale(root, tmp_path / "b" / "params.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HarnessError, match="not inside a checkout"):
        find_scale()


def test_a_scale_whose_root_is_another_checkout_is_refused(tmp_path: Path) -> None:
    checkout(tmp_path / "a")
    root = checkout(tmp_path / "b")
    (root / "params.yaml").write_text(yaml.safe_dump({**PARAMS, "root": "../a"}))
    with pytest.raises(HarnessError, match=r"root: '../a' leads to .*/a, the file lies in the checkout .*/b"):
        find_scale(root)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["sampel"], 64, "Did you mean 'sample'?"),
        (["sample"], 64, "Missing argument"),
        (["sample", "e", "--device", "gpu"], 64, "'gpu' is none of auto, cpu, cuda or cuda:N"),
        (["sample", "e", "--device", "cuda:99"], 1, "device 'cuda:99': torch sees"),
        (["sample", "e", "--threads", "0"], 64, "threads"),
        (["plan", "--params", "none.yaml"], 1, "none.yaml: no such file"),
        (["plan", "--help"], 0, ""),
    ],
)
def test_exit_codes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(checkout(tmp_path / "a"))
    assert cli.run(arguments) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (PermissionError(13, "Permission denied", "/x"), 1, "error: /x: Permission denied."),
        (OSError(28, "No space left on device"), 1, "error: No space left on device."),
        (MemoryError("Unable to allocate 9 TiB"), 1, "out of memory (Unable to allocate 9 TiB)"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 1, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_the_machine_refuses_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, words: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli.group, "invoke", fail)
    assert cli.run(["plan"]) == code
    assert words in capsys.readouterr().err


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a shape is wrong")

    monkeypatch.setattr(cli.group, "invoke", fail)
    with pytest.raises(RuntimeError, match="a shape is wrong"):
        cli.run(["plan"])
