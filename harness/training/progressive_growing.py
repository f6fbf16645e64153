"""Progressive growing: the level of detail as a function of images seen, and reals to match it.

tkarras/progressive_growing_of_gans@1a05598 (branch original-theano-version).
"""

import math

import torch.nn.functional as F
from torch import Tensor

from harness.config.schema import Growth


def lod_at(nimg: int, growth: Growth, resolution: int) -> float:
    """Return the level of detail after `nimg` images: 0 is `resolution`, each whole step halves the side.

    It starts where the side is `first_resolution` (or the next above it that halving reaches), rests for `first_nimg`,
    then falls by 1 over each `fade_nimg` and rests for `stable_nimg` after it.
    """
    levels = math.floor(math.log2(resolution / growth.first_resolution))
    if nimg < growth.first_nimg:
        return float(levels)
    faded, rest = divmod(nimg - growth.first_nimg, growth.fade_nimg + growth.stable_nimg)
    progress = rest / growth.fade_nimg if rest < growth.fade_nimg else 1.0
    return max(levels - faded - progress, 0.0)


def blend_reals(images: Tensor, lod: float) -> Tensor:
    """Show images [N, C, R, R] at a level of detail, in full size: pooled to its side, blended with half of it."""
    whole = math.floor(lod)
    share, side = lod - whole, images.shape[-1]
    if whole:
        images = F.avg_pool2d(images, 2**whole)
    if share:
        images = images.lerp(F.interpolate(F.avg_pool2d(images, 2), scale_factor=2.0, mode="nearest"), share)
    return F.interpolate(images, size=side, mode="nearest") if whole else images
