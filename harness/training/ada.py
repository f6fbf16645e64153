"""Adaptive discriminator augmentation (arXiv 2006.06676): the pipe `bgc`, twice differentiable, and its probability.

Constants are those of NVlabs/stylegan2-ada-pytorch@d72cc7d. Every transform is a small function from numbers drawn per
sample to a matrix. Geometric matrices map output to input pixels (inverse), in pixels from the image centre. A sample's
geometric matrices become one warp, its colour matrices one linear map of the channels.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.training.ranks import ONE, Ranks

# Low-pass filter of the symlet with 6 vanishing moments (Daubechies' least asymmetric wavelet); not symmetric.
SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
FILTER_MARGIN = len(SYM6) // 4  # pixels that the filters need around the image
SHIFT_MAX = 0.125  # integer shift, in sides
SHIFT_STD = 0.125  # fractional shift, in sides
SCALE_STD = 0.2  # log2
BRIGHTNESS_STD = 0.2
CONTRAST_STD = 0.5  # log2
SATURATION_STD = 1.0  # log2
LUMA = 1 / math.sqrt(3)  # the luma axis is (1, 1, 1) / sqrt(3)


# ---------------------------------------------------------------- matrices


def _matrix(rows: Sequence[Sequence[Tensor | float]], like: Tensor) -> Tensor:
    """Stack rows of numbers or tensors [N] into [N, k, k]."""
    filled = [[torch.as_tensor(x, dtype=like.dtype, device=like.device).expand(len(like)) for x in row] for row in rows]
    return torch.stack([torch.stack(row, dim=-1) for row in filled], dim=-2)


def _scale(sx: Tensor, sy: Tensor | float) -> Tensor:
    return _matrix([[sx, 0, 0], [0, sy, 0], [0, 0, 1]], sx)


def _shift(tx: Tensor, ty: Tensor) -> Tensor:
    return _matrix([[1, 0, tx], [0, 1, ty], [0, 0, 1]], tx)


def _rotation(angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return _matrix([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], angle)


def _similar(own: Tensor, cross: Tensor) -> Tensor:
    """Return the colour matrix [N, 4, 4] with `own` on the diagonal and `cross` off it."""
    return _matrix([[own, cross, cross, 0], [cross, own, cross, 0], [cross, cross, own, 0], [0, 0, 0, 1]], own)


def x_flip(u: Tensor, side: int) -> Tensor:
    """Mirror left to right for u [N, 1] >= 1/2, u uniform."""
    return _scale(1 - 2 * (2 * u[:, 0]).floor(), 1.0)


def rotate_90(u: Tensor, side: int) -> Tensor:
    """Turn by 0, 90, 180 or 270 degrees, u [N, 1] uniform."""
    return _rotation((4 * u[:, 0]).floor() * (math.pi / 2))


def integer_shift(u: Tensor, side: int) -> Tensor:
    """Shift by whole pixels, up to 1/8 of the side each way, u [N, 2] uniform."""
    pixels = ((2 * u - 1) * SHIFT_MAX * side).round()
    return _shift(-pixels[:, 0], -pixels[:, 1])


def isotropic_scale(n: Tensor, side: int) -> Tensor:
    """Zoom by 2^(0.2 n), n [N, 1] normal."""
    inverse = torch.exp2(-SCALE_STD * n[:, 0])
    return _scale(inverse, inverse)


def rotate(u: Tensor, side: int) -> Tensor:
    """Turn by any angle, u [N, 1] uniform."""
    return _rotation((2 * u[:, 0] - 1) * math.pi)


def anisotropic_scale(n: Tensor, side: int) -> Tensor:
    """Zoom by s = 2^(0.2 n) along x and 1/s along y, n [N, 1] normal."""
    inverse = torch.exp2(-SCALE_STD * n[:, 0])
    return _scale(inverse, 1 / inverse)


def fractional_shift(n: Tensor, side: int) -> Tensor:
    """Shift by n / 8 of the side, n [N, 2] normal."""
    return _shift(-SHIFT_STD * side * n[:, 0], -SHIFT_STD * side * n[:, 1])


def brightness(n: Tensor, side: int) -> Tensor:
    """Add 0.2 n to every channel, n [N, 1] normal."""
    b = BRIGHTNESS_STD * n[:, 0]
    return _matrix([[1, 0, 0, b], [0, 1, 0, b], [0, 0, 1, b], [0, 0, 0, 1]], b)


def contrast(n: Tensor, side: int) -> Tensor:
    """Multiply by 2^(0.5 n), n [N, 1] normal."""
    c = torch.exp2(CONTRAST_STD * n[:, 0])
    return _similar(c, torch.zeros_like(c))


def luma_flip(u: Tensor, side: int) -> Tensor:
    """Reflect the luma axis for u [N, 1] >= 1/2, u uniform."""
    flipped = (2 * u[:, 0]).floor()
    cross = -2 * LUMA**2 * flipped
    return _similar(1 + cross, cross)


def hue(u: Tensor, side: int) -> Tensor:
    """Turn colours about the luma axis by any angle, u [N, 1] uniform."""
    angle = (2 * u[:, 0] - 1) * math.pi
    cos, sin = angle.cos(), angle.sin() * LUMA
    same = (1 - cos) * LUMA**2  # Rodrigues' formula for the axis (1, 1, 1) / sqrt(3)
    own, before, after = cos + same, same - sin, same + sin
    return _matrix([[own, before, after, 0], [after, own, before, 0], [before, after, own, 0], [0, 0, 0, 1]], angle)


def saturation(n: Tensor, side: int) -> Tensor:
    """Multiply what is off the luma axis by 2^n, n [N, 1] normal."""
    s = torch.exp2(SATURATION_STD * n[:, 0])
    cross = LUMA**2 * (1 - s)
    return _similar(s + cross, cross)


@dataclass(frozen=True)
class Transform:
    """One step of the pipe: how its numbers are drawn and what matrix they give."""

    name: str
    matrix: Callable[[Tensor, int], Tensor]  # (numbers [N, count], image side) -> [N, k, k]
    normal: bool  # numbers are N(0, 1), else U(0, 1)
    count: int = 1
    rotation: bool = False  # one of two that together happen with probability p


GEOMETRY = (
    Transform("x_flip", x_flip, normal=False),
    Transform("rotate_90", rotate_90, normal=False),
    Transform("integer_shift", integer_shift, normal=False, count=2),
    Transform("isotropic_scale", isotropic_scale, normal=True),
    Transform("rotate", rotate, normal=False, rotation=True),
    Transform("anisotropic_scale", anisotropic_scale, normal=True),
    Transform("rotate_again", rotate, normal=False, rotation=True),
    Transform("fractional_shift", fractional_shift, normal=True, count=2),
)
COLOUR = (
    Transform("brightness", brightness, normal=True),
    Transform("contrast", contrast, normal=True),
    Transform("luma_flip", luma_flip, normal=False),
    Transform("hue", hue, normal=False),
    Transform("saturation", saturation, normal=True),
)

Draw = Callable[[Transform, Tensor], Tensor]  # (transform, tensor [N, count] to imitate) -> its numbers


def random_draw(transform: Transform, like: Tensor) -> Tensor:
    """Draw a transform's numbers from torch's generator, in the shape of `like`."""
    return torch.randn_like(like) if transform.normal else torch.rand_like(like)


def sample(
    transforms: Sequence[Transform], images: Tensor, p: Tensor, draw: Draw = random_draw, ranks: Ranks = ONE
) -> list[Tensor]:
    """Draw one matrix [N, k, k] a transform; each sample keeps the identity with probability 1 - p.

    N counts the images of all processes, of which `images` are this one's.

    Matrices are float64: they are tiny, and lower (or TF32) precision would show in the warp's coordinates.
    """
    n, side = len(images) * ranks.count, images.shape[-1]
    p_rotation = 1 - (1 - p).clamp(min=0).sqrt()
    out = []
    for transform in transforms:
        like = torch.empty(n, transform.count, dtype=torch.float64, device=images.device)
        matrix = transform.matrix(draw(transform, like), side)
        applied = torch.rand(n, device=images.device) < (p_rotation if transform.rotation else p)
        identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        out.append(torch.where(applied[:, None, None], matrix, identity))
    return out


# ---------------------------------------------------------------- execution


class _Resample(torch.autograd.Function):
    """Bilinear sampling of images at a grid. It is linear in the image, so its derivative is its transpose."""

    @staticmethod
    def forward(images: Tensor, grid: Tensor) -> Tensor:
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        images, grid = inputs
        ctx.save_for_backward(grid)
        ctx.shape = images.shape

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _ResampleTransposed.apply(gradient, grid, ctx.shape), None


class _ResampleTransposed(torch.autograd.Function):
    """Transpose of `_Resample`; its own derivative is `_Resample` again."""

    @staticmethod
    def forward(gradient: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        n, channels, height, width = shape
        x, y = ((grid[..., i] + 1) * side / 2 - 0.5 for i, side in enumerate((width, height)))  # align_corners off
        left, top = x.floor(), y.floor()
        rows = gradient.permute(0, 2, 3, 1).reshape(-1, channels)
        first = torch.arange(n, device=grid.device).view(n, 1, 1) * (height * width)
        out = gradient.new_zeros(n * height * width, channels)
        for column, row in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
            weight = (1 - (x - column).abs()) * (1 - (y - row).abs())
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            place = first + row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
            # torch's own transpose of a bilinear resampling has no deterministic kernel on a GPU; this has
            out.index_add_(0, place.flatten(), rows * (weight * inside).view(-1, 1))
        return out.view(n, height, width, channels).permute(0, 3, 1, 2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, torch.Size], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Resample.apply(gradient, grid), None, None


def _reflected(images: Tensor, dim: int, before: int, after: int) -> Tensor:
    """Pad one dimension by reflection, with a gradient that is deterministic on a GPU (`F.pad`'s is not)."""
    side = images.shape[dim]
    places = torch.arange(-before, side + after, device=images.device).abs()
    return images.index_select(dim, torch.where(places < side, places, 2 * (side - 1) - places))


def _filters(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sym6 low-pass of sum 1 along y and along x, for grouped convolutions of `images`."""
    taps = torch.tensor(SYM6, dtype=torch.float64)
    taps = (taps / taps.sum()).to(images).expand(images.shape[1], 1, -1)
    return taps[:, :, :, None], taps[:, :, None, :]


def _upsample(images: Tensor) -> Tensor:
    fy, fx = _filters(images)
    channels, pad = images.shape[1], len(SYM6) // 2 - 1
    images = F.conv_transpose2d(images, 2 * fy, stride=(2, 1), padding=(pad, 0), groups=channels)
    return F.conv_transpose2d(images, 2 * fx, stride=(1, 2), padding=(0, pad), groups=channels)


def _downsample(images: Tensor) -> Tensor:
    """Halve the side and crop `FILTER_MARGIN` pixels of the result from every edge."""
    fy, fx = _filters(images)
    crop = 2 * FILTER_MARGIN - (len(SYM6) // 2 - 1)
    images = images[:, :, crop:-crop, crop:-crop]
    images = F.conv2d(images, fy, stride=(2, 1), groups=images.shape[1])
    return F.conv2d(images, fx, stride=(1, 2), groups=images.shape[1])


def _margins(inverse: Tensor, side: int) -> list[int]:
    """Return how far (left, top, right, bottom) any sample's warped corners, and the filters, reach over the edge."""
    c = (side - 1) / 2
    corners = torch.tensor([[-c, c, c, -c], [-c, -c, c, c], [1, 1, 1, 1]], dtype=inverse.dtype, device=inverse.device)
    reach = (inverse @ corners)[:, :2].transpose(0, 1).flatten(1)  # [x y, samples and corners]
    over = torch.cat([-reach, reach]).amax(dim=1) + 2 * FILTER_MARGIN - c
    return [int(x) for x in over.clamp(0, side - 1).ceil().tolist()]


def warp(images: Tensor, inverse: Tensor, ranks: Ranks = ONE) -> Tensor:
    """Resample images by one matrix a sample, twice differentiable in the images.

    Reflect-pads, doubles the side with the sym6 filter, samples bilinearly (zeros outside) and halves the side again.

    Args:
        images: float [N, C, R, R].
        inverse: float64 [N, 3, 3], from output to input pixels, origin at the image centre; of the images of all
            processes, whose reach decides how far this one's are padded.
        ranks: the processes.
    """
    n, channels, side, _ = images.shape
    left, top, right, bottom = _margins(inverse, side)
    inverse = ranks.part(inverse)
    images = _upsample(_reflected(_reflected(images, 2, top, bottom), 3, left, right))
    height, width = images.shape[2:]
    # The centre of the padded image, then of its doubled version, whose samples lie half a pixel off.
    shift = inverse.new_tensor([[2, 0, left - right - 0.5], [0, 2, top - bottom - 0.5], [0, 0, 1]])
    back = inverse.new_tensor([[0.5, 0, 0.25], [0, 0.5, 0.25], [0, 0, 1]])
    out = 2 * (side + 2 * FILTER_MARGIN)
    to_unit = torch.diag(inverse.new_tensor([2 / width, 2 / height, 1]))
    from_unit = torch.diag(inverse.new_tensor([out / 2, out / 2, 1]))
    theta = (to_unit @ shift @ inverse @ back @ from_unit)[:, :2]
    grid = F.affine_grid(theta, [n, channels, out, out], align_corners=False)
    return _downsample(_Resample.apply(images, grid.to(images.dtype)))


def recolour(images: Tensor, matrix: Tensor) -> Tensor:
    """Map the channels of images [N, 3, R, R], zero-centred, by one affine matrix [N, 4, 4] a sample."""
    matrix = matrix.to(images.dtype)
    mixed = matrix[:, :3, :3] @ images.flatten(2) + matrix[:, :3, 3:]
    return mixed.view_as(images)


class AdaPipe(nn.Module):
    """Pipe `bgc` (pixel blitting, geometry, colour), each step with probability `p` a sample.

    Attributes:
        p: buffer, 0 at the start; `update` moves it.
    """

    p: Tensor

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("p", torch.tensor(p))

    def forward(self, images: Tensor, draw: Draw = random_draw, ranks: Ranks = ONE) -> Tensor:
        """Augment images float [N, 3, R, R], zero-centred; `draw` replaces the random numbers of every transform."""
        with torch.autocast(images.device.type, enabled=False):
            images = images.to(torch.promote_types(images.dtype, torch.float32))
            # inverse, so the first is leftmost
            geometry = reduce(torch.matmul, sample(GEOMETRY, images, self.p, draw, ranks))
            images = warp(images, geometry, ranks)
            colour = reduce(torch.matmul, reversed(sample(COLOUR, images, self.p, draw, ranks)))
            return recolour(images, ranks.part(colour))

    @torch.no_grad()
    def update(self, mean_sign: float, images_since: int, target: float, speed_nimg: int) -> None:
        """Move p towards the overfitting target: up when the mean sign of D(real) exceeds it, never below 0.

        Args:
            mean_sign: mean of sign(D(augmented real)) since the last call, over all processes.
            images_since: real images since the last call.
            target: of the mean sign (0.6).
            speed_nimg: images for p to move by 1 (500,000).
        """
        direction = (mean_sign > target) - (mean_sign < target)
        self.p.add_(direction * images_since / speed_nimg).clamp_(min=0)
