"""WGAN-GP at 64 pixels as in the paper's own code (igul222/improved_wgan_training@fa66c57, "good" ResNet).

Unlike the 32-pixel network it has layer norm in the discriminator, and no bias in the first convolution of a block.
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from baselines.blocks import ResNetGenerator, checked, conv3x3, initialise, scaled

RESOLUTION = 64
GENERATOR = (512, 512, 256, 128, 64)  # output of the linear layer at 4 x 4, then of every block
DISCRIMINATOR = (64, 128, 256, 512, 512)  # output of the first convolution, then of every block
WIDTH = 64  # narrowest width; `width` scales every list by width / this
LATENT_DIM = 128


class LayerNormDownBlock(nn.Module):
    """Discriminator block: norm, ReLU, conv, norm, ReLU, conv, pool; plus pool and 1x1.

    Norms are over (C, H, W) with an affine map per channel; the first convolution has no bias.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(1, channels_in)
        self.conv1 = conv3x3(channels_in, channels_in, bias=False)
        self.norm2 = nn.GroupNorm(1, channels_in)
        self.conv2 = conv3x3(channels_in, channels_out)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N,Ci,H,W] to [N,Co,H/2,W/2]."""
        y = self.conv1(F.relu(self.norm1(x)))
        y = self.conv2(F.relu(self.norm2(y)))
        return F.avg_pool2d(y, 2) + self.shortcut(F.avg_pool2d(x, 2))


class Discriminator(nn.Module):
    """Image [N,3,64,64] in [-1, 1] -> value [N,1]: no norm and no activation after the last block."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.resolution = RESOLUTION
        self.from_rgb = conv3x3(3, widths[0])
        self.blocks = nn.Sequential(*(LayerNormDownBlock(i, o) for i, o in pairwise(widths)))
        self.head = nn.Linear(widths[-1] * (RESOLUTION >> len(self.blocks)) ** 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N,3,64,64] to values [N,1]."""
        return self.head(self.blocks(self.from_rgb(x)).flatten(1))


def build_generator(resolution: int, *, width: int = WIDTH) -> nn.Module:
    """Build the generator latent [N,128] -> image [N,3,64,64] in (-1, 1).

    Args:
        resolution: 64.
        width: 64 is the published size; another value scales every layer by width / 64.

    Raises:
        ValueError: another resolution, or a width that does not scale.
    """
    checked("resolution", resolution, (RESOLUTION,))
    widths = scaled(GENERATOR, width, WIDTH)
    net = ResNetGenerator(resolution, LATENT_DIM, 4, widths, "nearest", "tanh", first_bias=False)
    initialise(net, "chainer")
    return net


def build_discriminator(resolution: int, *, width: int = WIDTH) -> nn.Module:
    """Build the discriminator: image [N,3,64,64] -> value [N,1], twice differentiable; arguments as for the generator.

    Raises:
        ValueError: another resolution, or a width that does not scale.
    """
    checked("resolution", resolution, (RESOLUTION,))
    net = Discriminator(scaled(DISCRIMINATOR, width, WIDTH))
    initialise(net, "chainer")
    return net
