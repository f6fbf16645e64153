"""Initialisation, output switch and super-resolution branch."""

import math

import pytest
import torch
from torch import Tensor

from harness.errors import HarnessError
from models.transgan import build_discriminator, build_generator


def assert_uniform(x: Tensor, bound: float) -> None:
    assert x.abs().max() <= bound
    assert x.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def assert_normal(x: Tensor, std: float) -> None:
    assert x.std().item() == pytest.approx(std, rel=0.1)
    assert x.mean().abs() < 4 * std / math.sqrt(x.numel())
    assert x.abs().max() > 2.2 * std  # cut at +-2, not at two standard deviations


def test_generator_initialisation() -> None:
    """Linear layers at torch's default, biases too; positions N(0, 0.02^2); RGB weight Xavier-uniform."""
    torch.manual_seed(0)
    generator = build_generator(32, size="XS")
    block = generator.stages[0][0]  # type: ignore[index]
    for layer in (generator.project, block.attention.qkv, block.attention.out, block.mlp.expand, block.mlp.contract):
        bound = 1 / math.sqrt(layer.in_features)
        assert_uniform(layer.weight, bound)
        if layer.bias is not None:
            assert_uniform(layer.bias, bound)
    assert block.attention.qkv.bias is None
    for positions in generator.positions:
        assert_normal(positions, 0.02)
    assert generator.to_rgb.weight.abs().max() <= math.sqrt(6 / (8 + 3))
    assert generator.to_rgb.weight.abs().max() > 1 / math.sqrt(8)  # beyond torch's default
    assert 0 < generator.to_rgb.bias.abs().max() <= 1 / math.sqrt(8)


def test_discriminator_initialisation() -> None:
    """Linear weights N(0, 0.02^2), their biases 0; patch weight Xavier-uniform, its bias at torch's default."""
    torch.manual_seed(0)
    discriminator = build_discriminator(32, width=128, depth=1)
    block = discriminator.blocks[0]
    for layer in (block.attention.qkv, block.attention.out, block.mlp.expand, block.mlp.contract, discriminator.head):
        assert_normal(layer.weight, 0.02)
        assert layer.bias is None or not layer.bias.any()
    assert_normal(discriminator.class_token, 0.02)
    assert_normal(discriminator.positions, 0.02)
    assert_uniform(discriminator.embed.weight, math.sqrt(6 / (48 + 128 * 16)))
    assert discriminator.embed.bias is not None
    assert_uniform(discriminator.embed.bias, 1 / math.sqrt(48))
    assert torch.equal(discriminator.norm.weight, torch.ones(128))
    assert not discriminator.norm.bias.any()


def test_output_switch() -> None:
    """The released generator ends without tanh, so its pixel values have no bound."""
    torch.manual_seed(0)
    linear = build_generator(32, size="XS")
    bounded = build_generator(32, size="XS", output="tanh")
    with torch.no_grad():
        linear.to_rgb.bias.fill_(3.0)
        bounded.load_state_dict(linear.state_dict())
        z = torch.randn(2, 128)
        assert linear(z).max() > 1
        torch.testing.assert_close(bounded(z), linear(z).tanh())


@pytest.mark.parametrize("entry_stage", [0, 1, 2])
def test_super_resolution_shares_the_later_stages(entry_stage: int) -> None:
    torch.manual_seed(0)
    generator = build_generator(32, size="XS", entry_stage=entry_stage)
    side = generator.sides[entry_stage]
    low = torch.rand(2, 3, side, side) * 2 - 1
    high = generator.super_resolve(low)
    assert high.shape == (2, 3, 32, 32)
    high.square().mean().backward()
    trained = {name for name, p in generator.named_parameters() if p.grad is not None}
    first = [name for name in trained if name.startswith("stages.")]
    assert {"from_rgb.weight", "to_rgb.weight", f"positions.{entry_stage}"} <= trained
    assert min(int(name.split(".")[1]) for name in first) == entry_stage
    assert "project.weight" not in trained


def test_super_resolution_enters_pixel_by_pixel() -> None:
    """Token t of the entry stage comes from pixel t, row-major."""
    generator = build_generator(32, size="XS", entry_stage=1)
    seen: list[Tensor] = []
    generator.stages[1][0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))  # type: ignore[index]
    low = torch.rand(1, 3, 16, 16)
    generator.super_resolve(low)
    assert generator.from_rgb is not None
    expected = generator.from_rgb(low[0, :, 2, 5]) + generator.positions[1][2 * 16 + 5]
    torch.testing.assert_close(seen[0][0, 2 * 16 + 5], expected)


def test_branch_exists_only_when_asked_for() -> None:
    plain, branched = build_generator(32, size="XS"), build_generator(32, size="XS", entry_stage=1)
    assert set(branched.state_dict()) - set(plain.state_dict()) == {"from_rgb.weight", "from_rgb.bias"}
    assert plain.entry_stage is None
    with pytest.raises(HarnessError, match="no super-resolution branch"):
        plain.super_resolve(torch.zeros(1, 3, 16, 16))
    with pytest.raises(HarnessError, match="stage 1 takes images of 16 px"):
        branched.super_resolve(torch.zeros(1, 3, 8, 8))


def test_locality_acts_on_super_resolution_too() -> None:
    torch.manual_seed(0)
    generator = build_generator(32, size="XS", entry_stage=1)
    low = torch.rand(1, 3, 16, 16)
    free = generator.super_resolve(low)
    generator.set_locality("band", 4)
    assert not torch.equal(generator.super_resolve(low), free)
