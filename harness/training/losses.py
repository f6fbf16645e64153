"""Objectives and regularisers of adversarial training: pure functions of tensors."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

from harness.config.schema import Drift, Penalty

Discriminator = Callable[[torch.Tensor], torch.Tensor]
Mean = Callable[[torch.Tensor], torch.Tensor]


class Objective(NamedTuple):
    """`discriminator(real, fake)` and `generator(fake)`: scalar losses of logits [N, 1]."""

    discriminator: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    generator: Callable[[torch.Tensor], torch.Tensor]


OBJECTIVES = {
    "wasserstein": Objective(lambda r, f: f.mean() - r.mean(), lambda f: -f.mean()),
    "hinge": Objective(lambda r, f: F.relu(1 - r).mean() + F.relu(1 + f).mean(), lambda f: -f.mean()),
    "lsgan": Objective(lambda r, f: (r - 1).square().mean() + f.square().mean(), lambda f: (f - 1).square().mean()),
    "non-saturating": Objective(
        lambda r, f: F.softplus(-r).mean() + F.softplus(f).mean(), lambda f: F.softplus(-f).mean()
    ),
}


def drift(spec: Drift, real: torch.Tensor, mean: Mean = torch.mean) -> torch.Tensor:
    """Keep real logits [N, 1] near zero (TransGAN squares the mean, progressive GAN averages the squares).

    `mean` is that of the whole batch, of which `real` may be a part.
    """
    value = mean(real).square() if spec.kind == "squared-mean" else real.square().mean()
    return spec.weight * value


def interpolate(reals: torch.Tensor, fakes: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Return alpha * reals + (1 - alpha) * fakes, one alpha in [0, 1] per sample (alpha: [N])."""
    alpha = alpha.to(reals.dtype).view(-1, 1, 1, 1)
    return alpha * reals + (1 - alpha) * fakes


def input_gradient(discriminator: Discriminator, images: torch.Tensor, functional: bool = False) -> torch.Tensor:
    """Gradient [N, 3, R, R] of the summed logits with respect to the images, differentiable once more.

    `functional` takes it with `torch.func.grad`, the form that `torch.compile` can put into one graph with the rest of
    the loss.
    """
    if functional:
        gradient: torch.Tensor = torch.func.grad(lambda x: discriminator(x).float().sum())(images)
        return gradient
    images = images.detach().requires_grad_(True)
    return torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)[0]


def penalty(spec: Penalty, gradient: torch.Tensor) -> torch.Tensor:
    """Scalar penalty of an input gradient [N, ...]; see `config.Penalty` for the two kinds.

    Source: `gradient` arXiv 1704.00028 with the target of progressive GAN (750 on CIFAR-10); `r1` arXiv 1801.04406.
    """
    flat = gradient.flatten(1)
    if spec.kind == "r1":
        return spec.weight * flat.square().sum(1).mean()
    return spec.weight / spec.target**2 * (flat.norm(dim=1) - spec.target).square().mean()
