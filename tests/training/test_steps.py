"""What a recipe asks for happens, at the images it says; and nothing it does not know is accepted."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from baselines import progan, sngan, stylegan2, wgan_gp
from harness.config.schema import Ada, Augment, Cotraining, Drift, Ema, Growth, Locality, Optimiser, PathLength, Penalty
from harness.errors import HarnessError
from harness.training import diffaugment, losses, schedules
from harness.training.ema import Average
from harness.training.state import batch_independent
from harness.training.steps import laid_out_as
from harness.training.terms import discriminator_terms, penalty_term
from models.transgan import build_discriminator
from tests.training import tiny
from tests.training.tiny import steps_of


def copies(module: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# ---------------------------------------------------------------- batching


def test_batch_independence_is_measured() -> None:
    assert batch_independent(build_discriminator(8, width=16, depth=1), 8)
    assert batch_independent(wgan_gp.build_discriminator(32, width=8), 32)
    assert not batch_independent(sngan.build_discriminator(32, width=8), 32), "spectral norm iterates once a call"
    assert not batch_independent(stylegan2.build_discriminator(32, channel_max=8, stddev_group=4), 32)
    assert not batch_independent(progan.build_discriminator(32, width=8), 32)


def test_batched_halves_keep_their_own_cutout() -> None:
    steps, _ = steps_of(augment=Augment(("cutout",), cutout_probability=0.5))
    assert steps.batched
    seen = []
    original = steps.discriminator
    steps.discriminator = lambda x: (seen.append(x.detach()), original(x))[1]
    outcomes = set()
    torch.manual_seed(0)
    for _ in range(40):
        seen.clear()
        images, draws = torch.ones(4, 3, 8, 8), steps.discriminator_draws(4)
        discriminator_terms(steps.discriminator, steps.recipe, steps.apply, images, images, draws, steps.batched)
        together = seen[0]
        assert len(together) == 8, "one discriminator call on both halves"
        cut = (together == 0).flatten(1).any(1)
        for half in cut.chunk(2):
            assert half.all() or not half.any()
        outcomes.add((bool(cut[0]), bool(cut[4])))
    assert outcomes == {(False, False), (False, True), (True, False), (True, True)}


# ---------------------------------------------------------------- losses


def test_penalties_in_closed_form() -> None:
    """A linear discriminator w.x has input gradient w everywhere."""
    w = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    gradient = losses.input_gradient(lambda x: (x * w).sum((1, 2, 3)), torch.randn(5, 2, 1, 1))
    assert losses.penalty(Penalty("gradient", 10.0), gradient).item() == pytest.approx(10 * (5 - 1) ** 2)
    far = Penalty("gradient", 10.0, target=2.0)
    assert losses.penalty(far, gradient).item() == pytest.approx(10 / 4 * (5 - 2) ** 2)
    assert losses.penalty(Penalty("r1", 0.5), gradient).item() == pytest.approx(0.5 * 25)


def test_drift_squares_the_mean_or_averages_the_squares() -> None:
    logits = torch.tensor([[1.0], [3.0]])
    assert losses.drift(Drift("squared-mean", 0.1), logits).item() == pytest.approx(0.1 * 4)
    assert losses.drift(Drift("mean-square", 0.1), logits).item() == pytest.approx(0.1 * 5)


def test_r1_before_or_after_augmentation() -> None:
    """Contrast scales the gradient with respect to the image before it, not after."""
    steps, state = steps_of(penalty=Penalty("r1", 1.0), augment=Augment(("color",)))
    reals = torch.rand(4, 3, 8, 8) * 2 - 1
    after = dataclasses.replace(steps.recipe, penalty=Penalty("r1", 1.0, through_augment=False))
    draws = steps.discriminator_draws(4)
    values = [
        penalty_term(state.discriminator, r, steps.apply, reals, reals, draws).item() for r in (steps.recipe, after)
    ]
    assert values[0] != pytest.approx(values[1], rel=1e-3)
    plain = losses.input_gradient(state.discriminator, diffaugment.apply(steps.recipe.augment, reals, draws.mixed))
    assert values[1] == pytest.approx(losses.penalty(after.penalty, plain).item())


def test_adam_gets_gradients_in_their_parameters_layout() -> None:
    """Compiled code returns them in any layout, and the fused kernel does not look at strides."""
    stepped = []
    for layout in (torch.contiguous_format, torch.channels_last):
        weight = torch.nn.Parameter(torch.zeros(2, 3, 2, 2))
        values = torch.arange(-12.0, 12.0).view(2, 3, 2, 2).add(0.5).contiguous(memory_format=layout)
        weight.grad = laid_out_as(weight, values)
        assert weight.grad.stride() == weight.stride()
        torch.optim.Adam([weight], lr=0.1, fused=True).step()
        stepped.append(weight.detach())
    assert torch.equal(*stepped)
    assert torch.equal(stepped[0] < 0, values > 0)


# ---------------------------------------------------------------- schedules and hooks


def test_schedules() -> None:
    linear = Optimiser(1e-3, (0, 0.9), decay="linear")
    assert [schedules.learning_rate(linear, n, 100) for n in (0, 50, 100)] == pytest.approx([1e-3, 5e-4, 0])
    locality = Locality("band", ((10, 4), (20, 6)))
    assert [schedules.half_width(locality, n) for n in (0, 9, 10, 19, 20)] == [4, 4, 6, 6, None]
    assert [schedules.crossed(10, a, b) for a, b in ((0, 9), (8, 10), (10, 12), (9, 31))] == [False, True, False, True]


def test_locality_reaches_the_generator_and_its_average_at_the_named_images(tmp_path: Path) -> None:
    calls = []

    def note(module: Any, _: Any) -> None:
        calls.append(module.locality)

    def build(role: str, spec: dict[str, Any], resolution: int) -> torch.nn.Module:
        network = tiny.build(role, spec, resolution)
        if role == "generator":
            network.register_forward_pre_hook(note)
        return network

    locality = Locality("window", ((8, 1), (24, 2)))
    run = tiny.run("transgan", length_nimg=32, locality=locality, n_critic=1, grids_nimg=())
    tiny.train(run, tiny.images(8), tmp_path / "out", tmp_path / "work", threads=1, build=build)
    assert list(dict.fromkeys(calls)) == [("window", 1), ("window", 2), None]


def test_cotraining_adds_its_weighted_loss_until_its_end(tmp_path: Path) -> None:
    options = {"entry_stage": 1}
    every_step = {"length_nimg": 48, "log_every_nimg": 8, "n_critic": 1}
    run = tiny.run("transgan", options=options, cotraining=Cotraining(50, 24), **every_step)
    tiny.fit(run, tmp_path)
    rows = tiny.history.read(tmp_path / "out" / "train" / "history.csv")
    assert [bool(row["super_resolution"]) for row in rows] == [True] * 3 + [False] * 3
    steps, state = steps_of("transgan", options, cotraining=Cotraining(50, 24))
    latents, draws, reals = steps.latents(4), steps.draw(4), torch.rand(8, 3, 8, 8)
    steps.generator_gradients(latents, draws)
    alone = [p.grad.clone() if p.grad is not None else None for p in state.generator.parameters()]
    assert None in alone, "without reals the super-resolution layer gets no gradient"
    steps.generator_gradients(latents, draws, reals)
    assert all(p.grad is not None for p in state.generator.parameters())


def test_simultaneous_updates_use_the_weights_before_either(tmp_path: Path) -> None:
    changes = {"simultaneous": True, "n_critic": 1, "generator_batch": 8}
    steps, state = steps_of(**changes)
    reals, latents = torch.rand(8, 3, 8, 8), steps.latents(8)
    before = copies(state.discriminator)
    steps.discriminator_step(reals, latents)
    assert equal(before, copies(state.discriminator)), "the discriminator waits for the generator's gradients"
    steps.generator_step(latents, None)
    assert not equal(before, copies(state.discriminator))


def test_generator_step_leaves_the_discriminator_alone() -> None:
    steps, state = steps_of()
    before = copies(state.discriminator)
    steps.generator_step(steps.latents(4), None)
    assert equal(before, copies(state.discriminator))
    assert all(p.grad is None for p in state.discriminator.parameters())
    assert all(p.requires_grad for p in state.discriminator.parameters())


def test_discriminator_step_leaves_the_generator_alone() -> None:
    steps, state = steps_of()
    before = copies(state.generator)
    steps.discriminator_step(torch.rand(8, 3, 8, 8), steps.latents(8))
    assert equal(before, copies(state.generator))
    assert all(p.grad is None for p in state.generator.parameters())


def test_generator_steps_come_at_the_phase(tmp_path: Path) -> None:
    for phase in (0, 2):
        run = tiny.run(n_critic=3, generator_phase=phase, length_nimg=56, log_every_nimg=8)
        tiny.fit(run, tmp_path / str(phase))
        rows = tiny.history.read(tmp_path / str(phase) / "out" / "train" / "history.csv")
        assert [i for i, row in enumerate(rows) if row["generator_loss"]] == list(range(phase, 7, 3))


def test_clipping_limits_what_adam_sees_not_what_is_reported() -> None:
    steps, state = steps_of(clip_grad_norm=1e-3)
    terms = steps.discriminator_step(torch.rand(8, 3, 8, 8), steps.latents(8))
    assert terms["discriminator_grad_norm"] > 0.1
    left = torch.nn.utils.get_total_norm([p.grad for p in state.discriminator.parameters() if p.grad is not None])
    assert left.item() == pytest.approx(1e-3, rel=1e-3)


def test_lazy_penalty_acts_every_kth_step(tmp_path: Path) -> None:
    run = tiny.run(penalty=Penalty("r1", 1.0, every=4), length_nimg=64, log_every_nimg=8)
    tiny.fit(run, tmp_path)
    rows = tiny.history.read(tmp_path / "out" / "train" / "history.csv")
    assert [i for i, row in enumerate(rows) if row["penalty"]] == [0, 4]


def test_growth_sets_the_level_of_detail_and_resets_adam_at_its_borders() -> None:
    growth = Growth(first_resolution=4, first_nimg=16, fade_nimg=16, stable_nimg=16)
    steps, state = steps_of("progan", growth=growth, n_critic=1, generator_batch=8, augment=Augment())
    resets, lods = [], []
    for nimg in range(0, 80, 8):
        state.discriminator_optimiser.state[next(state.discriminator.parameters())] = {"step": torch.ones(())}
        lods.append(steps.grow(nimg))
        if not state.discriminator_optimiser.state:
            resets.append(nimg)
    assert lods == [3, 3, 3, 2.5, 2, 2, 2, 1.5, 1, 1]
    assert resets == [24, 32, 56, 64]
    for network in (state.generator, state.discriminator, state.average.module):
        assert network.lod.item() == 1  # type: ignore[union-attr, operator]


def test_adaptive_augmentation_follows_the_signs() -> None:
    ada = Ada(target=0.6, speed_nimg=500_000, every=4)
    steps, state = steps_of("stylegan2", augment=Augment(ada=ada), discriminator_batch=64)
    for sign, expected in ((1.0, 0.000512), (1.0, 0.001024), (-1.0, 0.000512), (-1.0, 0.0), (-1.0, 0.0)):
        for step in range(4):
            steps.adapt_augmentation({"real_sign": torch.tensor(sign)}, step)
        assert state.ada is not None
        assert state.ada.p.item() == pytest.approx(expected, abs=1e-9)


def test_path_length_pulls_towards_its_average() -> None:
    steps, state = steps_of("stylegan2", path_length=PathLength(), penalty=Penalty(), augment=Augment())
    torch.manual_seed(0)
    terms = steps.path_length()
    mean = state.extra["path_length_mean"].item()
    assert mean > 0
    assert terms["path_length"].item() > 0
    # the first average is 1 % of the mean length, so the squared deviation is at least (99 m)^2 for mean length 100 m
    assert terms["path_length"].item() >= (99 * mean) ** 2 * (1 - 1e-5)


def test_average_starts_late_and_copies_buffers() -> None:
    live = torch.nn.BatchNorm1d(2)
    average = Average(live, Ema("fixed", 0.5, start_nimg=10))
    for nimg, expected in ((0, 2.0), (10, 2.5)):
        torch.nn.init.constant_(live.weight, 2.0 if nimg == 0 else 3.0)
        live.running_mean.fill_(nimg)  # type: ignore[union-attr]
        average.update(nimg, 1)
        assert average.current().weight[0].item() == expected  # type: ignore[index]
        assert average.current().running_mean[0].item() == nimg  # type: ignore[index]


WRONG = {
    "objective": ("hings", "Did you mean 'hinge'"),
    "penalty": (Penalty("r2"), "penalty.kind: 'r2'"),
    "drift": (Drift("square"), "drift.kind"),
    "ema": (Ema("halflife"), "Did you mean 'half-life'"),
    "dequantise": ("sngan", "Did you mean 'sn-gan'"),
    "precision": ("float16", "Did you mean"),
    "augment": (Augment(("colour",)), "Did you mean 'color'"),
    "generator_phase": (5, "generator_phase 5 is not in 0..1"),
    "log_every_nimg": (0, "log_every_nimg: 0 must be at least 1"),
    "simultaneous": (True, "n_critic is 1"),
    "locality": (Locality("band", ((20, 4), (10, 6))), "not ascending"),
    "discriminator_optimiser": (Optimiser(1.0, (0, 0), decay="liner"), "Did you mean 'linear'"),
    "generator_optimiser": (Optimiser(float("nan"), (0, 0)), "lr: nan is not a finite number"),
    "path_length": (PathLength(batch_shrink=17), "batch_shrink 17 leaves no image"),
    "length_nimg": (-5, "length_nimg: -5 must be at least 0"),
}


@pytest.mark.parametrize("key", WRONG)
def test_wrong_recipes_are_refused(key: str) -> None:
    value, message = WRONG[key]
    with pytest.raises(HarnessError, match=message):
        schedules.check_recipe(tiny.recipe(**{key: value}))
