"""Parameters, shapes and multiply-accumulates of every size and resolution equal the official classes'."""

import json
from typing import Any

import pytest
import torch
from torch import nn

from harness.errors import HarnessError
from harness.networks import operations
from models.transgan import build_discriminator, build_generator
from models.transgan.presets import PRESETS
from tests.paths import GOLDEN as GOLDEN_DIR

GOLDEN = json.loads((GOLDEN_DIR / "golden.json").read_text())["params_and_macs"]
RESOLUTIONS = {"cifar10": 32, "stl10": 48, "celeba64": 64}
VALID = [(data, size) for data in RESOLUTIONS for size in ("S", "M", "L", "XL") if (data, size) != ("celeba64", "S")]


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def macs(network: nn.Module, *shape: int) -> tuple[int, tuple[int, ...]]:
    """Multiply-accumulates of one image, and the output's shape; nothing is computed on meta."""
    inputs = torch.empty(1, *shape, device="meta")
    return operations.macs(network, inputs), tuple(network(inputs).shape)


@pytest.mark.parametrize(("data", "size"), VALID)
def test_generator_counts(data: str, size: str) -> None:
    golden: dict[str, Any] = GOLDEN[data][size]
    with torch.device("meta"):
        generator = build_generator(RESOLUTIONS[data], size=size)
    assert count(generator) == golden["functional_total"] == golden["total_official"] - golden["dead_to_rgb"]
    assert count(generator.project) == golden["l1"]
    assert [p.numel() for p in generator.positions] == golden["pos_embed"]
    assert [count(stage) for stage in generator.stages] == golden["stage_blocks"]
    assert [len(stage) for stage in generator.stages] == golden["depths"]  # type: ignore[arg-type]
    assert count(generator.to_rgb) == golden["rgb"]
    assert list(generator.widths) == golden["stage_dims"]
    assert list(generator.sides) == golden["stage_sides"]
    assert macs(generator, generator.latent_dim) == (golden["macs_total"], tuple(golden["out_shape"]))


@pytest.mark.parametrize("data", RESOLUTIONS)
def test_discriminator_counts(data: str) -> None:
    golden: dict[str, Any] = GOLDEN[data]["D"]
    resolution = RESOLUTIONS[data]
    with torch.device("meta"):
        discriminator = build_discriminator(resolution)
    assert count(discriminator) == golden["total"]
    assert count(discriminator.embed) == golden["patch_embed"]
    assert discriminator.class_token.numel() == golden["cls_token"]
    assert discriminator.positions.numel() == golden["pos_embed"]
    assert count(discriminator.blocks) == golden["blocks"]
    assert count(discriminator.norm) == golden["norm"]
    assert count(discriminator.head) == golden["head"]
    assert macs(discriminator, 3, resolution, resolution) == (golden["macs_total"], (1, 1))


def test_small_at_64_px_is_refused() -> None:
    with pytest.raises(HarnessError, match=r"stage 3 of 0\.\.3: width 6 is not divisible by 4 attention heads"):
        build_generator(64, size="S")


@pytest.mark.parametrize(("size", "resolution"), [key for key in PRESETS if key[0] == "XS"])
def test_cpu_size_runs(size: str, resolution: int) -> None:
    generator = build_generator(resolution, size=size)
    images = generator(torch.randn(2, generator.latent_dim))
    assert images.shape == (2, 3, resolution, resolution)
    images.mean().backward()
    assert all(p.grad is not None for p in generator.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "XXL"}, "unknown TransGAN size 'XXL'"),
        ({"resolution": 40}, "defined at \\[32, 48, 64\\] px, not at 40"),
        ({"resolution": 34, "width": 32, "depths": (1, 1, 1), "latent_dim": 8}, "cannot be halved 2 times"),
        ({"width": 40}, "cannot be quartered 2 times"),
        ({"depths": (1, 0, 1)}, "at least one block"),
        ({"output": "tanhh"}, "Did you mean 'tanh'"),
        ({"locality_scope": "last"}, "Did you mean 'last-block'"),
        ({"entry_stage": 3}, "entry_stage 3 is not one of 0..2"),
    ],
)
def test_generator_refuses(options: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(HarnessError, match=message):
        build_generator(**{"resolution": 32, "size": "XS", **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [({"patch": 5}, "do not tile"), ({"width": 90}, "not divisible by 4"), ({"depth": 0}, "at least one block")],
)
def test_discriminator_refuses(options: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(HarnessError, match=message):
        build_discriminator(32, **options)


def test_discriminator_refuses_other_sides() -> None:
    with pytest.raises(HarnessError, match="takes images of 32 px"):
        build_discriminator(32, width=16, depth=1)(torch.zeros(1, 3, 48, 48))
