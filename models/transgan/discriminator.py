"""TransGAN v1 discriminator: a vision transformer with a class token (VITA-Group/TransGAN@7e5fa2d, models/ViT_8_8.py).

Its score is a number without bound. Augmentation is not part of it: the training loop augments every image it shows.
"""

import copy
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.errors import HarnessError
from models.transgan.blocks import INIT_STD, Attention, Block, check_heads, truncated_normal


def init_linear(module: nn.Module) -> None:
    """Draw a linear layer's weight from N(0, 0.02^2) cut at +-2 and set its bias to 0; other modules are left alone."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=INIT_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class PatchEmbedding(nn.Conv2d):
    """Non-overlapping patches to tokens, [N, 3, R, R] -> [N, width, R / patch, R / patch].

    Weight Xavier-uniform, bias torch's default. On CUDA the same matrix product is taken without cuDNN, which changes
    layouts around a convolution and around each of its derivatives.
    """

    def __init__(self, patch: int, width: int) -> None:
        super().__init__(3, width, kernel_size=patch, stride=patch)
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Embed images."""
        return self.product(x) if x.is_cuda else super().forward(x)

    def product(self, x: Tensor) -> Tensor:
        """The convolution as one matrix product over patches."""
        patch = self.kernel_size[0]
        side = x.shape[2] // patch
        patches = x.reshape(len(x), 3, side, patch, side, patch).permute(0, 2, 4, 1, 3, 5).flatten(3)
        return F.linear(patches, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class ClassTokenDiscriminator(nn.Module):
    """A discriminator whose head reads the class token, the first, alone; subclasses set `norm` and `head`."""

    norm: nn.Module
    head: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self.tokens_kept: int | None = None  # tokens that leave the last block; None: all

    def class_token_only(self) -> None:
        """Let only the class token leave the last block: the same scores for less work, as the head reads nothing else.

        Training asks for it; golden numbers and MACs are of the whole network.
        """
        self.tokens_kept = 1

    def differentiable_once(self) -> Self:
        """Return this network with fused attention: another module around the same tensors, for losses without a
        penalty on the input gradient.
        """
        tensors = {id(tensor): tensor for tensor in (*self.parameters(), *self.buffers())}
        once = copy.deepcopy(self, tensors)
        for module in once.modules():
            if isinstance(module, Attention):
                module.fused = True
        return once

    def score(self, blocks: nn.ModuleList, tokens: Tensor) -> Tensor:
        """Send tokens [N, 1 + patches, width] through the last blocks and score them: [N, 1]."""
        for block in blocks[:-1]:
            tokens = block(tokens)
        tokens = blocks[-1](tokens, first=self.tokens_kept)
        return self.head(self.norm(tokens)[:, 0])


class Discriminator(ClassTokenDiscriminator):
    """Images [N, 3, R, R] in [-1, 1] -> scores [N, 1]; twice differentiable; arguments: `build_discriminator`."""

    def __init__(self, resolution: int, *, width: int, depth: int, heads: int, patch: int) -> None:
        super().__init__()
        place = f"TransGAN discriminator, {resolution} px"
        check_heads(width, heads, place)
        if patch < 1 or resolution < 1 or resolution % patch:
            raise HarnessError(f"{place}: patches of {patch} px do not tile {resolution} px.")
        if depth < 1:
            raise HarnessError(f"{place}: depth is {depth}; it needs at least one block.")
        self.resolution = resolution
        self.class_token = truncated_normal(width)
        self.positions = truncated_normal(1 + (resolution // patch) ** 2, width)
        self.blocks = nn.ModuleList(Block(width, heads, fused=False) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.head = nn.Linear(width, 1)
        self.apply(init_linear)
        self.embed = PatchEmbedding(patch, width)

    def forward(self, x: Tensor) -> Tensor:
        """Score images [N, 3, R, R] -> [N, 1].

        Raises:
            HarnessError: the images have another side than the positional embedding.
        """
        if x.shape[2:] != (self.resolution, self.resolution):
            raise HarnessError(f"this discriminator takes images of {self.resolution} px a side, got {tuple(x.shape)}.")
        patches = self.embed(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(x), 1, -1), patches], dim=1) + self.positions
        return self.score(self.blocks, tokens)


def build_discriminator(
    resolution: int, *, width: int = 384, depth: int = 7, heads: int = 4, patch: int = 4
) -> Discriminator:
    """Build a TransGAN v1 discriminator with weights from torch's global random generator.

    Args:
        resolution: image side in pixels, a multiple of `patch`.
        width: channels of a token; 384 in all released scripts (`--df_dim 384`).
        depth: transformer blocks; 7 in all released scripts.
        heads: attention heads, 4 in the released code.
        patch: side of a patch in pixels; 4 in the released scripts (summaries of the paper say "8 x 8 patches": at
            32 px that is the grid, not the patch).

    Raises:
        HarnessError: sizes that do not divide.
    """
    return Discriminator(resolution, width=width, depth=depth, heads=heads, patch=patch)
