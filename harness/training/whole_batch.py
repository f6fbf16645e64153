"""Networks whose images share a batch over several processes: what looks at more than one image sees all of them.

Batch norm is replaced; a network that draws numbers or mixes images itself offers hooks, attributes of any of its
modules:

* `draw_normal(N, ...)`: standard normal numbers, a row an image (default `torch.randn`);
* `gather_batch(x)`: rows of all images; `own_rows(x)`: of these, the rows of the images given (default: the same).
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.training.ranks import Ranks

PROBE = 4  # images of a probe, at least: a group of the minibatch standard deviation
LARGEST_GROUP = 32  # of the minibatch standard deviation, in the networks here


class Normals:
    """`draw_normal` of a network: a row for each image of the whole batch, of which this process takes its own.

    `batches` is how many batches one call of the network is given, one after the other, each of them spread over the
    processes.
    """

    def __init__(self, ranks: Ranks) -> None:
        """One batch a call."""
        self.ranks, self.batches = ranks, 1

    def __call__(self, rows: int, *shape: int, **options: Any) -> Tensor:
        """`torch.randn(rows, *shape, **options)` of the whole."""
        drawn = torch.randn(rows * self.ranks.count, *shape, **options)
        return self.ranks.part(drawn.unflatten(0, (self.batches, -1)), 1).flatten(0, 1)


class WholeBatchNorm(nn.BatchNorm2d):
    """Batch norm with the mean and variance of all processes' images; twice differentiable."""

    ranks: Ranks

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]."""
        if not self.training:
            return super().forward(x)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # as torch does under autocast
        count = self.ranks.count * wide.numel() // wide.shape[1]
        mean = self.ranks.total(wide.sum((0, 2, 3), keepdim=True)) / count
        centred = wide - mean
        variance = self.ranks.total(centred.square().sum((0, 2, 3), keepdim=True)) / count
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
            weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            with torch.no_grad():
                self.running_mean.lerp_(mean.flatten().to(self.running_mean.dtype), weight)
                unbiased = variance * (count / (count - 1))
                self.running_var.lerp_(unbiased.flatten().to(self.running_var.dtype), weight)
        out = centred * (variance + self.eps).rsqrt()
        if self.weight is not None:
            out = out * self.weight[:, None, None] + self.bias[:, None, None]
        return out.to(x.dtype)


def split(network: nn.Module, shape: tuple[int, ...], ranks: Ranks) -> Normals:
    """Let a network in training mode see the whole batch of which it is given this process's rows.

    Measured in float64 on a copy: the processes' rows must be those that one process computes, and so must the buffers.

    Args:
        network: changed in place; names and values of its tensors stay.
        shape: of one input.
        ranks: the processes.

    Returns:
        What the network now draws from.

    Raises:
        HarnessError: they differ, so the network mixes images, or draws, without the hooks above.
    """
    whole, part = (copy.deepcopy(network).double().cpu().train() for _ in range(2))
    _bind(part, ranks)
    rows = math.lcm(ranks.count, PROBE)
    if rows > LARGEST_GROUP:
        rows = math.lcm(ranks.count, LARGEST_GROUP)
    inputs = torch.randn(rows, *shape, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = ranks.part(_seeded(whole, inputs)), _seeded(part, ranks.part(inputs))
    pairs = [(expected, found), *zip(whole.buffers(), part.buffers(), strict=True)]
    if ranks.largest(sum(not torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in pairs)):
        raise HarnessError(
            f"{type(network).__name__}: an image of it depends on others of its batch, or on numbers that it draws, in "
            f"a way that {ranks.count} processes do not share; train it on one process, or give it the hooks of "
            "docs/processes.md."
        )
    return _bind(network, ranks)


def _seeded(network: nn.Module, inputs: Tensor) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        outputs: Tensor = network(inputs)
    return outputs


def _bind(network: nn.Module, ranks: Ranks) -> Normals:
    normals = Normals(ranks)
    hooks = {"draw_normal": normals, "gather_batch": ranks.gather, "own_rows": ranks.part}
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = WholeBatchNorm
            module.ranks = ranks  # type: ignore[assignment]
        for name, hook in hooks.items():
            if hasattr(module, name):
                setattr(module, name, hook)
    return normals
