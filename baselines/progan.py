"""Progressive GAN (arXiv 1710.10196): the CIFAR-10 preset of the authors' original Theano code.

tkarras/progressive_growing_of_gans@1a05598 (branch original-theano-version): 128 channels at every resolution. The
TensorFlow code that followed does not reproduce CIFAR-10. At 48 pixels, an extension, the first side is 6, not 4.

Both networks hold a level of detail `lod`: 0 at full resolution, 1 at half, a blend in between. Images have full size.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.blocks import same

FIRST_SIDES = {32: 4, 48: 6, 64: 4}
LEAK = 0.2
EPSILON = 1e-8


def stage_count(resolution: int) -> int:
    """Return the number of resolutions from the first side to `resolution`.

    Raises:
        ValueError: a resolution that this network does not have.
    """
    if resolution not in FIRST_SIDES:
        raise ValueError(f"resolution: {resolution} is not one of {', '.join(map(str, FIRST_SIDES))}.")
    return int(math.log2(resolution // FIRST_SIDES[resolution])) + 1


def leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2 (its gain is in the layers' scale)."""
    return F.leaky_relu(x, LEAK)


def pixel_norm(x: Tensor) -> Tensor:
    """Divide `x` [N, C, H, W] by the root mean square over C."""
    return x * (x.square().mean(dim=1, keepdim=True) + EPSILON).rsqrt()


def append_minibatch_stddev(x: Tensor) -> Tensor:
    """Append one channel with the minibatch's mean standard deviation: [N, C, H, W] -> [N, C + 1, H, W]."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))  # half precision would lose small differences
    variance = (wide - wide.mean(dim=0)).square().mean(dim=0)
    deviation = (variance + EPSILON).sqrt().mean().to(x.dtype)
    return torch.cat([x, deviation.expand(len(x), 1, *x.shape[2:])], dim=1)


def enlarge(x: Tensor, factor: int) -> Tensor:
    """Repeat every pixel `factor` times along both sides."""
    return F.interpolate(x, scale_factor=factor, mode="nearest") if factor > 1 else x


class EqualisedConv(nn.Module):
    """Convolution with raw weight N(0, 1), scaled by gain / sqrt(fan_in) at run time; then the bias."""

    def __init__(
        self, channels_in: int, channels_out: int, size: int, padding: int, gain: float = math.sqrt(2)
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, size, size))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.scale = gain / math.sqrt(channels_in * size**2)
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels_in, H, W] -> [N, channels_out, H', W']."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class FirstConv(EqualisedConv):
    """The generator's first convolution, "full" on a 1x1 map: [N, C, 1, 1] -> [N, C, side, side]."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute what padding by side - 1 would, without multiplying the zeros."""
        weight = (self.weight * self.scale).transpose(0, 1).flip(2, 3)
        return F.conv_transpose2d(x, weight, self.bias)


class EqualisedLinear(nn.Module):
    """Linear layer of gain 1 with raw weight N(0, 1), scaled by 1 / sqrt(fan_in) at run time."""

    def __init__(self, features_in: int, features_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features_out, features_in))
        self.bias = nn.Parameter(torch.zeros(features_out))
        self.scale = 1 / math.sqrt(features_in)

    def forward(self, x: Tensor) -> Tensor:
        """[N, features_in] -> [N, features_out]."""
        return F.linear(x, self.weight * self.scale, self.bias)


class Stage(nn.Module):
    """Two 3x3 convolutions with leaky ReLU, in the generator each followed by the pixel norm."""

    def __init__(self, width: int, normalise: bool) -> None:
        super().__init__()
        self.conv1 = EqualisedConv(width, width, 3, padding=1)
        self.conv2 = EqualisedConv(width, width, 3, padding=1)
        self.normalise = normalise

    def forward(self, x: Tensor) -> Tensor:
        """[N, width, H, W] -> [N, width, H, W]."""
        for conv in (self.conv1, self.conv2):
            x = leaky_relu(conv(x))
            x = pixel_norm(x) if self.normalise else x
        return x


class Growing(nn.Module):
    """A network with a level of detail, which its state keeps, so that a saved network comes back at its own.

    Attributes:
        lod: the buffer that is saved.
        level_of_detail: the same number where `forward` reads it, without waiting for the device.
    """

    lod: Tensor

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.levels = stage_count(resolution) - 1
        self.level_of_detail = 0.0
        self.register_buffer("lod", torch.zeros(()))
        self.register_load_state_dict_post_hook(_read_level_of_detail)

    def set_lod(self, lod: float) -> None:
        """Set the level of detail: 0 (full size) to `levels` (first side); its fraction is the coarser one's share."""
        assert 0 <= lod <= self.levels, f"a level of detail of {lod} is not between 0 and {self.levels}"
        self.level_of_detail = lod
        self.lod.fill_(lod)

    def _stage_and_share(self) -> tuple[int, float]:
        """Return the index of the finest stage in use, coarse to fine, and the coarser stage's share of the blend."""
        whole = math.floor(self.level_of_detail)
        return self.levels - whole, self.level_of_detail - whole


def _read_level_of_detail(network: nn.Module, incompatible_keys: Any) -> None:
    """Follow a state that was just loaded."""
    assert isinstance(network, Growing), "the hook belongs to growing networks"
    network.level_of_detail = network.lod.item()


class Generator(Growing):
    """Latents are normalised, grown to the first side by one convolution, and doubled per stage; linear RGB output."""

    def __init__(self, resolution: int, width: int) -> None:
        super().__init__(resolution)
        side = FIRST_SIDES[resolution]
        self.latent_dim = width
        self.first = FirstConv(width, width, side, padding=side - 1)
        self.second = EqualisedConv(width, width, 3, padding=1)
        self.stages = nn.ModuleList(Stage(width, normalise=True) for _ in range(self.levels))
        self.to_rgb = nn.ModuleList(EqualisedConv(width, 3, 1, padding=0, gain=1.0) for _ in range(self.levels + 1))

    def forward(self, z: Tensor) -> Tensor:
        """Make images [N, 3, R, R] (about [-1, 1], unbounded) of latents [N, width] at the level of detail set."""
        last, share = self._stage_and_share()
        x = pixel_norm(z[:, :, None, None])
        for conv in (self.first, self.second):
            x = pixel_norm(leaky_relu(conv(x)))
        coarser = x
        for stage in self.stages[:last]:
            coarser, x = x, stage(enlarge(x, 2))
        image = self.to_rgb[last](x)
        if share > 0:
            image = image.lerp(enlarge(self.to_rgb[last - 1](coarser), 2), share)
        return enlarge(image, 2 ** (self.levels - last))


class Discriminator(Growing):
    """Mirror image of the generator, with a minibatch standard deviation before its last convolutions; no norm.

    Attributes:
        gather_batch, own_rows: to all images of a batch that is spread over several processes, and back.
    """

    gather_batch: Callable[[Tensor], Tensor] = staticmethod(same)
    own_rows: Callable[[Tensor], Tensor] = staticmethod(same)

    def __init__(self, resolution: int, width: int) -> None:
        super().__init__(resolution)
        side = FIRST_SIDES[resolution]
        self.from_rgb = nn.ModuleList(EqualisedConv(3, width, 1, padding=0) for _ in range(self.levels + 1))
        self.stages = nn.ModuleList(Stage(width, normalise=False) for _ in range(self.levels))
        self.conv = EqualisedConv(width + 1, width, 3, padding=1)
        self.flatten = EqualisedConv(width, width, side, padding=0)
        self.head = EqualisedLinear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Judge images [N, 3, R, R] at the level of detail set: logits [N, 1]."""
        last, share = self._stage_and_share()
        factor = 2 ** (self.levels - last)
        image = F.avg_pool2d(x, factor) if factor > 1 else x
        x = leaky_relu(self.from_rgb[last](image))
        for index in reversed(range(last)):
            x = F.avg_pool2d(self.stages[index](x), 2)
            if index == last - 1 and share > 0:
                x = x.lerp(leaky_relu(self.from_rgb[index](F.avg_pool2d(image, 2))), share)
        x = leaky_relu(self.conv(self.own_rows(append_minibatch_stddev(self.gather_batch(x)))))
        return self.head(leaky_relu(self.flatten(x)).flatten(1))


def build_generator(resolution: int, *, width: int = 128) -> Generator:
    """Build a generator with fresh weights.

    Args:
        resolution: 32, 48 or 64.
        width: channels of every stage, and the latent's dimension (128).

    Raises:
        ValueError: a resolution that this network does not have.
    """
    return Generator(resolution, width)


def build_discriminator(resolution: int, *, width: int = 128) -> Discriminator:
    """Build a discriminator with fresh weights.

    Args:
        resolution: 32, 48 or 64.
        width: channels of every stage (128).

    Raises:
        ValueError: a resolution that this network does not have.
    """
    return Discriminator(resolution, width)
