"""The NeurIPS pair: parameter counts as the official classes have them, shapes, two derivatives, initialisation."""

import json
from typing import Any

import pytest
import torch
from torch import nn

from harness.errors import HarnessError
from models.transgan import neurips
from models.transgan.blocks import PixelNorm
from tests.paths import GOLDEN as GOLDEN_DIR

GOLDEN: dict[str, Any] = json.loads((GOLDEN_DIR / "golden.json").read_text())["neurips_params"]
RESOLUTIONS = {"cifar10": 32, "stl10": 48}


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("data", RESOLUTIONS)
def test_parameter_counts(data: str) -> None:
    golden, resolution = GOLDEN[data], RESOLUTIONS[data]
    with torch.device("meta"):
        generator, discriminator = neurips.build_generator(resolution), neurips.build_discriminator(resolution)
    assert count(generator) == golden["G_params"]
    assert count(generator.project) == golden["G_children"]["l1"]
    assert count(generator.stages[0]) == golden["G_children"]["blocks"]
    assert sum(count(stage) for stage in generator.stages[1:]) == golden["G_children"]["upsample_blocks"]
    assert count(generator.to_rgb) == golden["G_children"]["deconv"]
    assert [[1, *p.shape] for p in generator.positions] == list(golden["G_direct"].values())
    assert count(discriminator) == golden["D_params"]
    children = golden["D_children"]
    assert count(discriminator.fine_embed) == children["fRGB_1"]
    assert count(discriminator.coarse_embed) == children["fRGB_2"]
    assert count(discriminator.fine_blocks) == children["blocks_1"]
    assert count(discriminator.coarse_blocks) == children["blocks_2"]
    assert count(discriminator.class_blocks) == children["last_block"]
    assert count(discriminator.norm) == children["norm"]
    assert count(discriminator.head) == children["head"]
    with torch.device("meta"):
        assert list(generator(torch.empty(1, generator.latent_dim)).shape) == golden["G_out"]
        assert list(discriminator(torch.empty(1, 3, resolution, resolution)).shape) == golden["D_out"]


@pytest.mark.parametrize("resolution", [32, 48])
def test_narrow_pair_trains(resolution: int) -> None:
    """Every parameter gets a gradient, through the penalty's second derivative as well."""
    torch.manual_seed(0)
    generator = neurips.build_generator(resolution, width=64, depths=(1, 1, 1), latent_dim=8)
    discriminator = neurips.build_discriminator(resolution, width=16, depths=(1, 1, 1))
    discriminator(generator(torch.randn(2, 8))).mean().backward()
    assert all(p.grad is not None for p in generator.parameters())
    discriminator.zero_grad()
    x = torch.randn(2, 3, resolution, resolution, requires_grad=True)
    gradient = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)[0]
    gradient.square().sum().backward()
    moved = {name for name, p in discriminator.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert {"fine_embed.weight", "coarse_embed.weight", "head.weight", "fine_blocks.0.attention.bias_table"} <= moved
    assert any(isinstance(module, PixelNorm) for module in discriminator.modules()) == (resolution == 48)


def test_coarse_and_fine_tokens_meet_in_place() -> None:
    """A 4-px patch of the image moves exactly its own joint token before the joint blocks mix them."""
    torch.manual_seed(0)
    discriminator = neurips.build_discriminator(32, width=16, depths=(1, 1, 1))
    seen = []
    discriminator.coarse_blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    discriminator.fine_blocks = nn.ModuleList()  # without attention on the fine scale
    x = torch.randn(1, 3, 32, 32)
    y = x.clone()
    y[:, :, 8:12, 20:24] += 1
    with torch.no_grad():
        discriminator(x)
        discriminator(y)
    changed = (seen[0] - seen[1]).abs()[0].view(8, 8, 16)
    assert changed[2, 5, :12].max() > 0  # fine channels come first
    assert changed[2, 5, 12:].max() > 0
    changed[2, 5] = 0
    assert not changed.any()


def test_pixel_norm() -> None:
    x = torch.randn(3, 5, 8)
    torch.testing.assert_close(PixelNorm()(x), x / (x.square().mean(-1, keepdim=True) + 1e-8).sqrt())


def test_initialisation() -> None:
    torch.manual_seed(0)
    discriminator = neurips.build_discriminator(32, width=128, depths=(1, 1, 1))
    block: Any = discriminator.fine_blocks[0]
    for weight in (
        block.attention.bias_table,
        block.mlp.expand.weight,
        discriminator.fine_positions,
        discriminator.coarse_positions,
    ):
        assert weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert block.attention.noise_strength.item() == 0
    assert discriminator.class_blocks[0].attention.bias_table is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("builder", "options", "message"),
    [
        (neurips.build_generator, {"resolution": 64}, "defined at \\[32, 48\\] px"),
        (neurips.build_discriminator, {"resolution": 64}, "defined at \\[32, 48\\] px"),
        (neurips.build_discriminator, {"resolution": 32, "depths": (1, 1)}, "three depths"),
        (neurips.build_discriminator, {"resolution": 32, "width": 24}, "width 18 is not divisible by 4"),
    ],
)
def test_refusals(builder: Any, options: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(HarnessError, match=message):
        builder(**options)


def test_discriminator_refuses_other_sides() -> None:
    with torch.device("meta"), pytest.raises(HarnessError, match="takes images of 32 px"):
        neurips.build_discriminator(32, width=16)(torch.empty(1, 3, 48, 48))
