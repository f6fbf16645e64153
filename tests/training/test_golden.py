"""Objectives, penalty, training steps, DiffAugment and moving averages against numbers of the public code."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from baselines import autogan
from harness.config.schema import Augment, Drift, Ema, Optimiser, Penalty, Recipe
from harness.training import diffaugment, ema, losses
from harness.training.history import Meter
from harness.training.state import State, adam
from harness.training.steps import Steps
from harness.training.terms import DiscriminatorDraws, discriminator_terms
from models.transgan import build_discriminator, build_generator
from tests.baselines import fill as baseline_fill
from tests.models import fill

DIGITS = 1e-9
AUTOGAN = {  # layer -> role, stage and branch of the fill rule
    "linear": "1 0 0",
    r"cells\.(\d)\.conv1": r"2 \1 0",
    r"cells\.(\d)\.conv2": r"3 \1 0",
    r"cells\.(\d)\.shortcut": r"4 \1 0",
    r"cells\.(\d)\.skips\.(\d)": r"9 \1 \2",
    "to_rgb": "5 0 0",
    "norm": "8 0 0",
}
RESNET_DISCRIMINATOR = {
    r"blocks\.(\d)\.conv1": r"11 \1 0",
    r"blocks\.(\d)\.conv2": r"12 \1 0",
    r"blocks\.(\d)\.shortcut": r"13 \1 0",
    "head": "14 0 0",
}
NO_DRAWS: diffaugment.Draws = {}


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> dict[str, Any]:
    return json.loads((golden_dir / "golden.json").read_text())


@pytest.fixture(scope="module")
def golden_baselines(golden_dir: Path) -> dict[str, Any]:
    return json.loads((golden_dir / "golden_baselines.json").read_text())


def recipe(**changes: Any) -> Recipe:
    adam_spec = Optimiser(1e-4, (0.0, 0.99))
    base: dict[str, Any] = {
        "objective": "wasserstein",
        "length_nimg": 6,
        "discriminator_batch": 2,
        "generator_batch": 4,
        "discriminator_optimiser": adam_spec,
        "generator_optimiser": adam_spec,
        "n_critic": 2,
        "penalty": Penalty("gradient", 10.0),
        "drift": Drift("squared-mean", 1e-3),
        "clip_grad_norm": 5.0,
        "ema": Ema("fixed", 0.999),
    }
    return Recipe(**{**base, **changes})


def state_of(generator: torch.nn.Module, discriminator: torch.nn.Module, spec: Recipe) -> State:
    return State(
        generator=generator,
        discriminator=discriminator,
        average=ema.Average(generator, spec.ema),
        generator_optimiser=adam(generator, spec.generator_optimiser),
        discriminator_optimiser=adam(discriminator, spec.discriminator_optimiser),
        meter=Meter("cpu"),
        extra={},
    )


def draws_with(alpha: list[float]) -> DiscriminatorDraws:
    return DiscriminatorDraws(NO_DRAWS, NO_DRAWS, NO_DRAWS, torch.tensor(alpha, dtype=torch.double))


@pytest.mark.parametrize(("batched", "functional"), [(False, False), (True, True)])
def test_losses_and_gradient_penalty(golden: dict[str, Any], batched: bool, functional: bool) -> None:
    expected = golden["losses_and_gradient_penalty"]["gp_size32"]
    discriminator = fill.fill(build_discriminator(32), "full")
    reals, fakes = fill.image(2, 32, 42), fill.image(2, 32, 43)
    draws = draws_with(expected["alpha_per_sample"])
    apply = functools.partial(diffaugment.apply, Augment())
    measured = {}
    for name, spec in {
        "wgangp_eps_phi1": recipe(),
        "wgangp_phi1": recipe(drift=Drift()),
        "hinge": recipe(objective="hinge", penalty=Penalty(), drift=Drift()),
        "lsgan": recipe(objective="lsgan", penalty=Penalty(), drift=Drift()),
    }.items():
        terms = discriminator_terms(discriminator, spec, apply, reals, fakes, draws, batched, functional)
        measured[name] = terms["discriminator_loss"].item()
    for name, value in measured.items():
        assert value == pytest.approx(expected[f"d_loss_{name}"], rel=DIGITS)
    gradient = losses.input_gradient(discriminator, losses.interpolate(reals, fakes, draws.alpha), functional)
    assert gradient.flatten(1).norm(dim=1).tolist() == pytest.approx(expected["grad_norms"], rel=DIGITS)
    for phi in (1, 2):
        term = losses.penalty(Penalty("gradient", 1.0, target=phi), gradient).item() * phi**2
        assert term == pytest.approx(expected[f"gp_phi{phi}"], rel=DIGITS)
    logits = discriminator(fakes)
    assert losses.OBJECTIVES["wasserstein"].generator(logits).item() == pytest.approx(
        expected["g_loss_default"], rel=DIGITS
    )
    assert losses.OBJECTIVES["lsgan"].generator(logits).item() == pytest.approx(expected["g_loss_lsgan"], rel=DIGITS)


def test_non_saturating_is_cross_entropy_on_logits() -> None:
    real, fake = torch.randn(2, 5, 1, dtype=torch.double)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    objective = losses.OBJECTIVES["non-saturating"]
    expected = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))
    torch.testing.assert_close(objective.discriminator(real, fake), expected)
    torch.testing.assert_close(objective.generator(fake), bce(fake, torch.ones_like(fake)))


def test_three_transgan_iterations(golden: dict[str, Any]) -> None:
    expected = golden["train_step"]["train_cifar_S_wgangp_eps"]
    spec = recipe()
    generator = fill.fill(build_generator(32, size="S"), "full")
    discriminator = fill.fill(build_discriminator(32), "full")
    state = state_of(generator, discriminator, spec)
    steps = Steps(spec, state, 32, "cpu")
    latents = iter(fill.latent(shape[0], shape[1], role) for shape, role in expected["inputs"]["latent_calls"])
    seen, norms = [], []
    for i in range(3):
        terms = steps.discriminator_gradients(fill.image(2, 32, 60 + i), next(latents), draws_with([0.25, 0.75]))
        terms |= steps.apply_discriminator()
        seen.append(("d_loss", terms["discriminator_loss"].item(), i))
        norms.append(("D", terms["discriminator_grad_norm"].item()))
        if i % spec.n_critic == spec.generator_phase:
            terms = steps.generator_gradients(next(latents), NO_DRAWS) | steps.apply_generator()
            state.average.update(2 * i, 2)
            seen.append(("g_loss", terms["generator_loss"].item(), i))
            norms.append(("G", terms["generator_grad_norm"].item()))
    assert [(name, i) for name, _, i in seen] == [(name, i) for name, _, i in expected["losses"]]
    assert [v for _, v, _ in seen] == pytest.approx([v for _, v, _ in expected["losses"]], rel=DIGITS)
    assert [n for n, _ in norms] == [n for n, *_ in expected["grad_norm_before_clip"]]
    assert [v for _, v in norms] == pytest.approx([v for _, v, _ in expected["grad_norm_before_clip"]], rel=DIGITS)
    average: Any = state.average.current()
    after = {
        "D_head_weight_first4": discriminator.head.weight.flatten()[:4].tolist(),  # type: ignore[union-attr, operator]
        "D_head_bias": discriminator.head.bias.tolist(),  # type: ignore[union-attr, operator]
        "D_patch_weight_first4": discriminator.embed.weight.flatten()[:4].tolist(),  # type: ignore[union-attr, operator]
        "D_param_sum": sum(p.sum().item() for p in discriminator.parameters()),
        "G_l1_weight_first4": generator.project.weight.flatten()[:4].tolist(),  # type: ignore[union-attr, operator]
        "G_rgb_weight_first4": generator.to_rgb.weight.flatten()[:4].tolist(),  # type: ignore[union-attr, operator]
        "G_param_sum_without_to_rgb": sum(p.sum().item() for p in generator.parameters()),
        "EMA_l1_weight_first4": average.project.weight.flatten()[:4].tolist(),
        "EMA_param_sum_without_to_rgb": sum(p.sum().item() for p in average.parameters()),
    }
    for name, value in after.items():
        assert value == pytest.approx(expected["after"][name], rel=DIGITS), name


def test_three_autogan_iterations(golden_baselines: dict[str, Any]) -> None:
    expected = golden_baselines["autogan"]["train_three_steps_official_modules"]
    spec = recipe(
        objective="hinge",
        penalty=Penalty(),
        drift=Drift(),
        clip_grad_norm=None,
        discriminator_optimiser=Optimiser(2e-4, (0.0, 0.9)),
        generator_optimiser=Optimiser(2e-4, (0.0, 0.9)),
    )
    generator = baseline_fill.fill(autogan.build_generator(32), AUTOGAN, full=True).train()
    discriminator = baseline_fill.fill(
        autogan.build_discriminator(32, spectral_norm=False), RESNET_DISCRIMINATOR, full=True
    ).train()
    state = state_of(generator, discriminator, spec)
    steps = Steps(spec, state, 32, "cpu")
    digits = functools.partial(pytest.approx, rel=1e-8, abs=1e-12)

    def norm(module: torch.nn.Module) -> float:
        return sum(p.detach().square().sum().item() for p in module.parameters()) ** 0.5

    for i, record in enumerate(expected["log"]):
        reals, latents = baseline_fill.image(2, 32, 60 + i), baseline_fill.latent(2, 128, 70 + i)
        terms = steps.discriminator_gradients(reals, latents, draws_with([0.0, 0.0])) | steps.apply_discriminator()
        assert terms["discriminator_loss"].item() == digits(record["d_loss"])
        assert terms["discriminator_grad_norm"].item() == digits(record["d_grad_norm"])
        assert terms["real_logit"].item() == digits(sum(record["real"]) / 2)
        assert terms["fake_logit"].item() == digits(sum(record["fake"]) / 2)
        assert norm(discriminator) == digits(record["d_weight_l2"])
        if i % 2 == 0:
            terms = steps.generator_gradients(baseline_fill.latent(4, 128, 80 + i), NO_DRAWS) | steps.apply_generator()
            state.average.update(2 * i, 2)
            assert terms["generator_loss"].item() == digits(record["g_loss"])
            assert terms["generator_grad_norm"].item() == digits(record["g_grad_norm"])
            assert norm(generator) == digits(record["g_weight_l2"])
            assert norm(state.average.current()) == digits(record["ema_l2"])


def golden_augment_image() -> torch.Tensor:
    return 2 * fill.values((2, 3, 8, 8), 86)


@pytest.mark.parametrize("operation", ["brightness", "saturation", "contrast"])
def test_colour_operations(golden_baselines: dict[str, Any], operation: str) -> None:
    draws = {name: torch.full((2,), 0.5) for name in ("brightness", "saturation", "contrast")}  # 0.5 changes nothing
    draws[operation] = torch.tensor([0.1, 0.8], dtype=torch.double)
    out = diffaugment.apply(Augment(("color",)), golden_augment_image(), draws)
    baseline_fill.assert_close(baseline_fill.statistics(out), golden_baselines["diffaugment"][f"{operation}_r_0.1_0.8"])


def test_translation(golden: dict[str, Any], golden_baselines: dict[str, Any]) -> None:
    draws = {"shift": torch.tensor([[1, -1], [-1, 0]])}
    out = diffaugment.apply(Augment(("translation",)), golden_augment_image(), draws)
    expected = golden_baselines["diffaugment"]["translation_H8_shifts_rows_(1,-1)_cols_(-1,0)"]
    baseline_fill.assert_close(baseline_fill.statistics(out), expected)
    for side, reach in golden["diffaug"]["translation_max_shift"].items():
        shifts = diffaugment.draw(Augment(("translation",), translation=0.2), 4000, int(side), "cpu")["shift"]
        assert (int(shifts.min()), int(shifts.max())) == (-reach, reach)


@pytest.mark.parametrize("file", ["golden", "golden_baselines"])
def test_cutout(request: pytest.FixtureRequest, file: str) -> None:
    data = request.getfixturevalue(file)
    for case in data["diffaug" if file == "golden" else "diffaugment"]["cutout_cases_H8"]:
        draws = {"offset": torch.tensor(case["offset"]).view(2, 1), "cut": torch.tensor(True)}
        out = diffaugment.apply(Augment(("cutout",)), torch.ones(1, 3, 8, 8), draws)
        rows, columns = (out[0, 0] == 0).any(1).nonzero().flatten(), (out[0, 0] == 0).any(0).nonzero().flatten()
        for found, key in ((rows, "zero_rows"), (columns, "zero_cols")):
            assert [int(found[0]), int(found[-1])] == [case[key][0], case[key][-1]], case
            assert len(found) == found[-1] - found[0] + 1


def test_draw_ranges_of_the_original(golden_baselines: dict[str, Any]) -> None:
    ranges = golden_baselines["diffaugment"]["randint_ranges_32_48_64"]
    spec = Augment(("translation", "cutout"))
    for i, side in enumerate((32, 48, 64)):
        draws = diffaugment.draw(spec, 20000, side, "cpu")
        for found, (low, high) in ((draws["shift"], ranges[2 * i]), (draws["offset"], ranges[2 * i + 1])):
            assert (int(found.min()), int(found.max()) + 1) == (low, high)


def test_cutout_is_drawn_once_per_call_with_its_probability(golden: dict[str, Any]) -> None:
    spec = Augment(("cutout",), cutout_probability=0.3)
    torch.manual_seed(0)
    counts = []
    for _ in range(1000):
        out = diffaugment.apply(spec, torch.ones(3, 1, 8, 8), diffaugment.draw(spec, 3, 8, "cpu"))
        cut = (out == 0).flatten(1).any(1)
        assert cut.all() or not cut.any()
        counts.append(bool(cut[0]))
    assert 0.25 < sum(counts) / 1000 < 0.35
    for side, size in golden["diffaug"]["cutout_size"].items():
        draws = {"offset": torch.full((2, 1), int(side) // 2), "cut": torch.tensor(True)}
        assert (
            diffaugment.apply(Augment(("cutout",)), torch.ones(1, 1, int(side), int(side)), draws) == 0
        ).sum() == size**2


def test_augmentation_is_twice_differentiable() -> None:
    spec = Augment(("translation", "cutout", "color"), translation=0.2)
    torch.manual_seed(1)
    draws = diffaugment.draw(spec, 2, 4, "cpu")
    images = torch.randn(2, 3, 4, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: diffaugment.apply(spec, x, draws).square(), images)


def test_half_life_schedule(golden: dict[str, Any], golden_baselines: dict[str, Any]) -> None:
    examples = golden["neurips_ema_examples"]
    spec = Ema("half-life", half_life_nimg=500_000, ramp=0.1)
    assert ema.decay(spec, 64 * 16390, 64) == pytest.approx(examples["t_16390"], rel=1e-14)
    assert ema.decay(spec, 64 * 10**7, 64) == pytest.approx(examples["t_large"], rel=1e-14)
    assert ema.decay(spec, 0, 64) == examples["t_0"]
    spec = Ema("half-life", half_life_nimg=500_000, ramp=0.05)
    for name, value in golden_baselines["ada_ema"].items():
        assert ema.decay(spec, int(name.removeprefix("nimg_")), 64) == pytest.approx(value, rel=1e-13)
