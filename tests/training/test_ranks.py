"""Several processes compute what one computes: losses and gradient norms, and weights after many iterations."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness.config.experiments import Run
from harness.config.schema import Augment, Cotraining, Drift, Ema, Locality, PathLength, Penalty
from harness.errors import HarnessError
from harness.training import schedules
from models.transgan import neurips
from tests.training import several, test_survival, tiny

ITERATIONS = 20
BATCH = 8


class Normed(tiny.MlpDiscriminator):
    """Batch norm between the image and a smooth head, so that the penalty's second derivative passes through it."""

    def __init__(self, resolution: int) -> None:
        super().__init__(resolution)
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Softplus(), nn.Conv2d(4, 3, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.first(x))


def build(role: str, spec: dict[str, Any], resolution: int) -> nn.Module:
    if spec["model"] == "normed":
        return Normed(resolution) if role == "discriminator" else tiny.MlpGenerator(resolution)
    if spec["model"] == "neurips":
        if role == "generator":
            return tiny.build(role, {"model": "sngan"}, resolution)
        return several.noisy(neurips.build_discriminator(resolution, width=16, depths=(1, 1, 1)))
    network = tiny.build(role, spec, resolution)
    if hasattr(network, "style_mixing"):
        network.style_mixing = 0.9
    return network


FAMILIES: dict[str, dict[str, Any]] = {
    "normed": {"model": "mlp"},
    "transgan": {
        "model": "transgan",
        "options": {"entry_stage": 1},
        "locality": Locality("band", ((40, 1), (80, 2))),
        "cotraining": Cotraining(50.0, until_nimg=80),
        "ema": Ema("half-life", half_life_nimg=50, ramp=0.1),
    },
    "neurips": {"model": "sngan", "generator_batch": BATCH},
    "sngan": {
        "model": "sngan",
        "objective": "hinge",
        "penalty": Penalty(),
        "drift": Drift("mean-square", 1e-3),
        "augment": Augment(),
        "clip_grad_norm": None,
        "dequantise": "sn-gan",
    },
    "progan": test_survival.FAMILIES["progan"],
    "stylegan2": test_survival.FAMILIES["stylegan2"],
}


def family(name: str) -> Run:
    """A run of a small model with a row of history an iteration."""
    plain = {
        "length_nimg": ITERATIONS * BATCH,
        "log_every_nimg": BATCH,
        "checkpoint_every_nimg": 10 * BATCH,
        "snapshots_nimg": (),
        "grids_nimg": (),
    }
    run = tiny.run(**(FAMILIES[name] | plain))
    if name in ("normed", "neurips"):
        run.generator["model"] = run.discriminator["model"] = name
    return run


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "normed" else pytest.mark.slow) for name in FAMILIES]
)
def test_several_processes_compute_what_one_computes(name: str, tmp_path: Path) -> None:
    """In float64; the yardstick of 20 iterations is what the last bit of every initial weight makes of them."""
    run = family(name)
    counts = (2,) if name == "normed" else (2, 4)
    several.fit(run, tmp_path / "1", 1, build)
    several.fit(run, tmp_path / "ulp", 1, build, ulp=True)
    one, weights = several.rows(tmp_path / "1")[0], several.networks(tmp_path / "1")
    allowed = 100 * several.distance(weights, several.networks(tmp_path / "ulp"))
    assert 0 < allowed < 1e-6, "the yardstick is rounding"
    for count in counts:
        several.fit(run, tmp_path / str(count), count, build)
        assert several.rows(tmp_path / str(count))[0] == pytest.approx(one, rel=1e-10, abs=1e-300)
        assert several.distance(several.networks(tmp_path / str(count)), weights) <= allowed


def test_batches_that_do_not_split_are_refused_with_what_divides_them() -> None:
    recipe = tiny.recipe(discriminator_batch=12, generator_batch=24, path_length=PathLength(batch_shrink=4))
    schedules.check_processes(recipe, 3)
    with pytest.raises(HarnessError, match="do not split evenly over 4 processes; take 1, 2, 3, 6"):
        schedules.check_processes(recipe, 4)
    with pytest.raises(HarnessError, match="compile does not go with 2 processes"):
        schedules.check_processes(tiny.recipe(compile=True), 2)
