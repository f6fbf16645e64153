"""The fill rule of golden.json: weights and inputs that depend on index, role, stage and block only."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.transgan import Discriminator, Generator


def unit(count: int, role: int, stage: int = 0, block: int = 0) -> np.ndarray:
    """u = t / 1009 - 0.5 for flat indices 0..count-1, float64."""
    k = np.arange(count, dtype=np.int64)
    t = (3 * k * k + 31 * k + 7919 * role + 104729 * stage + 1299709 * block + 17) % 1009
    return t / 1009 - 0.5


def values(shape: tuple[int, ...], role: int, stage: int = 0, block: int = 0, scale: float = 1.0) -> Tensor:
    """`scale` * u, row-major, float64."""
    return torch.from_numpy(scale * unit(math.prod(shape), role, stage, block)).view(shape)


def latent(batch: int, latent_dim: int, role: int = 41) -> Tensor:
    return values((batch, latent_dim), role, scale=math.sqrt(12))


def image(batch: int, side: int, role: int = 42) -> Tensor:
    return values((batch, 3, side, side), role, scale=2.0)


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


def statistics(x: Tensor) -> dict[str, Any]:
    """The statistics golden.json prints, for tokens [B,N,C], images [B,3,H,W] or flat features [B,F]."""
    x = x.detach().double()
    out: dict[str, Any] = {
        "shape": list(x.shape),
        "mean": x.mean().item(),
        "std": x.std(correction=0).item(),
        "min": x.min().item(),
        "max": x.max().item(),
        "l2": x.norm().item(),
    }
    if x.ndim == 3:
        out |= {"tok0_first4": x[0, 0, :4].tolist(), "last_last4": x[-1, -1, -4:].tolist()}
    if x.ndim == 4:
        height, width = x.shape[2:]
        out |= {
            "px_b0_0_0": x[0, :, 0, 0].tolist(),
            "px_b0_0_1": x[0, :, 0, 1].tolist(),
            "px_b0_1_0": x[0, :, 1, 0].tolist(),
            "px_b0_last_last": x[0, :, -1, -1].tolist(),
            "px_bLast_half_third": x[-1, :, height // 2, width // 3].tolist(),
        }
    return out
