"""Layers and resampling of StyleGAN2 as ordinary convolutions: twice differentiable, no custom kernels.

NVlabs/stylegan2-ada-pytorch@d72cc7d is the reference of every constant here.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAK = 0.2
EPSILON = 1e-8  # in the pixel norm, the demodulation and the standard deviation
FIR_TAPS = (1.0, 3.0, 3.0, 1.0)


def leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2, times sqrt(2) to keep the variance."""
    return F.leaky_relu(x, LEAK) * math.sqrt(2)


def pixel_norm(x: Tensor) -> Tensor:
    """Divide `x` [N, C, ...] by the root mean square over C."""
    return x * (x.square().mean(dim=1, keepdim=True) + EPSILON).rsqrt()


def fir_kernel() -> Tensor:
    """Return the blur of all resampling, float32 [4, 4]: outer product of [1, 3, 3, 1] with itself, sum 1."""
    taps = torch.tensor(FIR_TAPS)
    return torch.outer(taps, taps) / taps.sum().square()


def depthwise(x: Tensor, kernel: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """Cross-correlate every channel of `x` [N, C, H, W] with one `kernel` [k, k], zeros outside."""
    channels = x.shape[1]
    return F.conv2d(x, kernel.expand(channels, 1, -1, -1), stride=stride, padding=padding, groups=channels)


def up_conv(x: Tensor, weight: Tensor, kernel: Tensor) -> Tensor:
    """Double the side, then blur: [N, Ci, H, W], weight [Co, Ci, 3, 3] -> [N, Co, 2H, 2W]."""
    x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)  # 2H + 1
    return depthwise(x, 4 * kernel, padding=1)  # gain 4: three of four samples are stuffed zeros


def down_conv(x: Tensor, weight: Tensor, kernel: Tensor) -> Tensor:
    """Blur, then halve the side: [N, Ci, H, W], weight [Co, Ci, k, k] with k 1 or 3 -> [N, Co, H/2, W/2]."""
    if weight.shape[-1] == 1:
        return F.conv2d(down_image(x, kernel), weight)
    return F.conv2d(depthwise(x, kernel, padding=2), weight, stride=2)


def up_image(x: Tensor, kernel: Tensor) -> Tensor:
    """Double the side of `x` [N, C, H, W] with the blur as interpolation."""
    channels = x.shape[1]
    # The transposed convolution is zero-stuffing at even positions, padding (2, 1) and the symmetric blur.
    return F.conv_transpose2d(x, (4 * kernel).expand(channels, 1, -1, -1), stride=2, padding=1, groups=channels)


def down_image(x: Tensor, kernel: Tensor) -> Tensor:
    """Blur and halve the side of `x` [N, C, H, W]."""
    return depthwise(x, kernel, stride=2, padding=1)


def append_minibatch_stddev(x: Tensor, group_size: int) -> Tensor:
    """Append one channel with the mean standard deviation of a sample's group: [N, C, H, W] -> [N, C + 1, H, W].

    With group size g = min(group_size, N), sample n belongs to group n mod (N / g); the deviation is the population's.

    Raises:
        ValueError: N is not a multiple of g.
    """
    n = x.shape[0]
    group = min(group_size, n)
    if n % group:
        raise ValueError(f"minibatch standard deviation: a batch of {n} does not split into groups of {group}.")
    # Half precision would lose the small differences between samples.
    grouped = x.to(torch.promote_types(x.dtype, torch.float32)).unflatten(0, (group, n // group))
    variance = (grouped - grouped.mean(dim=0)).square().mean(dim=0)
    deviation = (variance + EPSILON).sqrt().mean(dim=(1, 2, 3))  # one number a group
    channel = deviation.repeat(group).to(x.dtype).view(n, 1, 1, 1).expand(-1, -1, *x.shape[2:])
    return torch.cat([x, channel], dim=1)


class EqualisedLinear(nn.Module):
    """Linear layer whose raw weight is N(0, 1) / m and is scaled by m / sqrt(fan_in) at run time, m the multiplier."""

    def __init__(self, features_in: int, features_out: int, lr_multiplier: float = 1.0, bias_init: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features_out, features_in) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((features_out,), bias_init / lr_multiplier))
        self.weight_scale = lr_multiplier / math.sqrt(features_in)
        self.bias_scale = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """[N, features_in] -> [N, features_out]."""
        return F.linear(x, self.weight * self.weight_scale, self.bias * self.bias_scale)


class EqualisedConv(nn.Module):
    """Convolution of odd size with raw weight N(0, 1), scaled by 1 / sqrt(fan_in); `down` blurs and halves the side."""

    fir: Tensor

    def __init__(self, channels_in: int, channels_out: int, size: int, down: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, size, size))
        self.bias = nn.Parameter(torch.zeros(channels_out)) if bias else None
        self.scale = 1 / math.sqrt(channels_in * size**2)
        self.down = down
        if down:
            self.register_buffer("fir", fir_kernel(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels_in, H, W] -> [N, channels_out, H, W], or half the side."""
        weight = self.weight * self.scale
        if self.down:
            x = down_conv(x, weight, self.fir)
        else:
            x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        return x if self.bias is None else x + self.bias.view(-1, 1, 1)


class StyledConv(nn.Module):
    """3x3 convolution whose weights a style scales per input channel and normalises per output channel.

    Scaling the sample's input and output instead of the weight is the same, and leaves one ordinary convolution.
    Then noise, bias and leaky ReLU.
    """

    fir: Tensor

    def __init__(self, channels_in: int, channels_out: int, style_dim: int, up: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.style = EqualisedLinear(style_dim, channels_in, bias_init=1.0)
        self.up = up
        if up:
            self.register_buffer("fir", fir_kernel(), persistent=False)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """x [N, channels_in, H, W], w [N, style_dim], noise [N or 1, 1, H', W'] -> [N, channels_out, H', W']."""
        style = self.style(w)
        x = x * style[:, :, None, None]
        x = up_conv(x, self.weight, self.fir) if self.up else F.conv2d(x, self.weight, padding=1)
        norm = (style.square()[:, None, :] * self.weight.square().sum(dim=(2, 3))).sum(dim=2)
        x = x * (norm + EPSILON).rsqrt()[:, :, None, None]
        if noise is not None:
            x = x + noise * self.noise_strength
        return leaky_relu(x + self.bias.view(-1, 1, 1))


class ToRgb(nn.Module):
    """1x1 convolution to RGB, scaled per input channel by a style and not normalised; linear output."""

    def __init__(self, channels_in: int, style_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, channels_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.style = EqualisedLinear(style_dim, channels_in, bias_init=1.0)
        self.scale = 1 / math.sqrt(channels_in)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x [N, channels_in, H, W], w [N, style_dim] -> [N, 3, H, W]."""
        style = self.style(w) * self.scale
        return F.conv2d(x * style[:, :, None, None], self.weight) + self.bias.view(-1, 1, 1)
