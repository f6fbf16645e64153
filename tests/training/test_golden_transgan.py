"""Three iterations of the S pair equal the official code's: losses, gradient norms, weights and average, in float64."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.bench.plain_step import PlainTrainer, Step
from models.transgan import build_discriminator, build_generator
from tests.models import fill
from tests.paths import GOLDEN as GOLDEN_DIR

GOLDEN: dict[str, Any] = json.loads((GOLDEN_DIR / "golden.json").read_text())


def close(expected: Any) -> Any:
    return pytest.approx(expected, rel=1e-9, abs=0)


def first4(weight: Tensor) -> list[float]:
    return weight.detach().flatten()[:4].tolist()


def on_meta(builder: Any) -> Any:
    """Skip the random initialisation: the fill rule overwrites all of it."""
    with torch.device("meta"):
        network = builder(32)
    return network.to_empty(device="cpu")


@pytest.mark.verifies("TransGAN-S: three training iterations, float64, 1e-9")
def test_three_iterations() -> None:
    golden = GOLDEN["train_step"]["train_cifar_S_wgangp_eps"]
    config = golden["config"]
    generator, discriminator = (
        fill.fill(on_meta(build_generator), "full"),
        fill.fill(on_meta(build_discriminator), "full"),
    )
    trainer = PlainTrainer(generator, discriminator)
    latents = iter([fill.latent(*shape, role=role) for shape, role in golden["inputs"]["latent_calls"]])
    alpha = torch.tensor([0.25, 0.75], dtype=torch.float64)
    steps: list[tuple[str, int, Step]] = []
    for i in range(config["iterations"]):
        reals = fill.image(config["dis_batch"], 32, role=60 + i)
        steps.append(("d", i, trainer.discriminator_step(reals, next(latents), alpha)))
        if i % config["n_critic"] == 0:
            steps.append(("g", i, trainer.generator_step(next(latents))))
    assert next(latents, None) is None

    losses = [[f"{name}_loss", step.loss.item(), i] for name, i, step in steps]
    norms = [[name.upper(), step.gradient_norm.item()] for name, _, step in steps]
    for measured, expected in zip(losses, golden["losses"], strict=True):
        assert measured == [expected[0], close(expected[1]), expected[2]]
    for measured, expected in zip(norms, golden["grad_norm_before_clip"], strict=True):
        assert measured == [expected[0], close(expected[1])]

    g: Any = generator
    d: Any = discriminator
    after = golden["after"]
    assert first4(d.head.weight) == close(after["D_head_weight_first4"])
    assert d.head.bias.tolist() == close(after["D_head_bias"])
    assert first4(d.embed.weight) == close(after["D_patch_weight_first4"])
    assert sum(p.sum().item() for p in d.parameters()) == close(after["D_param_sum"])
    assert first4(g.project.weight) == close(after["G_l1_weight_first4"])
    assert first4(g.to_rgb.weight) == close(after["G_rgb_weight_first4"])
    assert sum(p.sum().item() for p in g.parameters()) == close(after["G_param_sum_without_to_rgb"])
    assert first4(trainer.average["project.weight"]) == close(after["EMA_l1_weight_first4"])
    assert sum(p.sum().item() for p in trainer.average.values()) == close(after["EMA_param_sum_without_to_rgb"])


def test_penalty_at_32_px() -> None:
    """Logits, gradient norms and penalty of the fully filled discriminator between a real and a fake batch."""
    golden = GOLDEN["losses_and_gradient_penalty"]["gp_size32"]
    discriminator = fill.fill(on_meta(build_discriminator), "full")
    reals, fakes = fill.image(2, 32), fill.image(2, 32, role=43)
    assert discriminator(reals).flatten().tolist() == close(golden["real_logits"])
    assert discriminator(fakes).flatten().tolist() == close(golden["fake_logits"])
    alpha = torch.tensor(golden["alpha_per_sample"], dtype=torch.float64).view(-1, 1, 1, 1)
    mixed = (alpha * reals + (1 - alpha) * fakes).requires_grad_()
    gradient = torch.autograd.grad(discriminator(mixed).sum(), mixed)[0]
    assert gradient.flatten(1).norm(dim=1).tolist() == close(golden["grad_norms"])
