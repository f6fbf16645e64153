"""AutoGAN (Gong et al., arXiv 1908.03835), discovered architectures a, b, c: VITA-Group/AutoGAN@a5eeef0."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.blocks import build_resnet_discriminator, checked, conv3x3, initialise, upsample

RESOLUTIONS = (32, 48, 64)  # 64 is our extension
LATENT_DIM = 128


@dataclass(frozen=True)
class CellDesign:
    """What the architecture search chose for one cell; convolutions are pre-activation everywhere."""

    up: str
    shortcut: bool = True
    norm: bool = False


# The repository's architecture vectors: a 1 0 1 1 / 1 0 0 1 1 / 1 0 1 0 3, b 1 0 1 1 / 1 0 1 1 1 / 1 0 1 1 3,
# c 1 1 1 1 / 1 0 0 1 1 / 1 0 1 0 3 (convolution, norm, up, shortcut, skips).
ARCHITECTURES = {
    "a": (CellDesign("nearest"), CellDesign("bilinear"), CellDesign("nearest", shortcut=False)),
    "b": (CellDesign("nearest"), CellDesign("nearest"), CellDesign("nearest")),
    "c": (CellDesign("nearest", norm=True), CellDesign("bilinear"), CellDesign("nearest", shortcut=False)),
}


class Cell(nn.Module):
    """One up-sampling cell; reads the skip tensors of all cells before it through 1x1 convolutions.

    `skip_alias`: the skip that leaves the cell contains those that came in, as in the released code, which adds in
    place; off, it branches before the additions, as the paper draws it.
    """

    def __init__(self, width: int, design: CellDesign, sources: int, skip_alias: bool) -> None:
        super().__init__()
        self.up = design.up
        self.skip_alias = skip_alias
        self.norm1 = nn.BatchNorm2d(width) if design.norm else nn.Identity()
        self.conv1 = conv3x3(width, width)
        self.skips = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(sources))
        self.norm2 = nn.BatchNorm2d(width) if design.norm else nn.Identity()
        self.conv2 = conv3x3(width, width)
        self.shortcut = nn.Conv2d(width, width, 1) if design.shortcut else None

    def forward(self, x: Tensor, incoming: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Map [N,C,H,W] and earlier skips to (skip, output), both [N,C,2H,2W]."""
        first = self.conv1(upsample(F.relu(self.norm1(x)), self.up))
        y = first
        for conv, skip in zip(self.skips, incoming, strict=True):
            y = y + conv(F.interpolate(skip, size=y.shape[2:], mode=self.up))
        out = self.conv2(F.relu(self.norm2(y)))
        if self.shortcut is not None:
            out = out + self.shortcut(upsample(x, self.up))
        return (y if self.skip_alias else first), out


class AutoGanGenerator(nn.Module):
    """Linear layer, three cells, batch norm, ReLU, convolution, tanh."""

    def __init__(self, resolution: int, designs: tuple[CellDesign, ...], width: int, skip_alias: bool) -> None:
        super().__init__()
        self.resolution = resolution
        self.latent_dim = LATENT_DIM
        base = resolution >> len(designs)
        self.first_shape = (width, base, base)
        self.linear = nn.Linear(LATENT_DIM, width * base * base)
        self.cells = nn.ModuleList(Cell(width, design, i, skip_alias) for i, design in enumerate(designs))
        self.norm = nn.BatchNorm2d(width)
        self.to_rgb = conv3x3(width, 3)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents [N,128] to images [N,3,R,R] in (-1, 1)."""
        x = self.linear(z).view(-1, *self.first_shape)
        skips: list[Tensor] = []
        for cell in self.cells:
            skip, x = cell(x, skips)
            skips.append(skip)
        return torch.tanh(self.to_rgb(F.relu(self.norm(x))))


def build_generator(
    resolution: int, *, architecture: str = "a", width: int = 256, skip_alias: bool = True, init: str = "autogan"
) -> nn.Module:
    """Build the generator: latent [N,128] -> image [N,3,R,R] in (-1, 1), R of 32, 48, 64.

    Args:
        resolution: side R in pixels; only the linear layer grows with it.
        architecture: `a` (top 1; also the STL-10 network), `b` or `c`.
        width: channels of every cell, 256 as published.
        skip_alias: whether a cell's skip contains the skips it received (released code) or not (the paper's figure).
        init: a name of `baselines.blocks.INITS`.

    Raises:
        ValueError: an option outside its list.
    """
    checked("resolution", resolution, RESOLUTIONS)
    checked("architecture", architecture, ARCHITECTURES)
    net = AutoGanGenerator(resolution, ARCHITECTURES[architecture], width, skip_alias)
    initialise(net, init)
    return net


def build_discriminator(
    resolution: int,
    *,
    width: int = 128,
    pool: str = "sum",
    spectral_norm: bool = True,
    init: str = "autogan",
    late_init: bool = True,
) -> nn.Module:
    """Build the discriminator: image [N,3,R,R] -> logit [N,1].

    It is SN-GAN's 32-pixel discriminator at every resolution, without the head's bias.

    Args:
        resolution: side R in pixels.
        width: channels of every block, 128 as published.
        pool: `sum` or `mean` over space before the head.
        spectral_norm: on every layer; off only to compare with numbers of the plain layers.
        init: a name of `baselines.blocks.INITS`.
        late_init: initialise after spectral norm as the released code does: without effect, PyTorch's default stays.

    Raises:
        ValueError: an option outside its list.
    """
    return build_resnet_discriminator(
        resolution,
        width=width,
        shortcut="raw",
        pool=pool,
        head_bias=False,
        spectral=spectral_norm,
        init=init,
        late_init=late_init,
        row=32,
    )
