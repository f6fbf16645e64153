"""StyleGAN2 (arXiv 1912.04958): generator with skip images, discriminator plain (`orig`) or residual (`resnet`).

The definitions are those of NVlabs/stylegan2-ada-pytorch@d72cc7d. Three published configurations are sets of options
(experiments/models/stylegan2.yaml): that repository's `cifar` and `auto`, and the CIFAR network of
mit-han-lab/data-efficient-gans@0b63395, whose scores TransGAN quotes. At 48 pixels, where there is no official network,
they start from 6x6 instead of 4x4.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from baselines.blocks import same
from baselines.stylegan2_ops import (
    EqualisedConv,
    EqualisedLinear,
    StyledConv,
    ToRgb,
    append_minibatch_stddev,
    fir_kernel,
    leaky_relu,
    pixel_norm,
    up_image,
)

LATENT_DIM = 512  # of z and of w
MAPPING_LR_MULTIPLIER = 0.01
W_AVERAGE_DECAY = 0.995
FIRST_SIDES = {32: 4, 48: 6, 64: 4}
ARCHITECTURES = ("orig", "resnet")


def stage_widths(resolution: int, channel_base: int, channel_max: int) -> list[int]:
    """Return the channels of every stage, coarse to fine: min(channel_base / side, channel_max).

    Stages count as 4, 8, 16, 32, ... px a side at every resolution. At 48 px, where they are 6, 12, 24 and 48 px, this
    keeps the widths of the official networks' stages; a division by the real sides would give 16384 // 48 = 341.

    Raises:
        ValueError: a resolution that this network does not have.
    """
    if resolution not in FIRST_SIDES:
        raise ValueError(f"resolution: {resolution} is not one of {', '.join(map(str, FIRST_SIDES))}.")
    stages = int(math.log2(resolution // FIRST_SIDES[resolution])) + 1
    return [min(channel_base // (4 * 2**stage), channel_max) for stage in range(stages)]


class Mapping(nn.Module):
    """z -> w: pixel norm, then leaky linear layers that learn a hundred times slower."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EqualisedLinear(LATENT_DIM, LATENT_DIM, lr_multiplier=MAPPING_LR_MULTIPLIER) for _ in range(layers)
        )

    def forward(self, z: Tensor) -> Tensor:
        """[N, 512] -> [N, 512]."""
        x = pixel_norm(z)
        for layer in self.layers:
            x = leaky_relu(layer(x))
        return x


class SynthesisStage(nn.Module):
    """One resolution of the generator: an up-sampling and a plain convolution, and the image so far.

    The first stage has no up-sampling convolution. `to_rgb` shares its w with the first convolution of the next stage.
    """

    fir: Tensor

    def __init__(self, channels_in: int | None, channels_out: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([StyledConv(channels_out, channels_out, LATENT_DIM)])
        if channels_in is not None:
            self.convs.insert(0, StyledConv(channels_in, channels_out, LATENT_DIM, up=True))
        self.to_rgb = ToRgb(channels_out, LATENT_DIM)
        self.register_buffer("fir", fir_kernel(), persistent=False)

    def forward(
        self, x: Tensor, image: Tensor | None, styles: Sequence[Tensor], noise: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor]:
        """Features and image of the coarser stage -> those of this one; a style per convolution, then `to_rgb`'s."""
        for layer, w, layer_noise in zip(self.convs, styles[:-1], noise, strict=True):
            x = layer(x, w, layer_noise)
        rgb = self.to_rgb(x, styles[-1])
        return x, rgb if image is None else up_image(image, self.fir) + rgb


class Generator(nn.Module):
    """StyleGAN2 generator.

    Attributes:
        noise: whether every convolution adds N(0, 1) noise times its learned strength; as published, also in eval mode.
        style_mixing: probability that, in training mode, the layers from a random one on take the w of a second latent.
        w_average: moving average of w (decay 0.995), for truncation.
        draw_normal, gather_batch: draw numbers, a row an image, and go to all images of a batch; replaced where it is
            spread over several processes.
    """

    w_average: Tensor
    draw_normal: Callable[..., Tensor] = staticmethod(torch.randn)
    gather_batch: Callable[[Tensor], Tensor] = staticmethod(same)

    def __init__(
        self, resolution: int, widths: Sequence[int], mapping_layers: int, style_mixing: float, noise: bool
    ) -> None:
        super().__init__()
        self.latent_dim = LATENT_DIM
        self.resolution = resolution
        self.noise = noise
        self.style_mixing = style_mixing
        self.mapping = Mapping(mapping_layers)
        side = FIRST_SIDES[resolution]
        self.constant = nn.Parameter(torch.randn(widths[0], side, side))
        self.stages = nn.ModuleList(
            SynthesisStage(coarser, width) for coarser, width in zip([None, *widths], widths, strict=False)
        )
        self.register_buffer("w_average", torch.zeros(LATENT_DIM))
        # Side of the feature map that each convolution writes, coarse to fine: the shapes of the noise maps.
        self.noise_sides = [side] + [side * 2**stage for stage in range(1, len(widths)) for _ in range(2)]
        self.layer_count = len(self.noise_sides) + 1  # distinct w: every convolution's, and the last `to_rgb`'s

    def forward(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        """Make images [N, 3, R, R] (about [-1, 1], unbounded) of latents [N, 512]; `truncation` < 1 averages w."""
        styles = self.styles(z)
        if truncation != 1:
            styles = self.w_average.to(styles.dtype).lerp(styles, truncation)
        return self.synthesise(styles)

    def images_and_styles(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return images [N, 3, R, R] and the w of every layer [N, layers, 512] that they are a function of.

        Path length: the gradient's squares are summed over 512 and averaged over the layers.
        """
        styles = self.styles(z)
        return self.synthesise(styles), styles

    def styles(self, z: Tensor) -> Tensor:
        """Map latents [N, 512] to the w of every layer [N, layers, 512]; training mode mixes and averages them."""
        w = self.mapping(z)
        if self.training:
            mean = self.gather_batch(w.detach()).mean(dim=0)
            self.w_average.lerp_(mean.to(self.w_average.dtype), 1 - W_AVERAGE_DECAY)
        styles = w.unsqueeze(1).expand(-1, self.layer_count, -1)
        return self._mix(styles) if self.training and self.style_mixing > 0 else styles

    def _mix(self, styles: Tensor) -> Tensor:
        """Replace the layers from a random one (never the first) on, with probability `style_mixing`, once a batch."""
        device = styles.device
        first = torch.randint(1, self.layer_count, (), device=device)
        first = torch.where(torch.rand((), device=device) < self.style_mixing, first, self.layer_count)
        other = self.mapping(self.draw_normal(len(styles), LATENT_DIM, device=device, dtype=styles.dtype))
        keep = torch.arange(self.layer_count, device=device) < first
        return torch.where(keep[None, :, None], styles, other.unsqueeze(1))

    def synthesise(self, styles: Tensor, noise: Sequence[Tensor | None] | None = None) -> Tensor:
        """Make images of the w of every layer [N, layers, 512].

        `noise`, one map [N or 1, 1, side, side] a convolution (`noise_sides`), replaces what is drawn otherwise.
        """
        if noise is None:
            noise = [self._draw_noise(styles, side) for side in self.noise_sides]
        ws = styles.unbind(dim=1)
        x = self.constant.expand(len(styles), -1, -1, -1)
        x, image = self.stages[0](x, None, ws[:2], noise[:1])
        for i, stage in enumerate(self.stages[1:]):
            layer = 1 + 2 * i  # two convolutions a stage after the first
            x, image = stage(x, image, ws[layer : layer + 3], noise[layer : layer + 2])
        return image

    def _draw_noise(self, like: Tensor, side: int) -> Tensor | None:
        if not self.noise:
            return None
        return self.draw_normal(len(like), 1, side, side, device=like.device, dtype=like.dtype)


class DiscriminatorStage(nn.Module):
    """One resolution of the discriminator, which halves the side.

    The residual form adds a 1x1 path; both are multiplied by sqrt(1/2).
    """

    def __init__(self, channels_in: int, channels_out: int, residual: bool) -> None:
        super().__init__()
        self.conv = EqualisedConv(channels_in, channels_in, 3)
        self.down = EqualisedConv(channels_in, channels_out, 3, down=True)
        self.skip = EqualisedConv(channels_in, channels_out, 1, down=True, bias=False) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels_in, H, W] -> [N, channels_out, H/2, W/2]."""
        main = leaky_relu(self.down(leaky_relu(self.conv(x))))
        return main if self.skip is None else (main + self.skip(x)) * math.sqrt(0.5)


class Discriminator(nn.Module):
    """StyleGAN2 discriminator: stages, minibatch standard deviation, a convolution and two linear layers.

    Attributes:
        gather_batch, own_rows: to all images of a batch that is spread over several processes, and back.
    """

    gather_batch: Callable[[Tensor], Tensor] = staticmethod(same)
    own_rows: Callable[[Tensor], Tensor] = staticmethod(same)

    def __init__(self, resolution: int, widths: Sequence[int], residual: bool, stddev_group: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.stddev_group = stddev_group
        fine_to_coarse = list(reversed(widths))
        last = widths[0]
        self.from_rgb = EqualisedConv(3, fine_to_coarse[0], 1)
        self.stages = nn.Sequential(
            *(DiscriminatorStage(a, b, residual) for a, b in itertools.pairwise(fine_to_coarse))
        )
        self.conv = EqualisedConv(last + 1, last, 3)
        self.linear = EqualisedLinear(last * FIRST_SIDES[resolution] ** 2, last)
        self.head = EqualisedLinear(last, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Judge images [N, 3, R, R]: logits [N, 1]; N splits into groups of `stddev_group` (or is smaller)."""
        x = self.stages(leaky_relu(self.from_rgb(x)))
        batch = append_minibatch_stddev(self.gather_batch(x), self.stddev_group)
        x = leaky_relu(self.conv(self.own_rows(batch)))
        return self.head(leaky_relu(self.linear(x.flatten(1))))


def build_generator(
    resolution: int,
    *,
    channel_base: int = 32768,
    channel_max: int = 512,
    mapping_layers: int = 2,
    style_mixing: float = 0.0,
    noise: bool = True,
) -> Generator:
    """Build a generator with fresh weights; the defaults are the ADA repository's `cifar`.

    Args:
        resolution: 32, 48 or 64.
        channel_base: channels times side (32768 `cifar`, 16384 `auto`, 4096 the DiffAugment network); at 48 px the
            sides 6, 12, 24, 48 count as 4, 8, 16, 32 (see `stage_widths`).
        channel_max: most channels of a stage (512).
        mapping_layers: layers of the mapping network (2 in the ADA repository, 8 in the DiffAugment network).
        style_mixing: probability of mixing two latents in training mode (0 for `cifar`, 0.9 elsewhere).
        noise: add noise after every convolution, in training and evaluation.

    Raises:
        ValueError: a resolution that this network does not have.
    """
    widths = stage_widths(resolution, channel_base, channel_max)
    return Generator(resolution, widths, mapping_layers, style_mixing, noise)


def build_discriminator(
    resolution: int,
    *,
    channel_base: int = 32768,
    channel_max: int = 512,
    architecture: str = "orig",
    stddev_group: int = 32,
) -> Discriminator:
    """Build a discriminator with fresh weights; the defaults are the ADA repository's `cifar`.

    Args:
        resolution: 32, 48 or 64.
        channel_base: channels times side, as the generator's.
        channel_max: most channels of a stage (512).
        architecture: `orig` (plain, `cifar`) or `resnet` (residual, elsewhere).
        stddev_group: group of the minibatch standard deviation (32 for `cifar`, 4 elsewhere).

    Raises:
        ValueError: a resolution that this network does not have, or an unknown architecture.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture: {architecture!r} is not one of {', '.join(map(repr, ARCHITECTURES))}.")
    widths = stage_widths(resolution, channel_base, channel_max)
    return Discriminator(resolution, widths, architecture == "resnet", stddev_group)
