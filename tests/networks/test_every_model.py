"""Every model of the catalogue at every resolution; by default the smallest of each module, the others with -m slow."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.config import experiments
from harness.networks import registry
from tests.baselines import pins

COUNTS, FORWARD = pins.read(pins.COUNTS), pins.read(pins.FORWARD)
MODELS = experiments.load_models()
BATCH = 2
LIGHT = 10_000_000  # parameters; a module without a model below this is left to -m slow


def representatives() -> set[tuple[str, int]]:
    """Return the smallest model of each module, unless it is heavy."""
    smallest: dict[str, tuple[int, str, int]] = {}
    for name, resolution in pins.catalogue():
        counted = COUNTS.get(pins.key(name, resolution))
        if counted is not None:
            entry = (counted["generator"] + counted["critic"], name, resolution)
            module = MODELS[name].module
            smallest[module] = min(entry, smallest.get(module, entry))
    return {(name, resolution) for size, name, resolution in smallest.values() if size < LIGHT}


DEFAULT = representatives()
EVERY = [
    pytest.param(name, resolution, id=f"{name}-{resolution}", marks=[] if case in DEFAULT else [pytest.mark.slow])
    for case in pins.catalogue()
    for name, resolution in [case]
]
every_model = pytest.mark.parametrize(("name", "resolution"), EVERY)


def build(name: str, resolution: int, seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """Build generator and discriminator of a model from a seed."""
    torch.manual_seed(seed)
    generator, discriminator = (registry.build(role, {"model": name}, resolution) for role in pins.ROLES)
    return generator, discriminator


def seeded(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Run a network with the same noise every time."""
    torch.manual_seed(1)
    with torch.no_grad():
        return net(x)


def test_pins_and_catalogue_agree() -> None:
    names = {pins.key(*case) for case in pins.catalogue()}
    assert set(COUNTS) == names, "run python -m tests.baselines.pins, and remove entries of models that are gone"
    assert set(FORWARD) == names


@every_model
def test_parameter_counts_are_pinned(name: str, resolution: int) -> None:
    pinned = COUNTS[pins.key(name, resolution)]
    assert pins.count(name, resolution) == {key: pinned[key] for key in pins.KEYS.values()}


@pytest.mark.parametrize("entry", [entry for entry, counted in COUNTS.items() if "source" in counted])
def test_pinned_counts_are_those_of_public_code(golden_dir: Path, entry: str) -> None:
    golden = json.loads((golden_dir / "golden_baselines.json").read_text())["parameter_and_mac_counts"]
    for role, source in COUNTS[entry]["source"].items():
        expected = golden
        for part in source.split("/"):
            expected = expected[part]
        assert COUNTS[entry][role] == expected


@every_model
def test_forward_statistics_are_pinned(name: str, resolution: int) -> None:
    """A difference changes results: bump the model's `version` and pin again."""
    measured, pinned = pins.forward(name, resolution), FORWARD[pins.key(name, resolution)]
    assert measured["version"] == pinned["version"], "the version was bumped: pin again"
    assert measured["logits"] == pytest.approx(pinned["logits"], rel=1e-3, abs=1e-5)
    for statistic, value in pinned["image"].items():
        assert measured["image"][statistic] == pytest.approx(value, rel=1e-3, abs=1e-5), statistic


@every_model
def test_shapes_and_finite_gradients(name: str, resolution: int) -> None:
    generator, discriminator = build(name, resolution)
    image = generator(torch.randn(BATCH, generator.latent_dim))
    assert image.shape == (BATCH, 3, resolution, resolution)
    assert image.dtype == torch.float32
    logit = discriminator(image)
    assert logit.shape == (BATCH, 1)
    F.softplus(-logit).mean().backward()
    for net in (generator, discriminator):
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        assert all(g.isfinite().all() for g in gradients)
        assert sum(g.abs().sum().item() for g in gradients) > 0


@every_model
def test_state_dict_round_trip(name: str, resolution: int) -> None:
    inputs = (torch.randn(BATCH, latent_of(name, resolution)), torch.rand(BATCH, 3, resolution, resolution) * 2 - 1)
    first, second = build(name, resolution, seed=0), build(name, resolution, seed=7)
    for ours, theirs, x in zip(first, second, inputs, strict=True):
        ours.train()
        ours(x)  # running statistics and power iterations leave their initial values
        theirs.load_state_dict({k: v.clone() for k, v in ours.state_dict().items()})
        assert torch.equal(seeded(ours.eval(), x), seeded(theirs.eval(), x))


def latent_of(name: str, resolution: int) -> int:
    """Return the latent dimension of a model."""
    with torch.device("meta"):
        latent_dim: Any = registry.build("generator", {"model": name}, resolution).latent_dim
    return int(latent_dim)


@every_model
def test_discriminator_is_twice_differentiable(name: str, resolution: int) -> None:
    """The gradient penalty and R1 train every discriminator through its input gradient."""
    _, discriminator = build(name, resolution)
    x = (torch.rand(BATCH, 3, resolution, resolution) * 2 - 1).requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    (gradient.flatten(1).norm(dim=1) - 1).square().mean().backward()
    second = [p.grad for p in discriminator.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in second)
    assert sum(g.abs().sum().item() for g in second) > 0


@every_model
def test_five_training_steps_stay_finite_and_change_the_weights(name: str, resolution: int) -> None:
    generator, discriminator = build(name, resolution)
    nets = (generator.train(), discriminator.train())
    before = [[p.detach().clone() for p in net.parameters()] for net in nets]
    adam_g, adam_d = (torch.optim.Adam(net.parameters(), 2e-4, (0.0, 0.9)) for net in nets)
    real = torch.rand(BATCH, 3, resolution, resolution) * 2 - 1
    for _ in range(5):
        with torch.no_grad():
            fake = generator(torch.randn(BATCH, generator.latent_dim))
        adam_d.zero_grad()
        discriminator_loss = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(fake)).mean()
        discriminator_loss.backward()
        adam_d.step()
        adam_g.zero_grad()
        generator_loss = F.softplus(-discriminator(generator(torch.randn(BATCH, generator.latent_dim)))).mean()
        generator_loss.backward()
        adam_g.step()
        assert discriminator_loss.isfinite()
        assert generator_loss.isfinite()
    for net, old in zip(nets, before, strict=True):
        new = [p.detach() for p in net.parameters()]
        assert all(p.isfinite().all() for p in new)
        changed = sum(not torch.equal(p, q) for p, q in zip(new, old, strict=True))
        assert changed > len(new) / 2, f"{changed} of {len(new)} tensors changed"


@pytest.mark.parametrize(
    ("generator_name", "discriminator_name"),
    [("autogan-narrow", "transgan-xs"), ("transgan-xs", "autogan-narrow"), ("sngan-narrow", "wgan-gp-narrow")],
)
@pytest.mark.parametrize("resolution", [32, 48])
def test_generators_train_against_discriminators_of_other_models(
    generator_name: str, discriminator_name: str, resolution: int
) -> None:
    generator, _ = build(generator_name, resolution)
    _, discriminator = build(discriminator_name, resolution)
    (-discriminator(generator(torch.randn(BATCH, generator.latent_dim))).mean()).backward()
    gradients = [p.grad for p in generator.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in gradients)
    assert sum(g.abs().sum().item() for g in gradients) > 0
