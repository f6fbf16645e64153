"""Resizing as scorers do it. A linear, separable filter is one matrix an axis, which is the whole resize."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

INCEPTION_SIZE = 299


@lru_cache(maxsize=16)
def tf1_bilinear_matrix(source: int, size: int) -> np.ndarray:
    """Weights float32 [size, source] of TensorFlow 1's `ResizeBilinear` along one axis.

    No half-pixel centres and no corner alignment: output i reads position i * source / size, between its floor and the
    next pixel; beyond the last pixel the last one repeats. Positions are float32, as in TensorFlow's CPU kernel
    (`resize_bilinear_op.cc`).
    """
    position = np.arange(size, dtype=np.float32) * (np.float32(source) / np.float32(size))
    lower = np.floor(position).astype(np.int64)
    upper = np.minimum(lower + 1, source - 1)
    weight = position - lower.astype(np.float32)
    matrix = np.zeros((size, source), dtype=np.float32)
    rows = np.arange(size)
    matrix[rows, lower] += 1 - weight
    matrix[rows, upper] += weight
    matrix.flags.writeable = False
    return matrix


@lru_cache(maxsize=16)
def pil_bicubic_matrix(source: int, size: int) -> np.ndarray:
    """Weights float32 [size, source] of Pillow's bicubic resize (a = -0.5, widened when shrinking) along one axis.

    Read off Pillow itself: the resize of the identity, one axis at a time.
    """
    identity = Image.fromarray(np.eye(source, dtype=np.float32))
    matrix = np.array(identity.resize((source, size), resample=Image.Resampling.BICUBIC), dtype=np.float32)
    matrix.flags.writeable = False
    return matrix


def tf1_bilinear(
    images: np.ndarray | torch.Tensor, size: int = INCEPTION_SIZE, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Resize as the 2015 graph's own `ResizeBilinear` node does.

    Args:
        images: uint8 or float [n, H, W, 3], 0..255.
        size: output height and width.
        device: where to compute.

    Returns:
        float32 [n, 3, size, size], 0..255.
    """
    return _separable(images, tf1_bilinear_matrix, size, device)


def clean_bicubic(
    images: np.ndarray | torch.Tensor, size: int = INCEPTION_SIZE, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Resize as clean-fid's mode `clean` does: Pillow's bicubic on float channels, clipped, not rounded.

    In float mode Pillow neither clips nor rounds between the two axes, so clip(A X A^T, 0, 255) is the whole of it
    (Parmar et al. 2022, arXiv 2104.11222; within 2e-4 of the library).

    Args:
        images: uint8 or float [n, H, W, 3], 0..255.
        size: output height and width.
        device: where to compute.

    Returns:
        float32 [n, 3, size, size], 0..255.
    """
    return _separable(images, pil_bicubic_matrix, size, device).clamp_(0, 255)


def torch_bilinear(
    images: np.ndarray | torch.Tensor, size: int = INCEPTION_SIZE, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Resize as pytorch-fid's port of the network does, which the released TransGAN code scores with.

    `F.interpolate(mode="bilinear", align_corners=False)`: half-pixel centres, no smoothing when it shrinks. The port
    then maps 0..255 to -1..1, where the graph computes (pixel - 128) / 128; the factor 256 / 255 here makes the graph's
    preamble give the port's values.

    Args:
        images: uint8 or float [n, H, W, 3], 0..255.
        size: output height and width.
        device: where to compute.

    Returns:
        float32 [n, 3, size, size], 0..256.

    Source: mseitzer/pytorch-fid `inception.py`, `InceptionV3.forward`.
    """
    planes = functional.interpolate(_planes(images, device), (size, size), mode="bilinear", align_corners=False)
    return planes.mul_(256 / 255)


def pil_bicubic(
    images: np.ndarray | torch.Tensor, size: int = INCEPTION_SIZE, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Resize 8-bit images as Pillow (and torchvision's `Resize` of PIL images) does: bicubic, rounded to 8 bits.

    Rounded after each axis, which `clean_bicubic` is not; so only Pillow itself can compute it.

    Args:
        images: uint8 [n, H, W, 3].
        size: output height and width.
        device: where the result lies.

    Returns:
        float32 [n, 3, size, size], whole numbers in 0..255.
    """
    pixels = np.asarray(images)
    assert pixels.dtype == np.uint8, f"Pillow resizes 8-bit images, these are {pixels.dtype}"
    resized = [Image.fromarray(image).resize((size, size), resample=Image.Resampling.BICUBIC) for image in pixels]
    return _planes(np.stack([np.asarray(image) for image in resized]), device)


Filter = Callable[[np.ndarray, int, torch.device | str], torch.Tensor]
FILTERS: dict[str, Filter] = {  # by their names in protocols
    "tf1-bilinear": tf1_bilinear,
    "clean-bicubic": clean_bicubic,
    "torch-bilinear": torch_bilinear,
    "pil-bicubic": pil_bicubic,
}


def _separable(
    images: np.ndarray | torch.Tensor, weights: Callable[[int, int], np.ndarray], size: int, device: torch.device | str
) -> torch.Tensor:
    planes = _planes(images, device)
    rows = torch.tensor(weights(planes.shape[2], size), device=device)
    columns = torch.tensor(weights(planes.shape[3], size), device=device)
    return rows @ (planes @ columns.T)


def _planes(images: np.ndarray | torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """Return images [n, H, W, 3] as float32 [n, 3, H, W] on the device."""
    assert images.ndim == 4, f"expected [n, H, W, 3], got {tuple(images.shape)}"
    assert images.shape[3] == 3, f"expected three channels last, got {tuple(images.shape)}"
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(np.array(images))  # a copy: dumps are read-only memory maps
    return images.to(device).permute(0, 3, 1, 2).to(torch.float32).contiguous()
