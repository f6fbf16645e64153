"""How golden.json fills TransGAN's networks."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from models.transgan import Discriminator, Generator
from tests import fill as golden
from tests.fill import statistics, values

__all__ = ["fill", "image", "latent", "statistics", "values"]


def latent(batch: int, latent_dim: int, role: int = 41) -> Tensor:
    return golden.latent(batch, latent_dim, role)


def image(batch: int, side: int, role: int = 42) -> Tensor:
    return golden.image(batch, side, role)


@torch.no_grad()
def fill(network: nn.Module, kind: str) -> nn.Module:
    """Fill a network in float64 by the rule; `kind` is `simple` or `full`."""
    network.double()
    if isinstance(network, Generator):
        _linear(network.project, kind, weight=1, bias=21)
        for s, (positions, blocks) in enumerate(zip(network.positions, network.stages, strict=True)):
            positions.copy_(values(tuple(positions.shape), 2, s))
            for b, block in enumerate(blocks):  # type: ignore[arg-type]
                _block(block, kind, s, b)
        _linear(network.to_rgb, kind, weight=7, bias=27)
    else:
        assert isinstance(network, Discriminator)
        network.positions.copy_(values(tuple(network.positions.shape), 2))
        network.class_token.copy_(values(tuple(network.class_token.shape), 9))
        _linear(network.embed, kind, weight=8, bias=28)
        for b, block in enumerate(network.blocks):
            _block(block, kind, 0, b)
        _norm(network.norm, kind, scale=35, shift=36)
        _linear(network.head, kind, weight=10, bias=30)
    return network


def _block(block: Any, kind: str, s: int, b: int) -> None:
    _linear(block.attention.qkv, kind, weight=3, bias=None, gain=6, s=s, b=b)
    _linear(block.attention.out, kind, weight=4, bias=24, s=s, b=b)
    _linear(block.mlp.expand, kind, weight=5, bias=25, s=s, b=b)
    _linear(block.mlp.contract, kind, weight=6, bias=26, s=s, b=b)
    _norm(block.norm_attention, kind, scale=31, shift=32, s=s, b=b)
    _norm(block.norm_mlp, kind, scale=33, shift=34, s=s, b=b)


def _linear(layer: Any, kind: str, *, weight: int, bias: int | None, gain: int = 2, s: int = 0, b: int = 0) -> None:
    shape = tuple(layer.weight.shape)
    layer.weight.copy_(values(shape, weight, s, b, gain / math.sqrt(math.prod(shape[1:]))))
    if bias is not None:
        layer.bias.copy_(_offset(layer.bias, kind, bias, s, b))


def _norm(layer: Any, kind: str, *, scale: int, shift: int, s: int = 0, b: int = 0) -> None:
    layer.weight.copy_(1 + _offset(layer.weight, kind, scale, s, b))
    layer.bias.copy_(_offset(layer.bias, kind, shift, s, b))


def _offset(parameter: Tensor, kind: str, role: int, s: int, b: int) -> Tensor:
    assert kind in ("simple", "full"), kind
    return values(tuple(parameter.shape), role, s, b, 0.5 if kind == "full" else 0.0)
