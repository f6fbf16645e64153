"""A tiny training, sampled and scored, against its own record: what a change of the code does to `harness check`."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import cli, provenance
from harness.metrics.extractors import resize
from harness.sampling import draw

pytestmark = pytest.mark.slow


def run(*arguments: str) -> int:
    try:
        return cli.run(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def pipeline(*more: str) -> None:
    shutil.rmtree(".checkpoints", ignore_errors=True)  # a finished training is not run again
    assert run("plan") == 0
    assert run("references", "tiny") == 0
    for name in "ef":
        for command in (("train", name), ("sample", name), ("score-dump", name, "--scorer", "torch")):
            assert run(*command, *more) == 0, command


@pytest.fixture
def recorded(tiny_scale: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny scale, run and recorded with one and with two threads, as if from a clean commit."""
    monkeypatch.chdir(tiny_scale)
    monkeypatch.setenv("HARNESS_CACHE", str(tiny_scale / ".cache"))
    monkeypatch.setattr(provenance, "commit", lambda folder: {"git_commit": "0" * 40, "git_dirty": False})
    (tiny_scale / "results" / "history.csv").unlink()  # a link to the project's
    for setting, threads in (("1 thread", "1"), ("2 threads", "2"), ("1 thread again", "1")):
        pipeline("--threads", threads)
        assert run("check", "--record", setting) == 0
    return tiny_scale


def double_learning_rate(root: Path, _: pytest.MonkeyPatch) -> None:
    recipe = root / "experiments" / "recipes" / "tiny.yaml"
    text = recipe.read_text()
    assert text.count("lr: 0.001") == 2
    recipe.write_text(text.replace("lr: 0.001", "lr: 0.002"))


def another_resizer(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bicubic(images: np.ndarray, size: int, device: str) -> torch.Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).float()
        return torch.nn.functional.interpolate(pixels, (size, size), mode="bicubic")

    monkeypatch.setitem(resize.FILTERS, "tf1-bilinear", bicubic)


def swapped_channels(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = draw.to_uint8

    def wrong(images: torch.Tensor) -> np.ndarray:
        return right(images)[..., ::-1]

    monkeypatch.setattr(draw, "to_uint8", wrong)


@pytest.mark.parametrize("change", [double_learning_rate, another_resizer, swapped_channels])
def test_a_change_of_the_code_turns_the_check_red(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path, pytest.MonkeyPatch], None]
) -> None:
    assert run("check") == 0
    change(recorded, monkeypatch)
    pipeline()
    assert run("check") == 1
