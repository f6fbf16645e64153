"""AdversarialNAS-GAN (Gao et al., arXiv 1912.02037), the published genotype: chengaopro/AdversarialNAS@d7ea5e0."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines import autogan
from baselines.blocks import checked, conv3x3, initialise, upsample

LATENT_DIM = 120


@dataclass(frozen=True)
class Genotype:
    """One cell: two up-sampled nodes 0 and 1, inner node 2, output node 3.

    `edges`: operations 0->2, 1->2, 0->3, 1->3, 2->3; None is absent, 0 the identity, k > 0 ReLU and a kxk convolution.
    """

    ups: tuple[str, str]
    edges: tuple[int | None, int | None, int | None, int | None, int | None]
    skip_mode: str  # interpolation of the skips that come in


# Genotype rows of the repository: [1 1 1 0 3 3 1], [1 1 0 1 3 3 3], [0 1 0 3 3 0 3].
GENOTYPE = (
    Genotype(("bilinear", "bilinear"), (0, None, 3, 3, 0), "nearest"),
    Genotype(("bilinear", "bilinear"), (None, 0, 3, 3, 3), "bilinear"),
    Genotype(("nearest", "bilinear"), (None, 3, 3, None, 3), "nearest"),
)


@dataclass(frozen=True)
class Layout:
    """Channels, and how many linear layers share the latent vector."""

    width: int
    latent_parts: int


LAYOUTS = {32: Layout(256, 3), 48: Layout(270, 2), 64: Layout(256, 3)}  # 64 is our extension


class Edge(nn.Module):
    """ReLU and a convolution that keeps the shape; kernel 0 is the identity."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, kernel, padding=kernel // 2) if kernel else None

    def forward(self, x: Tensor) -> Tensor:
        """Map [N,C,H,W] to the same shape."""
        return x if self.conv is None else self.conv(F.relu(x))


class Cell(nn.Module):
    """One up-sampling cell; `skip_alias` as in `baselines.autogan.Cell`."""

    def __init__(self, width: int, genotype: Genotype, sources: int, skip_alias: bool) -> None:
        super().__init__()
        self.up_modes = genotype.ups
        self.skip_mode = genotype.skip_mode
        self.skip_alias = skip_alias
        self.ups = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in genotype.ups)
        self.edges = nn.ModuleDict({str(e): Edge(width, k) for e, k in enumerate(genotype.edges) if k is not None})
        self.skips = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(sources))

    def _sum(self, *edges: tuple[int, Tensor]) -> Tensor:
        """Add up the operations of the edges that exist."""
        terms = [self.edges[str(e)](x) for e, x in edges if str(e) in self.edges]
        return torch.stack(terms).sum(0) if len(terms) > 1 else terms[0]

    def forward(self, x: Tensor, incoming: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Map [N,C,H,W] and earlier skips to (skip, output), both [N,C,2H,2W]."""
        node0, node1 = (conv(F.relu(upsample(x, mode))) for conv, mode in zip(self.ups, self.up_modes, strict=True))
        first = self._sum((0, node0), (1, node1))
        node2 = first
        for conv, skip in zip(self.skips, incoming, strict=True):
            node2 = node2 + conv(F.interpolate(skip, size=node2.shape[2:], mode=self.skip_mode))
        return (node2 if self.skip_alias else first), self._sum((2, node0), (3, node1), (4, node2))


class AdversarialNasGenerator(nn.Module):
    """Three cells; the parts of the latent vector enter before the first cells through one linear layer each."""

    def __init__(self, resolution: int, layout: Layout, skip_alias: bool) -> None:
        super().__init__()
        self.resolution = resolution
        self.latent_dim = LATENT_DIM
        self.width = width = layout.width
        self.sides = [(resolution >> len(GENOTYPE)) << i for i in range(layout.latent_parts)]
        part = LATENT_DIM // layout.latent_parts
        self.linears = nn.ModuleList(nn.Linear(part, width * side * side) for side in self.sides)
        self.cells = nn.ModuleList(Cell(width, genotype, i, skip_alias) for i, genotype in enumerate(GENOTYPE))
        self.norm = nn.BatchNorm2d(width)
        self.to_rgb = conv3x3(width, 3)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents [N,120] to images [N,3,R,R] in (-1, 1)."""
        parts = z.chunk(len(self.linears), dim=1)
        inputs = [
            linear(part).view(-1, self.width, side, side)
            for linear, part, side in zip(self.linears, parts, self.sides, strict=True)
        ]
        x = inputs[0]
        skips: list[Tensor] = []
        for i, cell in enumerate(self.cells):
            if 0 < i < len(inputs):
                x = x + inputs[i]
            skip, x = cell(x, skips)
            skips.append(skip)
        return torch.tanh(self.to_rgb(F.relu(self.norm(x))))


def build_generator(
    resolution: int,
    *,
    width: int | None = None,
    latent_parts: int | None = None,
    skip_alias: bool = True,
    init: str = "autogan",
) -> nn.Module:
    """Build the generator: latent [N,120] -> image [N,3,R,R] in (-1, 1), R of 32, 48, 64.

    Args:
        resolution: side R in pixels.
        width: channels of every cell; by default 256, at 48 pixels 270 (the repository's STL-10 script).
        latent_parts: linear layers that share the latent vector evenly; by default 3, at 48 pixels 2.
        skip_alias: whether a cell's skip contains the skips it received (released code) or not.
        init: a name of `baselines.blocks.INITS`.

    Raises:
        ValueError: an option outside its list.
    """
    checked("resolution", resolution, LAYOUTS)
    default = LAYOUTS[resolution]
    layout = Layout(default.width if width is None else width, latent_parts or default.latent_parts)
    checked("latent_parts", layout.latent_parts, (1, 2, 3))
    net = AdversarialNasGenerator(resolution, layout, skip_alias)
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
    """Build AutoGAN's discriminator, with which the published generator was retrained.

    See `baselines.autogan.build_discriminator`.

    Raises:
        ValueError: an option outside its list.
    """
    return autogan.build_discriminator(
        resolution, width=width, pool=pool, spectral_norm=spectral_norm, init=init, late_init=late_init
    )
