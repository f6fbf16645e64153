"""The fill rule of the golden files: weights and inputs that depend on index, role, stage and block (branch) only."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor


def values(shape: tuple[int, ...], role: int, stage: int = 0, block: int = 0, scale: float = 1.0) -> Tensor:
    """Return `scale` * u, row-major, float64; u lies in [-0.5, 0.5)."""
    k = np.arange(math.prod(shape), dtype=np.int64)
    t = (3 * k * k + 31 * k + 7919 * role + 104729 * stage + 1299709 * block + 17) % 1009
    return torch.from_numpy(scale * (t / 1009 - 0.5)).reshape(shape)


def latent(n: int, dim: int, role: int) -> Tensor:
    """Return latents [n, dim] of unit variance."""
    return values((n, dim), role, scale=math.sqrt(12))


def image(n: int, side: int, role: int) -> Tensor:
    """Return images [n, 3, side, side] in [-1, 1)."""
    return values((n, 3, side, side), role, scale=2.0)


def statistics(x: Tensor) -> dict[str, Any]:
    """Return what the golden files keep of tokens [B, N, C], images [B, C, H, W] or flat features [B, F]."""
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
        out |= {f"px_b0_{i}_{j}": x[0, :, i, j].tolist() for i, j in ((0, 0), (0, 1), (1, 0)) if max(i, j) < height}
        out["px_b0_last_last"] = x[0, :, -1, -1].tolist()
        out["px_bLast_half_third"] = x[-1, :, height // 2, width // 3].tolist()
    return out
