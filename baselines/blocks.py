"""Residual networks shared by SN-GAN, WGAN-GP, AutoGAN's discriminator and the residual DCGAN.

The stage tables are those of the SN-GAN family: pfnet-research/sngan_projection@e84b1a5 (32, 64),
kwotsin/mimicry@a7fda06 and GongXinyuu/sngan.pytorch@3d92616 (48).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

UP_MODES = ("nearest", "bilinear")
SHORTCUTS = ("raw", "relu")
POOLS = ("sum", "mean")


@dataclass(frozen=True)
class Stages:
    """One row of the stage table: widths at full size."""

    base: int  # side of the generator's first feature map
    generator: tuple[int, ...]  # output of the linear layer, then of every up-sampling block
    discriminator: tuple[int, ...]  # output of every block
    discriminator_pools: tuple[bool, ...]  # whether that block halves the side


STAGES = {
    16: Stages(4, (256, 256, 256), (128, 128, 128), (True, True, False)),  # ours: one stage less than 32
    32: Stages(4, (256, 256, 256, 256), (128, 128, 128, 128), (True, True, False, False)),
    48: Stages(6, (512, 256, 128, 64), (64, 128, 256, 512, 1024), (True, True, True, True, False)),
    64: Stages(4, (1024, 512, 256, 128, 64), (64, 128, 256, 512, 1024), (True, True, True, True, True)),
}
GENERATOR_WIDTH = 256  # of the 32-pixel row; `width` scales every list by width / this
DISCRIMINATOR_WIDTH = 128


@dataclass(frozen=True)
class Init:
    """Initialisation rule: Xavier-uniform gains; None keeps PyTorch's default."""

    block: float | None  # 3x3 convolutions of the blocks
    shortcut: float | None  # 1x1 convolutions
    image: float | None  # convolution to RGB, or from it outside any block
    linear: float | None
    zero_biases: bool = False
    norm_std: float | None = None  # batch-norm scale ~ N(1, norm_std^2)


INITS = {
    # pfnet-research/sngan_projection@e84b1a5, w86763777/pytorch-gan-collections@860e90b
    "chainer": Init(math.sqrt(2), 1.0, 1.0, 1.0, zero_biases=True),
    # kwotsin/mimicry@a7fda06: SN-GAN, and WGAN-GP / DCGAN
    "mimicry-sngan": Init(math.sqrt(2), 1.0, 1.0, 1.0),
    "mimicry": Init(math.sqrt(2), None, None, 1.0),
    # VITA-Group/AutoGAN@a5eeef0, GongXinyuu/sngan.pytorch@3d92616, chengaopro/AdversarialNAS@d7ea5e0
    "autogan": Init(1.0, 1.0, 1.0, None, norm_std=0.02),
    "pytorch": Init(None, None, None, None),
}


def checked(option: str, value: object, valid: Iterable[object]) -> None:
    """Refuse a value outside `valid`.

    Raises:
        ValueError: names the option, the value and the valid ones.
    """
    valid = list(valid)
    if value not in valid:
        raise ValueError(f"{option}: {value!r} is not one of {', '.join(repr(v) for v in valid)}.")


def scaled(widths: Iterable[int], width: int, full: int) -> tuple[int, ...]:
    """Scale a width list by width / full.

    Raises:
        ValueError: some scaled width is not a positive whole number.
    """
    widths = tuple(widths)
    if width <= 0 or any(w * width % full for w in widths):
        raise ValueError(f"width: {width} does not scale {widths} by a whole factor of 1/{full}.")
    return tuple(w * width // full for w in widths)


def upsample(x: Tensor, mode: str) -> Tensor:
    """Double the sides of [N,C,H,W] by `nearest` or `bilinear` (align_corners off) interpolation."""
    return F.interpolate(x, scale_factor=2, mode=mode)


def same(x: Tensor) -> Tensor:
    """Return `x`: the default of `gather_batch` and `own_rows`, which several processes that share a batch replace."""
    return x


def conv3x3(channels_in: int, channels_out: int, bias: bool = True) -> nn.Conv2d:
    """3x3 convolution that keeps the side."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=bias)


class UpBlock(nn.Module):
    """Generator block: norm, ReLU, up, conv, norm, ReLU, conv; plus up and 1x1 convolution of the raw input.

    `first_bias`: whether the first convolution has a bias.
    """

    def __init__(self, channels_in: int, channels_out: int, up: str, first_bias: bool = True) -> None:
        super().__init__()
        self.up = up
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = conv3x3(channels_in, channels_out, first_bias)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.conv2 = conv3x3(channels_out, channels_out)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N,Ci,H,W] to [N,Co,2H,2W]."""
        y = self.conv1(upsample(F.relu(self.norm1(x)), self.up))
        y = self.conv2(F.relu(self.norm2(y)))
        return y + self.shortcut(upsample(x, self.up))


class FirstDownBlock(nn.Module):
    """First discriminator block: no activation on the image; the shortcut pools before its 1x1 convolution."""

    def __init__(self, channels_out: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(3, channels_out)
        self.conv2 = conv3x3(channels_out, channels_out)
        self.shortcut = nn.Conv2d(3, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N,3,H,W] to [N,C,H/2,W/2]."""
        y = self.conv2(F.relu(self.conv1(x)))
        return F.avg_pool2d(y, 2) + self.shortcut(F.avg_pool2d(x, 2))


class DownBlock(nn.Module):
    """Discriminator block, pre-activation, hidden width = input width; optionally halves the side.

    `shortcut_input`: `raw`, or `relu` as in kwotsin/mimicry@a7fda06, whose in-place ReLU also changes what the shortcut
    reads.
    """

    def __init__(self, channels_in: int, channels_out: int, pool: bool, shortcut_input: str) -> None:
        super().__init__()
        self.pool = pool
        self.shortcut_input = shortcut_input
        self.conv1 = conv3x3(channels_in, channels_in)
        self.conv2 = conv3x3(channels_in, channels_out)
        learned = pool or channels_in != channels_out
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1) if learned else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [N,Ci,H,W] to [N,Co,H,W], or to half the sides."""
        activated = F.relu(x)
        y = self.conv2(F.relu(self.conv1(activated)))
        skip = self.shortcut(activated if self.shortcut_input == "relu" else x)
        # pooling is linear: the sum may be pooled once
        return F.avg_pool2d(y + skip, 2) if self.pool else y + skip


class ResNetGenerator(nn.Module):
    """Latent [N,latent_dim] -> image [N,3,R,R] in (-1, 1).

    `output`: `tanh`; or `sigmoid`, a sigmoid image stretched to (-1, 1).
    """

    def __init__(
        self,
        resolution: int,
        latent_dim: int,
        base: int,
        widths: tuple[int, ...],
        up: str,
        output: str,
        first_bias: bool = True,
    ) -> None:
        super().__init__()
        self.resolution = resolution
        self.latent_dim = latent_dim
        self.output = output
        self.first_shape = (widths[0], base, base)
        self.linear = nn.Linear(latent_dim, widths[0] * base * base)
        self.blocks = nn.ModuleList(UpBlock(i, o, up, first_bias) for i, o in pairwise(widths))
        self.norm = nn.BatchNorm2d(widths[-1])
        self.to_rgb = conv3x3(widths[-1], 3)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents [N,latent_dim] to images [N,3,R,R] in (-1, 1)."""
        x = self.linear(z).view(-1, *self.first_shape)
        for block in self.blocks:
            x = block(x)
        x = self.to_rgb(F.relu(self.norm(x)))
        return torch.tanh(x) if self.output == "tanh" else 2 * torch.sigmoid(x) - 1


class ResNetDiscriminator(nn.Module):
    """Image [N,3,R,R] in [-1, 1] -> logit [N,1].

    `pool`: features are summed or averaged over space before the linear head. `unit_range`: the blocks see (x + 1) / 2.
    """

    def __init__(
        self,
        resolution: int,
        widths: tuple[int, ...],
        pools: tuple[bool, ...],
        shortcut_input: str,
        pool: str,
        head_bias: bool,
        unit_range: bool,
    ) -> None:
        super().__init__()
        self.resolution = resolution
        self.pool = pool
        self.unit_range = unit_range
        rest = zip(widths[:-1], widths[1:], pools[1:], strict=True)
        blocks = [DownBlock(i, o, halve, shortcut_input) for i, o, halve in rest]
        self.blocks = nn.ModuleList([FirstDownBlock(widths[0]), *blocks])
        self.head = nn.Linear(widths[-1], 1, bias=head_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N,3,R,R] to logits [N,1]."""
        if self.unit_range:
            x = (x + 1) / 2
        for block in self.blocks:
            x = block(x)
        x = F.relu(x)
        return self.head(x.sum((2, 3)) if self.pool == "sum" else x.mean((2, 3)))


def initialise(net: nn.Module, rule: str) -> None:
    """Initialise convolutions, linear layers and batch norms of `net` in place by the rule of that name.

    Convolutions not named `to_rgb` or `from_rgb` with a 1x1 kernel count as shortcuts, the others as block
    convolutions.

    Raises:
        ValueError: no such rule.
    """
    checked("init", rule, INITS)
    init = INITS[rule]
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if isinstance(layer, nn.Linear):
                gain = init.linear
            elif name in ("to_rgb", "from_rgb"):
                gain = init.image
            else:
                gain = init.shortcut if layer.kernel_size == (1, 1) else init.block
            if gain is not None:
                nn.init.xavier_uniform_(layer.weight, gain)
            if init.zero_biases and layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d) and init.norm_std is not None:
            nn.init.normal_(layer.weight, 1.0, init.norm_std)


def normalise_spectrally(net: nn.Module) -> None:
    """Put spectral norm on every convolution and linear layer of `net`, in place.

    The weight is divided by sigma = u'Wv, W reshaped to (out, rest); one power iteration per training-mode forward
    (v from the old u, then u from v; eps 1e-12), none in eval mode. u and v are buffers and belong to the state dict.
    This is PyTorch's hook form: its parametrisation form updates u before v and so gives other numbers.
    """
    for layer in list(net.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            spectral_norm(layer)
            layer.register_forward_hook(_release_graph)


def _release_graph(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """Cut the normalised weight that the hook leaves on the layer out of the graph: else the layer cannot be copied."""
    assert isinstance(layer.weight, Tensor), "spectral norm leaves a plain tensor"
    layer.weight = layer.weight.detach()


def build_resnet_generator(
    resolution: int, *, width: int, up: str, init: str, output: str = "tanh", latent_dim: int = 128
) -> ResNetGenerator:
    """Build the generator of the stage table; `width` 256 is full size, other values scale every layer.

    Raises:
        ValueError: a resolution or option outside its list.
    """
    checked("resolution", resolution, STAGES)
    checked("up", up, UP_MODES)
    checked("output", output, ("tanh", "sigmoid"))
    stages = STAGES[resolution]
    widths = scaled(stages.generator, width, GENERATOR_WIDTH)
    net = ResNetGenerator(resolution, latent_dim, stages.base, widths, up, output)
    initialise(net, init)
    return net


def build_resnet_discriminator(
    resolution: int,
    *,
    width: int,
    shortcut: str,
    pool: str,
    head_bias: bool,
    spectral: bool,
    init: str,
    late_init: bool = False,
    unit_range: bool = False,
    row: int | None = None,
) -> ResNetDiscriminator:
    """Build the discriminator of the stage table; `width` 128 is full size, other values scale every layer.

    Args:
        resolution: side of the images in pixels.
        width: width of the 32-pixel row.
        shortcut: what the shortcuts of `DownBlock` read.
        pool: `sum` or `mean` over space before the head.
        head_bias: whether the linear head has a bias.
        spectral: spectral norm on every layer.
        init: a name of `INITS`.
        late_init: the rule comes after spectral norm, as in AutoGAN's family. There it writes into a tensor that the
            next forward overwrites, so that every layer keeps PyTorch's default.
        unit_range: the blocks see (x + 1) / 2.
        row: row of the stage table where it is not that of the resolution.

    Raises:
        ValueError: a resolution or option outside its list.
    """
    checked("resolution", resolution, STAGES)
    checked("shortcut", shortcut, SHORTCUTS)
    checked("pool", pool, POOLS)
    stages = STAGES[resolution if row is None else row]
    widths = scaled(stages.discriminator, width, DISCRIMINATOR_WIDTH)
    net = ResNetDiscriminator(resolution, widths, stages.discriminator_pools, shortcut, pool, head_bias, unit_range)
    initialise(net, "pytorch" if late_init else init)
    if spectral:
        normalise_spectrally(net)
    return net
