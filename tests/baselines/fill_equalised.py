"""Golden fill of networks with equalised layers (StyleGAN2, progressive GAN).

Raw parameters are u sqrt(12).
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tests.baselines.fill import place_of
from tests.fill import values


@torch.no_grad()
def fill_equalised(net: nn.Module, places: Mapping[str, str], full: bool) -> nn.Module:
    """Fill every parameter of `net` in place by its role; returns it in float64 and eval mode.

    `places` maps patterns of parameter names without `.weight` or `.bias` to "role s b". Noise strengths become 0.
    """
    net.double()
    for name, parameter in net.named_parameters():
        layer, _, kind = name.rpartition(".")
        if kind == "noise_strength":
            parameter.zero_()
            continue
        # A mapping layer's raw parameters are a hundred times its effective ones.
        raw = 100 if layer.startswith("mapping.") else 1
        role, s, b = place_of(layer if kind in ("weight", "bias") else name, places)
        shape = tuple(parameter.shape)
        if kind == "bias":
            start = 1.0 if layer.endswith(".style") else 0.0
            parameter.copy_(start + (0.5 * raw * values(shape, role + 100, s, b) if full else 0.0))
        else:
            parameter.copy_(raw * math.sqrt(12) * values(shape, role, s, b))
    return net.eval()


def noise_maps(sides: list[int]) -> list[Tensor]:
    """Return fixed noise maps [1, 1, side, side], fine after coarse: roles 39 (up-sampling) and 40 of stage s."""
    roles = [(40, 0)] + [(role, s) for s in range(1, len(sides)) for role in (39, 40)]
    return [math.sqrt(12) * values((1, 1, side, side), role, s) for side, (role, s) in zip(sides, roles, strict=False)]
