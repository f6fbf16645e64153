"""Parameters and operations of networks, counted on torch's `meta` device: nothing is computed, no memory is taken."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from harness.config.experiments import Model
from harness.config.schema import Recipe
from harness.networks import registry

BACKWARD = 2  # a backward pass takes about twice a forward pass


@dataclass(frozen=True)
class Count:
    """One network: `parameters`, and multiply-accumulates (`macs`) of one forward pass of one image.

    `launches`: tensor operations of that pass that compute something (views do not); about one kernel each on a GPU.
    """

    parameters: int
    macs: int
    latent_dim: int | None = None  # of a generator
    launches: int = field(default=0, compare=False)


def count(role: str, spec: dict[str, Any], resolution: int, models: dict[str, Model] | None = None) -> Count:
    """Count a network of the catalogue; see `registry.build` for the arguments.

    Raises:
        HarnessError: the network cannot be built.
    """
    with torch.device("meta"):
        network = registry.build(role, spec, resolution, models).eval()
        latent_dim = int(network.latent_dim) if role == "generator" else None  # type: ignore[arg-type]
        inputs = torch.empty(1, 3, resolution, resolution) if latent_dim is None else torch.empty(1, latent_dim)
        parameters = registry.parameters(network)
        with _Launches() as launches:
            return Count(parameters, macs(network, inputs), latent_dim, launches.number)


class _Launches(TorchDispatchMode):
    """Counts operations that are no views."""

    number = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += not function.is_view
        return function(*args, **(kwargs or {}))


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
    """Operations of training per real image seen; a growing network counts at its full size."""
    step, generator_step = _steps(recipe, 2 * generator.macs, 2 * discriminator.macs)
    return step + generator_step * recipe.generator_batch / recipe.discriminator_batch / recipe.n_critic


def training_launches(recipe: Recipe, generator: Count, discriminator: Count) -> float:
    """Kernels of training per real image seen: a step starts as many whatever its batch."""
    step, generator_step = _steps(recipe, generator.launches, discriminator.launches)
    return (step + generator_step / recipe.n_critic) / recipe.discriminator_batch


def _steps(recipe: Recipe, generated: float, judged: float) -> tuple[float, float]:
    """Work of a discriminator step and of a generator step, from the work of one forward pass of each network.

    A discriminator step: one generated image (forward), the discriminator forward and backward on a real and a fake,
    and the penalty: forward, backward, and the backward of both. A generator step, once in `n_critic`: both networks,
    forward and backward; path lengths take the generator's backward of a backward.
    """
    forward_backward = 1 + BACKWARD
    step = generated + 2 * forward_backward * judged
    if recipe.penalty.kind != "none":
        step += forward_backward * forward_backward * judged / recipe.penalty.every
    generator_step = forward_backward * (generated + judged)
    if recipe.path_length is not None:
        shrunk = recipe.path_length.every * recipe.path_length.batch_shrink
        generator_step += forward_backward * forward_backward * generated / shrunk
    return step, generator_step
