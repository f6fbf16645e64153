"""Progressive GAN against the golden numbers of its Theano preset, and the schedule of its growth."""

import json
import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines import progan
from harness.config.experiments import definitions, load_models
from harness.config.schema import Growth
from harness.networks import operations
from harness.training.progressive_growing import blend_reals, lod_at
from tests.baselines import fill
from tests.baselines.fill_equalised import fill_equalised

LODS = (0.0, 0.25, 1.0, 1.5, 3.0)
# Roles 93 and 94 (97 and 98) are the two convolutions of stage s, counted from 1 at twice the first side.
GENERATOR = {
    "first": "91 0 0",
    "second": "92 0 0",
    **{rf"stages\.{s - 1}\.conv{i}": f"{92 + i} {s} 0" for s in (1, 2, 3, 4) for i in (1, 2)},
    r"to_rgb\.(\d)": r"95 \1 0",
}
DISCRIMINATOR = {
    r"from_rgb\.(\d)": r"96 \1 0",
    "conv": "99 0 0",
    "flatten": "90 0 0",
    "head": "89 0 0",
    **{rf"stages\.{s - 1}\.conv{i}": f"{96 + i} {s} 0" for s in (1, 2, 3, 4) for i in (1, 2)},
}


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> dict[str, Any]:
    """Golden numbers."""
    return json.loads((golden_dir / "golden_baselines.json").read_text())


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.verifies("exact: progan@32")
@pytest.mark.parametrize("filling", ["simple", "full"])
def test_networks_match_golden_numbers(golden: dict[str, Any], filling: str) -> None:
    expected = golden["own_reimplementation"]["progan_cifar_theano_preset"]
    generator, discriminator = progan.build_generator(32), progan.build_discriminator(32)
    assert (parameters(generator), parameters(discriminator)) == (expected["G_params"], expected["D_params"])
    fill_equalised(generator, GENERATOR, filling == "full")
    fill_equalised(discriminator, DISCRIMINATOR, filling == "full")
    assert set(expected[filling]) == {f"lod_{lod}" for lod in LODS}
    for lod in LODS:
        generator.set_lod(lod)
        discriminator.set_lod(lod)
        with torch.no_grad():
            measured = {
                "image": fill.statistics(generator(fill.latent(2, 128))),
                "logits": discriminator(fill.image(2, 32)).flatten().tolist(),
            }
        fill.assert_close(measured, expected[filling][f"lod_{lod}"])


@pytest.mark.parametrize(("resolution", "entry"), [(32, "progan_theano_cifar_32"), (64, "progan_theano_style_64")])
def test_macs_at_full_resolution(golden: dict[str, Any], resolution: int, entry: str) -> None:
    counts = golden["parameter_and_mac_counts"]["analytic"][entry]
    with torch.device("meta"):
        generated = operations.macs(progan.build_generator(resolution), torch.empty(1, 128))
        judged = operations.macs(progan.build_discriminator(resolution), torch.empty(1, 3, resolution, resolution))
    assert generated == counts["G_macs_full_resolution_only"]
    assert judged == counts["D_macs_full_resolution_only"]


def test_parameters_at_other_sizes(golden: dict[str, Any]) -> None:
    counts = golden["parameter_and_mac_counts"]["analytic"]["progan_theano_style_64"]
    nets = progan.build_generator(64), progan.build_discriminator(64)
    assert tuple(map(parameters, nets)) == (counts["G_all"], counts["D_all"])
    # At 48 only the first and the last square convolution grow, from 4x4 to 6x6.
    counts = golden["parameter_and_mac_counts"]["analytic"]["progan_theano_cifar_32"]
    more = 128 * 128 * (36 - 16)
    nets = progan.build_generator(48), progan.build_discriminator(48)
    assert tuple(map(parameters, nets)) == (counts["G_all"] + more, counts["D_all"] + more)


@pytest.mark.parametrize("resolution", [32, 48, 64])
def test_every_level_of_detail_has_full_size_and_is_continuous(resolution: int) -> None:
    torch.manual_seed(0)
    generator = progan.build_generator(resolution, width=8).eval()
    discriminator = progan.build_discriminator(resolution, width=8).eval()
    z, x = torch.randn(3, 8), torch.rand(3, 3, resolution, resolution) * 2 - 1
    levels = int(math.log2(resolution / 4))

    def at(lod: float) -> tuple[Tensor, Tensor]:
        generator.set_lod(lod)
        discriminator.set_lod(lod)
        with torch.no_grad():
            return generator(z), discriminator(x)

    for level in range(levels + 1):
        image, logits = at(float(level))
        assert image.shape == (3, 3, resolution, resolution)
        assert logits.shape == (3, 1)
        block = 2**level
        assert torch.equal(image, image[..., ::block, ::block].repeat_interleave(block, 2).repeat_interleave(block, 3))
        if level < levels:
            for near, own in zip(at(level + 1e-4), (image, logits), strict=True):
                torch.testing.assert_close(near, own, rtol=0, atol=0.01)
            for near, next_ in zip(at(level + 1 - 1e-4), at(level + 1.0), strict=True):
                torch.testing.assert_close(near, next_, rtol=0, atol=0.01)


def test_a_fading_level_trains_both_sides_and_nothing_finer() -> None:
    generator, discriminator = progan.build_generator(32, width=8), progan.build_discriminator(32, width=8)
    generator.set_lod(1.5)
    discriminator.set_lod(1.5)
    discriminator(generator(torch.randn(4, 8))).sum().backward()
    for net, ends in ((generator, generator.to_rgb), (discriminator, discriminator.from_rgb)):
        assert [end.weight.grad is not None for end in ends] == [False, True, True, False]
        assert [stage.conv1.weight.grad is not None for stage in net.stages] == [True, True, False]


def test_level_of_detail_travels_with_the_state() -> None:
    generator = progan.build_generator(32, width=8)
    generator.set_lod(1.25)
    assert set(generator.state_dict()) == {n for n, _ in generator.named_parameters()} | {"lod"}
    state = generator.state_dict()
    copy = progan.build_generator(32, width=8)
    copy.load_state_dict(state)
    z = torch.randn(2, 8)
    assert torch.equal(copy(z), generator(z))
    average = deepcopy(copy)
    average.set_lod(0.0)
    average.load_state_dict(state)
    assert (average.level_of_detail, copy.level_of_detail) == (1.25, 1.25)


def test_a_level_of_detail_that_does_not_exist_is_refused() -> None:
    with pytest.raises(AssertionError, match="between 0 and 3"):
        progan.build_generator(32, width=8).set_lod(3.5)
    with pytest.raises(ValueError, match="resolution: 40 is not one of 32, 48, 64"):
        progan.build_discriminator(40)


def test_minibatch_stddev_is_one_number_of_the_whole_batch() -> None:
    x = torch.randn(6, 5, 4, 4, dtype=torch.float64)
    out = progan.append_minibatch_stddev(x)
    expected = (x.var(dim=0, correction=0) + 1e-8).sqrt().mean()
    torch.testing.assert_close(out[:, 5], expected.expand(6, 4, 4))
    assert torch.equal(out[:, :5], x)


def test_bfloat16_autocast_works_while_fading() -> None:
    torch.manual_seed(0)
    generator, discriminator = progan.build_generator(32, width=8), progan.build_discriminator(32, width=8)
    generator.set_lod(0.5)
    discriminator.set_lod(0.5)
    z = torch.randn(4, 8)
    expected = generator(z)
    with torch.autocast("cpu", torch.bfloat16):
        image = generator(z)
        discriminator(image).float().sum().backward()
    assert (image - expected).norm() < 0.05 * expected.norm()  # 8 bits of mantissa, nine layers


@pytest.mark.parametrize("lod", [0.0, 1.5])
def test_discriminator_is_twice_differentiable(lod: float) -> None:
    torch.manual_seed(0)
    discriminator = progan.build_discriminator(32, width=2).double()
    discriminator.set_lod(lod)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    weight = discriminator.stages[0].conv1.weight

    def penalty() -> Tensor:
        (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
        return (gradient.flatten(1).norm(dim=1) - 750).square().mean()

    (gradient,) = torch.autograd.grad(penalty(), weight)
    direction, step, values = torch.randn_like(weight), 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            weight.add_(direction, alpha=sign * step)
        values.append(penalty().item())
        with torch.no_grad():
            weight.sub_(direction, alpha=sign * step)
    assert (values[0] - values[1]) / (2 * step) == pytest.approx((gradient * direction).sum().item(), rel=1e-4)


@pytest.mark.parametrize("kimg", [0, 100, 399, 400, 500, 799, 800, 1000, 1200, 1500, 1599, 2000, 2399, 2400, 20_000])
def test_schedule_is_that_of_the_cifar_preset(kimg: int) -> None:
    k = kimg / 800
    expected = max(3 - math.floor(k) - max(2 * (k - math.floor(k)) - 1, 0), 0)
    assert lod_at(kimg * 1000, Growth(), 32) == pytest.approx(expected, abs=1e-12)


def test_schedule_at_other_sizes_and_lengths() -> None:
    assert lod_at(0, Growth(), 48) == 3  # 6, 12, 24, 48
    assert lod_at(0, Growth(first_resolution=6), 48) == 3
    assert lod_at(0, Growth(), 64) == 4
    growth = Growth(first_nimg=100, fade_nimg=200, stable_nimg=300)
    assert [lod_at(n, growth, 32) for n in (99, 100, 200, 300, 599, 700, 800, 1399, 1e9)] == [
        *(3, 3, 2.5, 2, 2, 1.5, 1, 0),
        0,
    ]
    abrupt = Growth(first_nimg=100, fade_nimg=0, stable_nimg=100)
    assert [lod_at(n, abrupt, 32) for n in (0, 100, 200, 300, 400)] == [3, 2, 1, 0, 0]


def test_reals_are_pooled_and_blended_like_the_generators_images() -> None:
    x = torch.rand(2, 3, 8, 8)

    def pooled(factor: int) -> Tensor:
        return F.avg_pool2d(x, factor).repeat_interleave(factor, 2).repeat_interleave(factor, 3)

    assert torch.equal(blend_reals(x, 0.0), x)
    torch.testing.assert_close(blend_reals(x, 1.0), pooled(2))
    torch.testing.assert_close(blend_reals(x, 0.25), 0.75 * x + 0.25 * pooled(2))
    torch.testing.assert_close(blend_reals(x, 1.5), 0.5 * pooled(2) + 0.5 * pooled(4))


def test_five_steps_change_the_weights_and_stay_finite() -> None:
    torch.manual_seed(0)
    generator, discriminator = progan.build_generator(32, width=8), progan.build_discriminator(32, width=8)
    nets, x = (generator, discriminator), torch.rand(4, 3, 32, 32) * 2 - 1
    before = [p.detach().clone() for net in nets for p in net.parameters()]
    adams = [torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.0, 0.99)) for net in nets]
    for _ in range(5):
        for adam in adams:
            adam.zero_grad()
        fake = generator(torch.randn(4, 8))
        mixed = x.lerp(fake.detach(), torch.rand(4, 1, 1, 1)).requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(mixed).sum(), mixed, create_graph=True)
        penalty = 10 * (gradient.flatten(1).norm(dim=1) - 750).square().mean() / 750**2
        real = discriminator(x)
        drift = 1e-3 * real.square().mean()  # without it the head's bias has no gradient
        loss = discriminator(fake.detach()).mean() - real.mean() + penalty + drift
        loss.backward(inputs=list(discriminator.parameters()))
        (-discriminator(fake).mean()).backward(inputs=list(generator.parameters()))
        for adam in adams:
            adam.step()
    after = [p.detach() for net in nets for p in net.parameters()]
    assert all(p.isfinite().all() for p in after)
    moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    idle = 2 * generator.levels + 2 * discriminator.levels  # weights and biases of the coarser RGB layers
    assert moved.count(False) == idle


def test_recipe_is_the_cifar_preset() -> None:
    recipe = definitions().recipe("progan")
    assert (recipe.length_nimg, recipe.discriminator_batch, recipe.generator_batch) == (20_000_000, 16, 16)
    assert recipe.length_nimg / recipe.discriminator_batch == 1_250_000  # iterations
    assert recipe.simultaneous
    assert not recipe.flip
    assert (recipe.penalty.kind, recipe.penalty.weight, recipe.penalty.target) == ("gradient", 10, 750)
    assert (recipe.drift.kind, recipe.drift.weight) == ("mean-square", 1e-3)
    assert recipe.growth == Growth()
    assert lod_at(2_400_000 - 1, recipe.growth, 32) > 0 == lod_at(2_400_000, recipe.growth, 32)
    model = load_models()["progan"]
    assert list(model.resolutions) == [32, 48, 64]
