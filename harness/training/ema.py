"""The moving average of the generator that is sampled and scored."""

import copy

import torch
from torch import nn

from harness.config.schema import Ema


def decay(spec: Ema, nimg: int, batch: int) -> float:
    """Weight of the old average after `nimg` images, with discriminator batches of `batch` images.

    Half-life form: 0.5^(batch / max(min(half_life, ramp * nimg), 1e-8)) (NVlabs/stylegan2-ada-pytorch@d72cc7d; the
    TransGAN code of June 2021 uses the same).
    """
    if spec.kind == "none" or nimg < spec.start_nimg:
        return 0.0
    if spec.kind == "fixed":
        return spec.decay
    half_life = spec.half_life_nimg if spec.ramp is None else min(spec.half_life_nimg, spec.ramp * nimg)
    return 0.5 ** (batch / max(half_life, 1e-8))


class Average:
    """A copy of the generator whose parameters lag behind; buffers (running statistics, say) are the live network's."""

    def __init__(self, generator: nn.Module, spec: Ema) -> None:
        """Start from the generator's present weights."""
        self.live = generator
        self.module = copy.deepcopy(generator).eval().requires_grad_(False)
        self.spec = spec

    @torch.no_grad()
    def update(self, nimg: int, batch: int) -> None:
        """Move towards the live generator by 1 - decay, all tensors in one fused pass."""
        averaged: list[torch.Tensor] = list(self.module.parameters())
        live: list[torch.Tensor] = list(self.live.parameters())
        beta = decay(self.spec, nimg, batch)
        if beta == 0.0:
            torch._foreach_copy_(averaged, live)
        else:
            torch._foreach_lerp_(averaged, live, 1 - beta)

    @torch.no_grad()
    def current(self) -> nn.Module:
        """The averaged generator in evaluation mode, with the live network's buffers as they are now."""
        for ours, theirs in zip(self.module.buffers(), self.live.buffers(), strict=True):
            ours.copy_(theirs)
        return self.module
