"""Small trainings in several forked processes, in float64 where results are compared."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo
from safetensors.torch import load_file
from torch import nn

from harness.config.experiments import Run
from harness.training import loop, processes
from harness.training.image_stream import ImageStream
from tests.training import tiny

BUILD = tiny.build


class DoubleStream(ImageStream):
    def batch(self, *arguments: Any) -> torch.Tensor:
        return super().batch(*arguments).double()


def double(role: str, spec: dict[str, Any], resolution: int, build: Any = BUILD, ulp: bool = False) -> nn.Module:
    """A network in float64; with `ulp`, every weight is the next number above."""
    network = build(role, spec, resolution).double()
    if ulp:
        with torch.no_grad():
            for weight in network.parameters():
                weight.copy_(torch.nextafter(weight, torch.full_like(weight, torch.inf)))
    return network


def noisy(network: nn.Module) -> nn.Module:
    """Let the noise of a network's attention matter: its strength starts at 0."""
    strengths = [weight for name, weight in network.named_parameters() if name.endswith("noise_strength")]
    assert strengths, "it has noise"
    with torch.no_grad():
        for strength in strengths:
            strength.fill_(1.0)
    return network


def train(the_run: Run, folder: Path, build: Any, ulp: bool, options: dict[str, Any]) -> None:
    """Train in one of the processes, in float64."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    loop.ImageStream = DoubleStream  # type: ignore[misc]
    made = functools.partial(double, build=build, ulp=ulp)
    out, work = folder / "out", folder / "work"
    loop.train(the_run, tiny.images(the_run.resolution), out, work, threads=1, build=made, **options)


def fit(the_run: Run, folder: Path, count: int, build: Any = BUILD, ulp: bool = False, **options: Any) -> None:
    """Train in `count` processes into folder/out and folder/work, as `tiny.fit` does."""
    processes.run(count, train, the_run, folder, build, ulp, options, start_method="fork")


def rows(folder: Path) -> list[dict[str, float]]:
    """The history's losses and norms."""
    found = tiny.history.read(folder / "out" / "train" / "history.csv")
    return [{k: float(v) for k, v in row.items() if v and k not in tiny.history.TIMING} for row in found]


def networks(folder: Path) -> dict[str, np.ndarray]:
    """The networks in the last checkpoint, by the names of their tensors."""
    tensors = load_file(max((folder / "work").glob("*/*/*.safetensors")))
    return {
        name: t.double().numpy() for name, t in tensors.items() if name.split("/")[0] in ("generator", "discriminator")
    }


def distance(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """Largest difference of two networks' tensors."""
    assert one.keys() == other.keys()
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)
