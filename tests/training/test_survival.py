"""A run that is killed, starved of disk or told to stop ends with the same generator; a diverged one with none."""

import dataclasses
import errno
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from harness.config.schema import Ada, Augment, Cotraining, Drift, Ema, Growth, Locality, Optimiser, PathLength, Penalty
from harness.errors import HarnessError, TrainingDiverged
from harness.networks import generator_file
from harness.training.loop import TrainingStopped
from tests.training import tiny

ADAM = Optimiser(1e-3, (0.0, 0.99))
FAMILIES: dict[str, dict[str, Any]] = {
    "mlp": {},
    "transgan": {
        "model": "transgan",
        "length_nimg": 96,
        "locality": Locality("band", ((40, 1), (64, 2))),
        "options": {"entry_stage": 1},
        "cotraining": Cotraining(50.0, until_nimg=56),
        "ema": Ema("half-life", half_life_nimg=50, ramp=0.1),
    },
    "sngan": {
        "model": "sngan",
        "objective": "hinge",
        "length_nimg": 96,
        "penalty": Penalty(),
        "drift": Drift(),
        "augment": Augment(),
        "clip_grad_norm": None,
        "ema": Ema(),
        "dequantise": "sn-gan",
    },
    "progan": {
        "model": "progan",
        "length_nimg": 96,
        "generator_batch": 8,
        "n_critic": 1,
        "simultaneous": True,
        "penalty": Penalty("gradient", 10.0, target=750.0),
        "drift": Drift("mean-square", 1e-3),
        "growth": Growth(first_resolution=4, first_nimg=16, fade_nimg=16, stable_nimg=8),
        "augment": Augment(),
    },
    "stylegan2": {
        "model": "stylegan2",
        "objective": "non-saturating",
        "length_nimg": 64,
        "generator_batch": 8,
        "n_critic": 1,
        "penalty": Penalty("r1", 0.005, every=2),
        "drift": Drift(),
        "augment": Augment(ada=Ada(speed_nimg=50, every=2)),
        "path_length": PathLength(every=2),
        "clip_grad_norm": None,
        "snapshots_nimg": (),
        "grids_nimg": (),
    },
}


def family(name: str) -> Any:
    return tiny.run(**{"model": "mlp", **FAMILIES[name]})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Outcome of the MLP run without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    tiny.fit(tiny.run(), folder)
    return tiny.outcome(folder)


@pytest.mark.verifies("stop and resume is bit-exact on a CPU, five model families")
@pytest.mark.parametrize("name", FAMILIES)
def test_stopped_and_resumed_equals_whole(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_resume(name, tmp_path, capsys)


def check_resume(name: str, folder: Path, capsys: pytest.CaptureFixture[str], **options: Any) -> None:
    """Stop a training in the middle and go on: the same bits as without; `options` go to the training."""
    run = family(name)
    tiny.fit(run, folder / "whole", **options)
    half = run.recipe.length_nimg // 2
    with pytest.raises(TrainingStopped):
        tiny.fit(run, folder / "halves", stop_nimg=half, **options)
    assert not (folder / "halves" / "out" / "weights" / "last.safetensors").exists()
    tiny.fit(run, folder / "halves", **options)
    assert f"resuming at {half} of" in capsys.readouterr().err
    tiny.assert_same(tiny.outcome(folder / "whole"), tiny.outcome(folder / "halves"))


def kill_until_done(run: Any, folder: Path, kills: int, chance: random.Random) -> int:
    """Kill -9 at random moments, then let it finish; returns how many kills found the run alive."""
    alive = 0
    for _ in range(kills):
        process = tiny.start(run, folder, beat=0.01)
        time.sleep(chance.uniform(0.02, 0.25))
        alive += process.is_alive()
        tiny.kill(process)
    tiny.start(run, folder).join()
    return alive


def test_killed_five_times_ends_alike(tmp_path: Path, whole: dict[str, Any]) -> None:
    assert kill_until_done(tiny.run(), tmp_path, 5, random.Random(1)) >= 2
    tiny.assert_same(whole, tiny.outcome(tmp_path))


@pytest.mark.verifies("killed 50 times, a run ends with the same generator")
@pytest.mark.slow
def test_killed_fifty_times_ends_alike(tmp_path: Path) -> None:
    run = tiny.run(length_nimg=4000, checkpoint_every_nimg=8)  # saves at every step: most kills land in a save
    tiny.fit(run, tmp_path / "whole")
    assert kill_until_done(run, tmp_path / "killed", 50, random.Random(2)) >= 40
    tiny.assert_same(tiny.outcome(tmp_path / "whole"), tiny.outcome(tmp_path / "killed"))


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_killed_while_saving(tmp_path: Path, whole: dict[str, Any], function: str) -> None:
    """Death right before the n-th rename or flush, for every n of the first save."""
    for n in range(4):
        pid = os.fork()
        if pid == 0:
            calls = [0]
            original = getattr(os, function)

            def dying(*args: Any, calls: Any = calls, n: int = n, original: Any = original, **options: Any) -> Any:
                calls[0] += "safetensors" in str(args) or "0000.json" in str(args) or function == "fsync"
                if calls[0] > n:
                    os._exit(9)
                return original(*args, **options)

            setattr(os, function, dying)
            tiny.fit(tiny.run(), tmp_path / str(n))
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
        tiny.fit(tiny.run(), tmp_path / str(n))
        tiny.assert_same(whole, tiny.outcome(tmp_path / str(n)))


def test_sigterm_saves_and_leaves(tmp_path: Path, whole: dict[str, Any]) -> None:
    run = tiny.run(checkpoint_every_nimg=10**9, log_every_nimg=8)
    tiny.fit(run, tmp_path / "whole")
    process = tiny.start(run, tmp_path / "stopped", beat=0.05)
    while not any(tiny.history.read(path) for path in (tmp_path / "stopped" / "work").glob("*/*/history.csv")):
        time.sleep(0.02)
    assert tiny.kill(process, signal.SIGTERM) != 0
    saved = list((tmp_path / "stopped" / "work").glob("*/*/*.safetensors"))
    assert len(saved) == 1, "the interrupted run saved exactly once"
    assert 0 < int(saved[0].stem) < run.recipe.length_nimg
    tiny.fit(run, tmp_path / "stopped")
    tiny.assert_same(tiny.outcome(tmp_path / "whole"), tiny.outcome(tmp_path / "stopped"))


def test_full_disk_stops_with_the_old_checkpoint_intact(
    tmp_path: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, saves = generator_file.save_file, []

    def full(tensors: Any, path: Path, metadata: Any = None) -> None:
        saves.append(path)
        if len(saves) == 3:
            Path(path).write_bytes(b"half a fi")
            raise OSError(errno.ENOSPC, "No space left on device")
        original(tensors, path, metadata=metadata)

    monkeypatch.setattr(generator_file, "save_file", full)
    with pytest.raises(HarnessError, match="No space left"):
        tiny.fit(tiny.run(snapshots_nimg=()), tmp_path)
    assert sorted(int(p.stem) for p in (tmp_path / "work").glob("*/*/*.safetensors")) == [40, 80]
    assert not list((tmp_path / "work").glob("*/*/.*part")), "no half-written file is left"
    assert not (tmp_path / "out" / "weights").exists()
    monkeypatch.setattr(generator_file, "save_file", original)
    tiny.fit(tiny.run(snapshots_nimg=()), tmp_path)
    assert {"last.safetensors"} == tiny.outcome(tmp_path)["weights"].keys()
    for name, tensor in tiny.outcome(tmp_path)["weights"]["last.safetensors"].items():
        assert torch.equal(tensor, whole["weights"]["last.safetensors"][name])


def test_file_size_limit_of_the_system_is_reported(tmp_path: Path) -> None:
    """A real failure of the operating system inside safetensors, not a simulated one."""
    import resource

    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
        try:
            tiny.fit(tiny.run(), tmp_path)
        except HarnessError as error:
            os._exit(7 if "could not be written" in str(error) else 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert not list((tmp_path / "work").glob("*/*/0*")), "nothing stands that is not whole"


class Poisoned(tiny.MlpDiscriminator):
    """Its logit becomes NaN (or its gradient infinite) after some calls."""

    def __init__(self, resolution: int, poison: str) -> None:
        super().__init__(resolution)
        self.poison, self.calls = poison, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += self.training and len(x) != 4  # not the probe at the start
        logit = super().forward(x)
        if self.calls > 20:
            logit = logit * float("nan") if self.poison == "nan" else (logit - logit.detach()) / 1e-45 + logit
        return logit


@pytest.mark.parametrize("poison", ["nan", "gradient"])
def test_divergence_dumps_and_exits_with_3(poison: str, tmp_path: Path) -> None:
    def build(role: str, spec: dict[str, Any], resolution: int) -> torch.nn.Module:
        return Poisoned(resolution, poison) if role == "discriminator" else tiny.build(role, spec, resolution)

    run = tiny.run(objective="hinge", penalty=Penalty(), drift=Drift())
    with pytest.raises(TrainingDiverged) as caught:
        tiny.train(run, tiny.images(8), tmp_path / "out", tmp_path / "work", threads=1, build=build)
    assert caught.value.exit_code == 3
    named = "discriminator_loss is nan" if poison == "nan" else "discriminator_grad_norm is"
    assert named in str(caught.value)
    assert not (tmp_path / "out" / "weights").exists(), "nothing that could be scored"
    dump = list((tmp_path / "work").glob("*/*/diverged/*.safetensors"))
    assert len(dump) == 1
    for path in (tmp_path / "work").glob("*/*/0*.safetensors"):
        tensors = load_file(path)
        assert all(torch.isfinite(t).all() for t in tensors.values()), f"{path} holds no NaN"


def test_changed_recipe_starts_afresh_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TrainingStopped):
        tiny.fit(tiny.run(), tmp_path, stop_nimg=120)
    capsys.readouterr()
    changed = tiny.run(discriminator_optimiser=Optimiser(2e-3, (0.0, 0.9)))
    tiny.fit(changed, tmp_path)
    err = capsys.readouterr().err
    assert "recipe.discriminator_optimiser.lr: 0.001 -> 0.002" in err
    assert "resuming" not in err
    tiny.fit(changed, tmp_path / "alone")
    for name, tensors in tiny.outcome(tmp_path)["weights"].items():
        for key, tensor in tensors.items():
            assert torch.equal(tensor, tiny.outcome(tmp_path / "alone")["weights"][name][key])


def test_another_scale_of_equal_length_shares_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.fit(tiny.run(), tmp_path)
    capsys.readouterr()
    tiny.fit(dataclasses.replace(tiny.run(), scale="other"), tmp_path)
    assert "resuming at 160 of 160" in capsys.readouterr().err


def test_seeds_differ(tmp_path: Path, whole: dict[str, Any]) -> None:
    tiny.fit(tiny.run(seed=1), tmp_path)
    ours, theirs = tiny.outcome(tmp_path)["weights"]["last.safetensors"], whole["weights"]["last.safetensors"]
    assert not any(torch.equal(ours[name], theirs[name]) for name in ours)
