"""Trainings of a second: an MLP pair at 8 px and small members of every family, also in a child that may be killed."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from baselines import progan, sngan, stylegan2
from harness.config.experiments import Run
from harness.config.schema import Augment, Drift, Ema, Optimiser, Penalty, Recipe
from harness.networks.generator_file import load_strictly, open_weights
from harness.training import history
from harness.training.device import set_device
from harness.training.image_stream import derive_seed  # noqa: F401
from harness.training.loop import train
from harness.training.state import State, new_state
from harness.training.steps import Steps
from models.transgan import build_discriminator, build_generator

RESOLUTION = {"mlp": 8, "transgan": 8, "sngan": 32, "progan": 32, "stylegan2": 32}


class MlpGenerator(nn.Module):
    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.resolution, self.latent_dim = resolution, 4
        self.layers = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3 * resolution**2), nn.Tanh())

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.layers(z).view(-1, 3, self.resolution, self.resolution)


class MlpDiscriminator(nn.Module):
    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * resolution**2, 16), nn.Softplus(), nn.Linear(16, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def build(role: str, spec: dict[str, Any], resolution: int) -> nn.Module:
    """Networks by (role, {model: name}), small enough for a test."""
    makers: dict[tuple[str, str], Callable[[], nn.Module]] = {
        ("mlp", "generator"): lambda: MlpGenerator(resolution),
        ("mlp", "discriminator"): lambda: MlpDiscriminator(resolution),
        ("transgan", "generator"): lambda: build_generator(
            resolution, width=32, depths=(1, 1), latent_dim=8, entry_stage=spec.get("entry_stage")
        ),
        ("transgan", "discriminator"): lambda: build_discriminator(resolution, width=16, depth=1),
        ("sngan", "generator"): lambda: sngan.build_generator(resolution, width=8),
        ("sngan", "discriminator"): lambda: sngan.build_discriminator(resolution, width=8),
        ("progan", "generator"): lambda: progan.build_generator(resolution, width=8),
        ("progan", "discriminator"): lambda: progan.build_discriminator(resolution, width=8),
        ("stylegan2", "generator"): lambda: stylegan2.build_generator(resolution, channel_max=8),
        ("stylegan2", "discriminator"): lambda: stylegan2.build_discriminator(
            resolution, channel_max=8, stddev_group=4
        ),
    }
    return makers[spec["model"], role]()


def recipe(**changes: Any) -> Recipe:
    """wgangp-eps with DiffAugment, 20 discriminator steps of 8 images."""
    adam = Optimiser(1e-3, (0.0, 0.9))
    base: dict[str, Any] = {
        "objective": "wasserstein",
        "length_nimg": 160,
        "discriminator_batch": 8,
        "generator_batch": 16,
        "discriminator_optimiser": adam,
        "generator_optimiser": Optimiser(1e-3, (0.0, 0.9), decay="linear"),
        "n_critic": 2,
        "penalty": Penalty("gradient", 10.0),
        "drift": Drift("squared-mean", 1e-3),
        "clip_grad_norm": 5.0,
        "ema": Ema("fixed", 0.9),
        "augment": Augment(("translation", "cutout", "color"), 0.2, 0.5, 0.3),
        "flip": True,
        "snapshots_nimg": (60, 100),
        "grids_nimg": (0, 80),
        "log_every_nimg": 48,
        "checkpoint_every_nimg": 40,
    }
    return Recipe(**{**base, **changes})


def run(model: str = "mlp", seed: int = 0, options: dict[str, Any] | None = None, **changes: Any) -> Run:
    """One resolved run of a small model."""
    spec = recipe(**changes)
    generator = {"model": model, **(options or {})}
    discriminator, versions, resolution = {"model": model}, {"trainer": 1}, RESOLUTION[model]
    return Run("test", "tiny", seed, "noise", resolution, generator, discriminator, versions, spec.length_nimg, spec)


def steps_of(
    model: str = "mlp", options: dict[str, Any] | None = None, device: str = "cpu", **changes: Any
) -> tuple[Steps, State]:
    """Steps and state of one small model."""
    the_run = run(model, options=options, **changes)
    torch.manual_seed(0)
    set_device(device, 1, deterministic=False, precision=the_run.recipe.precision)
    generator = build("generator", the_run.generator, the_run.resolution).to(device).train()
    discriminator = build("discriminator", the_run.discriminator, the_run.resolution).to(device).train()
    state = new_state(the_run.recipe, generator, discriminator, device)
    return Steps(the_run.recipe, state, the_run.resolution, device), state


def images(resolution: int, count: int = 30) -> np.ndarray:
    """uint8 noise [count, R, R, 3]."""
    return np.random.default_rng(0).integers(0, 256, (count, resolution, resolution, 3), dtype=np.uint8)


def fit(the_run: Run, folder: Path, **options: Any) -> None:
    """Train into folder/out with checkpoints in folder/work."""
    train(the_run, images(the_run.resolution), folder / "out", folder / "work", threads=1, build=build, **options)


def _child(the_run: Run, folder: Path, beat: float) -> None:
    os.close(2)
    os.open(os.devnull, os.O_WRONLY)
    if beat:  # a slower loop, so that a kill lands inside it
        original = torch.manual_seed

        def slow(seed: int) -> Any:
            time.sleep(beat)
            return original(seed)

        torch.manual_seed = slow  # type: ignore[assignment]
    fit(the_run, folder)


def start(the_run: Run, folder: Path, beat: float = 0.0) -> multiprocessing.Process:
    """Train in a forked child (a fork saves the seconds of importing torch)."""
    process: Any = multiprocessing.get_context("fork").Process(target=_child, args=(the_run, folder, beat))
    process.start()
    return process


def kill(process: multiprocessing.Process, number: int = signal.SIGKILL) -> int | None:
    """Send a signal, wait, and return the exit code."""
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join()
    return process.exitcode


def outcome(folder: Path) -> dict[str, Any]:
    """What two equal runs share: weights, tensors of the last checkpoint, and history without its timing columns."""
    newest = max((folder / "work").glob("*/*/*.safetensors"))
    weights = {path.name: load_file(path) for path in sorted((folder / "out" / "weights").glob("*.safetensors"))}
    rows = history.read(folder / "out" / "train" / "history.csv")
    kept = [{k: v for k, v in row.items() if k not in history.TIMING} for row in rows]
    grids = {path.name: path.read_bytes() for path in sorted((folder / "out" / "train" / "grids").glob("*.png"))}
    return {"weights": weights, "state": {newest.name: load_file(newest)}, "history": kept, "grids": grids}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Bit for bit."""
    assert one["history"] == other["history"]
    assert one["grids"] == other["grids"]
    for part in ("weights", "state"):
        assert one[part].keys() == other[part].keys()
        for file, tensors in one[part].items():
            assert tensors.keys() == other[part][file].keys()
            for name, tensor in tensors.items():
                assert torch.equal(tensor, other[part][file][name]), f"{file}: {name}"


def load_generator(generator: nn.Module, path: Path) -> int:
    """Load a file of weights into a network and return the images they had seen."""
    weights = open_weights(path)
    load_strictly(generator, weights.tensors, str(path))
    return weights.nimg
