"""Parameters and operations of networks, counted on torch's `meta` device: nothing is computed, no memory is taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from harness.config.experiments import Model
from harness.config.schema import Recipe
from harness.networks import registry

BACKWARD = 2  # a backward pass takes about twice a forward pass


@dataclass(frozen=True)
class Count:
    """One network: `parameters`, and multiply-accumulates (`macs`) of one forward pass of one image."""

    parameters: int
    macs: int
    latent_dim: int | None = None  # of a generator


def count(role: str, spec: dict[str, Any], resolution: int, models: dict[str, Model] | None = None) -> Count:
    """Count a network of the catalogue; see `registry.build` for the arguments.

    Raises:
        HarnessError: the network cannot be built.
    """
    with torch.device("meta"):
        network = registry.build(role, spec, resolution, models).eval()
        if role == "generator":
            latent_dim = int(network.latent_dim)  # type: ignore[arg-type]
            return Count(registry.parameters(network), macs(network, torch.empty(1, latent_dim)), latent_dim)
        return Count(registry.parameters(network), macs(network, torch.empty(1, 3, resolution, resolution)))


def macs(network: nn.Module, inputs: torch.Tensor) -> int:
    """Multiply-accumulates of one forward pass on `inputs` (batch 1), on any device; FLOPs are twice this.

    Matrix products, attention products and convolutions; transposed convolutions count at their input's size;
    FIR filters (grouped convolutions) are left out, as in StyleGAN2's published figures. Afterwards the parameters
    of `network` require no gradient: torch's counter fails on some networks whose parameters do.
    """
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution: _convolution})
    with counter:
        network.requires_grad_(False)(inputs)
    return counter.get_total_flops() // 2


def _convolution(
    x: Sequence[int],
    weight: Sequence[int],
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    *rest: Any,
    out_shape: Sequence[int] | None = None,
    **_: Any,
) -> int:
    if groups > 1:
        return 0
    assert out_shape is not None, "the counter passes the output's shape"
    return int(conv_flop_count(list(x), list(weight), list(out_shape), transposed=transposed))


def training_flop(recipe: Recipe, generator: Count, discriminator: Count) -> float:
    """Operations of training per real image seen.

    A discriminator step: one generated image (forward), the discriminator forward and backward on a real and a fake,
    and the penalty: forward, backward, and the backward of both. A generator step, once in `n_critic`: both networks,
    forward and backward.
    """
    generated, judged = 2 * generator.macs, 2 * discriminator.macs
    forward_backward = 1 + BACKWARD
    step: float = generated + 2 * forward_backward * judged
    if recipe.penalty.kind != "none":
        step += forward_backward * forward_backward * judged / recipe.penalty.every
    generator_step = forward_backward * (generated + judged)
    return step + generator_step * recipe.generator_batch / recipe.discriminator_batch / recipe.n_critic
