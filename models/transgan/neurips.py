"""The NeurIPS version of TransGAN for CIFAR-10 and STL-10 (VITA-Group/TransGAN@6b85440): same blocks, another pair.

The generator (`ViT_custom_rp`) adds a relative position bias to v1's layout. The discriminator
(`ViT_custom_scale2_rp_noise`)
reads patches of two sizes and disturbs its attention with noise of learned strength. The code's initialisation was not
read: v1's is presumed (linear layers of G at torch's default, those of D and all embeddings and tables N(0, 0.02^2)).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.errors import HarnessError
from models.transgan.blocks import Block, check_heads, make_norm, truncated_normal
from models.transgan.discriminator import ClassTokenDiscriminator, PatchEmbedding, init_linear
from models.transgan.generator import Generator

PATCHES = (2, 4)  # pixels a side, fine and coarse


@dataclass(frozen=True)
class NeuripsPreset:
    """Generator layout of one resolution, and the norm of both networks."""

    depths: tuple[int, ...]
    latent_dim: int
    norm: str
    source: str
    width: int = 1024


PRESETS = {
    32: NeuripsPreset((5, 4, 2), 256, "layer", "exps/cifar_train.py @6b85440"),
    48: NeuripsPreset((7, 5, 3), 512, "pixel", "exps/stl_train.py @6b85440"),
}


def preset(resolution: int) -> NeuripsPreset:
    """Look up a resolution.

    Raises:
        HarnessError: neither 32 nor 48 px.
    """
    if resolution not in PRESETS:
        raise HarnessError(f"the NeurIPS version is defined at {sorted(PRESETS)} px here, not at {resolution} px.")
    return PRESETS[resolution]


def build_generator(
    resolution: int,
    *,
    width: int | None = None,
    depths: Sequence[int] | None = None,
    latent_dim: int | None = None,
    heads: int = 4,
) -> Generator:
    """Build a generator with weights from torch's global random generator: 83.3 M at 32 px, 168.5 M at 48 px.

    Args:
        resolution: 32 (layer norm) or 48 (pixel norm).
        width: channels of stage 0; 1024.
        depths: transformer blocks per stage; {5,4,2} at 32 px, {7,5,3} at 48 px.
        latent_dim: 256 at 32 px, 512 at 48 px; no latent normalisation.
        heads: attention heads in every stage.

    Raises:
        HarnessError: another resolution, or widths that do not divide.
    """
    row = preset(resolution)
    return Generator(
        resolution,
        row.width if width is None else width,
        row.depths if depths is None else tuple(depths),
        row.latent_dim if latent_dim is None else latent_dim,
        heads=heads,
        output="linear",
        locality_scope="last-block",
        entry_stage=None,
        norm=row.norm,
        relative_bias=True,
    )


class TwoScaleDiscriminator(ClassTokenDiscriminator):
    """Images [N, 3, R, R] in [-1, 1] -> scores [N, 1]; twice differentiable; arguments: `build_discriminator`."""

    def __init__(self, resolution: int, *, width: int, depths: Sequence[int], heads: int, norm: str) -> None:
        super().__init__()
        fine, coarse = (resolution // patch for patch in PATCHES)
        place = f"TransGAN discriminator (NeurIPS), {resolution} px"
        if resolution % PATCHES[1] or width % 4 or len(depths) != 3 or depths[-1] < 1:
            raise HarnessError(
                f"{place}: needs 4-px patches, a width divisible by 4 and three depths, got {width}, {depths}."
            )
        fine_width = width * 3 // 4  # 288 of 384; the coarse patches bring the other 96
        for channels in (fine_width, width):
            check_heads(channels, heads, place)
        self.resolution = resolution
        self.class_token = truncated_normal(width)
        self.fine_positions = truncated_normal(fine**2, fine_width)
        self.coarse_positions = truncated_normal(coarse**2, width)
        blocks = (
            [Block(channels, heads, fused=False, norm=norm, bias_side=side, noise=True) for _ in range(depth)]
            for channels, side, depth in zip((fine_width, width, width), (fine, coarse, None), depths, strict=True)
        )
        self.fine_blocks, self.coarse_blocks, self.class_blocks = (nn.ModuleList(stage) for stage in blocks)
        self.norm = make_norm(norm, width)
        self.head = nn.Linear(width, 1)
        self.apply(init_linear)
        self.fine_embed = PatchEmbedding(PATCHES[0], fine_width)
        self.coarse_embed = PatchEmbedding(PATCHES[1], width - fine_width)

    def forward(self, x: Tensor) -> Tensor:
        """Score images [N, 3, R, R] -> [N, 1].

        Raises:
            HarnessError: the images have another side than the positional embeddings.
        """
        if x.shape[2:] != (self.resolution, self.resolution):
            raise HarnessError(f"this discriminator takes images of {self.resolution} px a side, got {tuple(x.shape)}.")
        side = self.resolution // PATCHES[0]
        tokens = self.fine_embed(x).flatten(2).transpose(1, 2) + self.fine_positions
        for block in self.fine_blocks:
            tokens = block(tokens)
        pooled = F.avg_pool2d(tokens.transpose(1, 2).reshape(len(x), -1, side, side), 2)
        tokens = torch.cat([pooled, self.coarse_embed(x)], dim=1).flatten(2).transpose(1, 2) + self.coarse_positions
        for block in self.coarse_blocks:
            tokens = block(tokens)
        tokens = torch.cat([self.class_token.expand(len(x), 1, -1), tokens], dim=1)
        return self.score(self.class_blocks, tokens)


def build_discriminator(
    resolution: int, *, width: int = 384, depths: Sequence[int] = (3, 3, 1), heads: int = 4
) -> TwoScaleDiscriminator:
    """Build a two-scale discriminator with weights from torch's global random generator; 10.2 M parameters at 32 px.

    Args:
        resolution: 32 (layer norm) or 48 (pixel norm).
        width: channels of the second scale; the first has three quarters of them.
        depths: blocks on 2-px patches, on the joint 4-px grid, and with the class token (those without position bias).
        heads: attention heads.

    Raises:
        HarnessError: another resolution, or widths that do not divide.
    """
    return TwoScaleDiscriminator(resolution, width=width, depths=depths, heads=heads, norm=preset(resolution).norm)
