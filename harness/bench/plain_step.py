"""One TransGAN v1 iteration as the specification tells it: eager, float32 or float64, no batching, no compilation.

It is the yardstick of `harness bench` and of the golden three-iteration test; training itself is in `harness.training`.
Source: VITA-Group/TransGAN@33fa78d (functions.py), flags of exps/cifar10_test.sh @9a5838a (`wgangp-eps`).
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

LEARNING_RATE = 1e-4
BETAS = (0.0, 0.99)
ADAM_EPS = 1e-8
PENALTY_WEIGHT = 10.0
PENALTY_TARGET = 1.0  # phi
DRIFT_WEIGHT = 1e-3
CLIP_NORM = 5.0
EMA_DECAY = 0.999  # per generator step


@dataclass(frozen=True)
class Step:
    """Loss before the step and total gradient norm before clipping, both scalar tensors."""

    loss: Tensor
    gradient_norm: Tensor


@dataclass
class PlainTrainer:
    """Two networks, their Adams and the generator's average; gradients of both are plain autograd."""

    generator: nn.Module
    discriminator: nn.Module
    average: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.generator_adam = _adam(self.generator)
        self.discriminator_adam = _adam(self.discriminator)
        self.average = {name: p.detach().clone() for name, p in self.generator.named_parameters()}

    def discriminator_step(self, reals: Tensor, latents: Tensor, alpha: Tensor) -> Step:
        """Update the discriminator on reals [N, 3, R, R], latents [N, latent_dim] and interpolation weights alpha
        [N]."""
        fakes = self.generator(latents).detach()
        self.discriminator_adam.zero_grad()
        real = self.discriminator(reals).mean()
        loss = (
            self.discriminator(fakes).mean() - real + self._penalty(reals, fakes, alpha) + DRIFT_WEIGHT * real.square()
        )
        return _descend(loss, self.discriminator, self.discriminator_adam)

    def generator_step(self, latents: Tensor) -> Step:
        """Update the generator on latents [M, latent_dim], then its average."""
        self.generator_adam.zero_grad()
        step = _descend(-self.discriminator(self.generator(latents)).mean(), self.generator, self.generator_adam)
        with torch.no_grad():
            for name, p in self.generator.named_parameters():
                self.average[name].mul_(EMA_DECAY).add_(p, alpha=1 - EMA_DECAY)
        return step

    def _penalty(self, reals: Tensor, fakes: Tensor, alpha: Tensor) -> Tensor:
        weight = alpha.view(-1, 1, 1, 1)
        mixed = (weight * reals + (1 - weight) * fakes).requires_grad_()
        gradient = torch.autograd.grad(self.discriminator(mixed).sum(), mixed, create_graph=True)[0]
        excess = gradient.flatten(1).norm(dim=1) - PENALTY_TARGET
        return PENALTY_WEIGHT / PENALTY_TARGET**2 * excess.square().mean()


def _adam(network: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, betas=BETAS, eps=ADAM_EPS)


def _descend(loss: Tensor, network: nn.Module, adam: torch.optim.Adam) -> Step:
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
    adam.step()
    return Step(loss.detach(), norm.detach())
