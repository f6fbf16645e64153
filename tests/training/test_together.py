"""Several processes that train as one: stopped, lost, hung, gone on with in another number, and refused."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from baselines import autogan, progan, stylegan2
from harness.cli import run as command
from harness.errors import HarnessError
from harness.files import locked
from harness.training import processes, ranks
from harness.training.loop import TrainingStopped
from harness.training.ranks import RankLost
from harness.training.whole_batch import split
from models.transgan import neurips
from tests.devices import CUDA
from tests.training import several, tiny

AT = 100  # images: between the checkpoints at 80 and 120
SETTINGS: dict[str, Any] = {"snapshots_nimg": (), "log_every_nimg": 8}


def happening(role: str, spec: dict[str, Any], resolution: int, what: str) -> nn.Module:
    """Networks of which the second process's generator does something at about `AT` images."""
    network = tiny.build(role, spec, resolution)
    if role == "generator" and os.environ["RANK"] == "1":
        left = iter(range(1 + AT * 3 // 16))  # a probe; then three calls in two iterations of 8 images

        def call(module: nn.Module, _: Any) -> None:
            if module.training and next(left, None) is None:
                HAPPENINGS[what](module)

        network.register_forward_pre_hook(call)
    return network


def die(_: nn.Module) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang(_: nn.Module) -> None:
    time.sleep(1000)


def be_told_to_stop(_: nn.Module) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def change(module: nn.Module) -> None:
    with torch.no_grad():
        next(module.parameters()).add_(1e-9)


HAPPENINGS: dict[str, Callable[[nn.Module], None]] = {
    "die": die,
    "hang": hang,
    "be told to stop": be_told_to_stop,
    "change": change,
}


def fit(folder: Path, what: str = "", count: int = 2, **changes: Any) -> None:
    build = functools.partial(happening, what=what) if what else tiny.build
    several.fit(tiny.run(**SETTINGS | changes), folder, count, build)


def saved(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in (folder / "work").glob("*/*/0*.json"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    fit(folder)
    return folder


def test_a_lost_process_ends_the_run_and_a_restart_goes_on(tmp_path: Path, undisturbed: Path) -> None:
    with pytest.raises(RankLost, match=r"process 1 of 2 was killed by SIGKILL.* intact; run again") as caught:
        fit(tmp_path, "die")
    assert "\n" not in str(caught.value)
    assert saved(tmp_path) == [40, 80]
    assert not (tmp_path / "out/weights").exists()
    fit(tmp_path)
    tiny.assert_same(tiny.outcome(tmp_path), tiny.outcome(undisturbed))


@pytest.mark.slow  # it waits
def test_a_process_that_hangs_ends_the_run_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "TIMEOUT_SEC", 20.0)
    monkeypatch.setattr(processes, "LEAVE_SEC", 0.2)
    with pytest.raises(RankLost, match="did not answer in time"):
        fit(tmp_path, "hang")
    assert saved(tmp_path) == [40, 80]


def test_a_signal_to_one_lets_all_save_and_leave(tmp_path: Path, undisturbed: Path) -> None:
    with pytest.raises(TrainingStopped, match="signal 15: saved at") as caught:
        fit(tmp_path, "be told to stop")
    record = json.loads((tmp_path / "out/train/stopped.json").read_text())
    assert saved(tmp_path)[-1] == record["nimg"] == caught.value.nimg < 160
    fit(tmp_path)
    tiny.assert_same(tiny.outcome(tmp_path), tiny.outcome(undisturbed))


def test_processes_that_drift_apart_are_noticed_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="process 1 of 2 holds another generator/"):
        fit(tmp_path, "change")
    assert saved(tmp_path) == [40, 80]


@pytest.mark.parametrize(("first", "then"), [pytest.param(1, 2, marks=pytest.mark.slow), (2, 1)])
def test_another_number_of_processes_goes_on(
    first: int, then: int, tmp_path: Path, undisturbed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tiny.run(**SETTINGS)
    with pytest.raises(TrainingStopped):
        several.fit(run, tmp_path, first, stop_nimg=80)
    several.fit(run, tmp_path, then)
    said = capfd.readouterr().err
    assert f"begun with 1 threads on cpu in {first} processes; the rest will not repeat it bit for bit" in said
    assert said.count("resuming at 80 of 160") == 1, "one process speaks"
    assert several.distance(several.networks(tmp_path), several.networks(undisturbed)) < 1e-9
    record = json.loads((tmp_path / "out/train/train.json").read_text())
    whole = json.loads((undisturbed / "out/train/train.json").read_text())
    assert (record["provenance"]["processes"], record["digest"]) == (then, whole["digest"])


def test_what_the_writing_process_says_is_what_is_said(tmp_path: Path) -> None:
    several.fit(tiny.run(**SETTINGS, length_nimg=8), tmp_path, 1)
    (work,) = (tmp_path / "work").glob("*/*")
    with locked(work / "lock"), pytest.raises(HarnessError, match="is working here"):
        several.fit(tiny.run(**SETTINGS, length_nimg=8), tmp_path, 2)


# ---------------------------------------------------------------- networks


class Mixing(tiny.MlpGenerator):
    """Subtracts the mean latent of its batch, and does not say so."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return super().forward(z - z.mean(0))


class Drawing(tiny.MlpGenerator):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return super().forward(z + torch.randn_like(z))


def check_splits(makers: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], bool]]) -> None:
    with ranks.joined("cpu") as together:
        for make, shape, fits in makers.values():
            torch.manual_seed(1)
            if fits:
                split(make(), shape, together)
            else:
                with pytest.raises(HarnessError, match=r"docs/processes\.md"):
                    split(make(), shape, together)


def test_networks_that_mix_images_or_draw_are_split_by_their_hooks_or_refused() -> None:
    small: dict[str, Any] = {"channel_max": 8}
    two_scales: dict[str, Any] = {"width": 16, "depths": (1, 1, 1)}
    images = (3, 32, 32)
    makers = {
        "mixing": (lambda: Mixing(8), (4,), False),
        "drawing": (lambda: Drawing(8), (4,), False),
        "layers": (lambda: tiny.MlpGenerator(8), (4,), True),
        "batch norm of vectors": (lambda: nn.BatchNorm1d(4), (4,), False),
        "batch norm": (lambda: autogan.build_generator(32, width=8), (128,), True),
        "noise, mixing": (lambda: stylegan2.build_generator(32, style_mixing=0.9, **small), (512,), True),
        "groups": (lambda: stylegan2.build_discriminator(32, stddev_group=2, **small), images, True),
        "deviation": (lambda: progan.build_discriminator(32, width=8), images, True),
        "token noise": (lambda: several.noisy(neurips.build_discriminator(32, **two_scales)), images, True),
    }
    processes.run(2, check_splits, makers, start_method="fork")


# ---------------------------------------------------------------- the subcommand


def test_the_subcommand_refuses_what_does_not_fit(
    tiny_scale: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tiny_scale)
    assert command(["train", "e", "--processes", "3"]) == 1
    assert "do not split evenly over 3 processes" in capsys.readouterr().err
    monkeypatch.setenv("HARNESS_GPUS", "3")
    assert command(["train", "e"]) == 1
    assert "do not split evenly over 3 processes" in capsys.readouterr().err
    for name, value in zip(ranks.LAUNCHED, ("0", "2", "127.0.0.1", "1"), strict=True):
        monkeypatch.setenv(name, value)
    assert command(["train", "e"]) == 1
    assert "2 processes were started (WORLD_SIZE), but 3 are asked for" in capsys.readouterr().err
    assert not (tiny_scale / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("start", ["--processes", "torchrun"])
def test_the_subcommand_trains_in_two_processes(start: str, tiny_scale: Path) -> None:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    before, after = (torchrun, []) if start == "torchrun" else ([], ["--processes", "2"])
    line = [sys.executable, *before, "-m", "harness", "train", "e", *after]
    done = subprocess.run(line, cwd=tiny_scale, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("16 images seen") == 1
    record = json.loads((tiny_scale / "out/records/e/seed0/train/train.json").read_text())
    assert record["provenance"]["processes"] == 2


# ---------------------------------------------------------------- a card


def fit_on(device: str, folder: Path) -> None:
    run = tiny.run("transgan", **SETTINGS)
    tiny.fit(run, folder, device=device)


@pytest.mark.parametrize("device", [CUDA])
def test_two_processes_share_a_card(device: str, tmp_path: Path) -> None:
    """Through gloo, as NCCL takes one process a card; in float32, so losses of the first iterations are compared."""
    for count in (1, 2):
        processes.run(count, fit_on, f"{device}:0", tmp_path / str(count))
    one, two = (several.rows(tmp_path / str(count)) for count in (1, 2))
    for ours, theirs in zip(one[:5], two[:5], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)
    assert np.isfinite(list(two[-1].values())).all()
