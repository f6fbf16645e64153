"""The transformer block shared by generator and discriminator: pre-norm attention and MLP.

Numbers are those of the released TransGAN v1 code (VITA-Group/TransGAN@7e5fa2d); relative position bias, pixel norm and
attention noise are those of its NeurIPS code (@6b85440).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.errors import HarnessError, nearest

MLP_RATIO = 4  # hidden width of the MLP over the block's width
INIT_STD = (
    0.02  # of positional embeddings, the class token, bias tables and the discriminator's linear layers; cut at +-2
)
PIXEL_NORM_EPS = 1e-8
NORMS = ("layer", "pixel")
LOCALITY_SHAPES = ("band", "window")


def check_heads(width: int, heads: int, place: str) -> None:
    """Refuse a width that cannot be split evenly among the heads.

    Raises:
        HarnessError: `width` is not a positive multiple of `heads`; `place` says which stage it is.
    """
    if heads < 1 or width < 1 or width % heads:
        raise HarnessError(
            f"{place}: width {width} is not divisible by {heads} attention heads; choose another width or other heads."
        )


def truncated_normal(*shape: int) -> nn.Parameter:
    """Return a parameter from N(0, 0.02^2) cut at +-2 (absolute, so the cut hardly ever acts)."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(*shape), std=INIT_STD))


def locality_mask(shape: str, side: int, half_width: int, device: torch.device | None = None) -> Tensor:
    """Build the boolean [N, N] of allowed (query, key) pairs of a row-major `side` x `side` grid, N = side^2.

    `band` allows |i - j| <= half_width on the flattened index, so that it wraps over row ends (released code); `window`
    allows a square of 2 half_width + 1 tokens a side around the query (as the paper draws it).

    Raises:
        HarnessError: unknown shape or a negative half-width.
    """
    if shape not in LOCALITY_SHAPES:
        raise HarnessError(f"unknown locality shape '{shape}'.{nearest(shape, LOCALITY_SHAPES)}")
    if half_width < 0:
        raise HarnessError(f"locality half_width is {half_width}; it is a number of tokens, 0 or more.")
    if shape == "band":
        index = torch.arange(side * side, device=device)
        return (index[:, None] - index[None, :]).abs() <= half_width
    line = torch.arange(side, device=device)
    near = (line[:, None] - line[None, :]).abs() <= half_width  # [side, side], for rows as for columns
    return (near[:, None, :, None] & near[None, :, None, :]).reshape(side * side, side * side)


def relative_index(side: int, device: torch.device | None = None) -> Tensor:
    """Row of the bias table for every (query, key) pair of a row-major grid: int64 [N, N], N = side^2.

    The row is (dy + side - 1) (2 side - 1) + (dx + side - 1), with (dy, dx) = query position - key position.
    """
    line = torch.arange(side, device=device)
    shift = line[:, None] - line[None, :] + side - 1
    index = shift[:, None, :, None] * (2 * side - 1) + shift[None, :, None, :]
    return index.reshape(side * side, side * side)


def explicit_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attention written out, differentiable twice: q, k, v [B, heads, N, D] -> [B, heads, N, D].

    `mask` is boolean (True = allowed) or a float bias added to the scaled logits, broadcast to [B, heads, N, N]. On
    CUDA matrix products over an odd number of tokens, such as the discriminator's 65, use kernels without aligned
    loads, so tokens are padded to a multiple of 8 there.
    """
    return padded_explicit_attention(q, k, v, mask, multiple=8 if q.is_cuda else 1)


def padded_explicit_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, multiple: int) -> Tensor:
    """Explicit attention over tokens padded to a multiple of `multiple`: nobody attends to the keys that are added, and
    what the added queries see is dropped.
    """
    asking, count = q.shape[-2], k.shape[-2]
    if surplus := -count % multiple:
        k, v = (F.pad(x, (0, 0, 0, surplus)) for x in (k, v))
        mask = torch.ones(1, count, dtype=torch.bool, device=q.device) if mask is None else mask
        never = False if mask.dtype == torch.bool else float("-inf")
        mask = F.pad(mask.expand(*mask.shape[:-1], count), (0, surplus), value=never)
    if more := -asking % multiple:
        q = F.pad(q, (0, 0, 0, more))
        if mask is not None and mask.shape[-2] > 1:
            mask = F.pad(mask, (0, 0, 0, more), value=float(mask.dtype == torch.bool))
    logits = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5
    if mask is not None:
        logits = logits.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else logits + mask
    return (logits.softmax(dim=-1) @ v)[..., :asking, :]


def fused_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Same as `explicit_attention` by torch's fused kernels, which keep no [B, heads, N, N] array; differentiable once.

    Where a fused kernel refuses its arguments torch silently takes the N x N form. On CUDA they refuse head widths such
    as the last stage's 6, so heads are padded to a multiple of 8 channels there. On a CPU they refuse a mask of three
    dimensions, and one that needs a gradient: a learned bias costs N x N memory per image while it is trained on a CPU.

    Args:
        mask: boolean or float, two dimensions or four, each of its size or 1.
    """
    return padded_attention(q, k, v, mask, multiple=8 if q.is_cuda else 1)


def padded_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, multiple: int) -> Tensor:
    """Fused attention on heads padded with zeros to a multiple of `multiple` channels, which changes no value."""
    depth = q.shape[-1]
    if depth % multiple:
        q, k, v = (F.pad(x, (0, -depth % multiple)) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=depth**-0.5)[..., :depth]


class Attention(nn.Module):
    """Multi-head self-attention; the joint matrix (no bias) holds all rows of q, then k, then v, each head by head.

    Args:
        width: channels C; a multiple of `heads`.
        fused: fused kernel (one derivative) or written out (two derivatives, for a discriminator under a gradient
        penalty).
        bias_side: side of the grid for a learned relative position bias per head; None without.
        noise: add Gaussian noise, one value per token, times a learned strength that starts at 0 to the input.

    Attributes:
        draw_normal: draws that noise, a row an image; replaced where a batch is spread over several processes.
    """

    draw_normal: Callable[..., Tensor] = staticmethod(torch.randn)

    def __init__(
        self, width: int, heads: int, *, fused: bool, bias_side: int | None = None, noise: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.fused = fused
        self.bias_side = bias_side
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.bias_table = truncated_normal((2 * bias_side - 1) ** 2, heads) if bias_side is not None else None
        self.noise_strength = nn.Parameter(torch.zeros(())) if noise else None

    def forward(self, tokens: Tensor, mask: Tensor | None = None, first: int | None = None) -> Tensor:
        """Mix tokens [B, N, C]; `mask` boolean [N, N], True where attention is allowed.

        With `first`, only so many tokens ask (all answer) and the result is [B, first, C].
        """
        batch, count, width = tokens.shape
        if self.noise_strength is not None:
            noise = self.draw_normal(batch, count, 1, device=tokens.device, dtype=tokens.dtype)
            tokens = tokens + noise * self.noise_strength
        if first is None:
            q, k, v = self._split(self.qkv(tokens), 3)
        else:
            ask, answer = self.qkv.weight.split([width, 2 * width])
            (q,) = self._split(F.linear(tokens[:, :first], ask), 1)
            k, v = self._split(F.linear(tokens, answer), 2)
        attend = fused_attention if self.fused else explicit_attention
        allowed = self._mask_or_bias(mask, q.dtype)
        mixed = attend(q, k, v, allowed if allowed is None else allowed[..., :first, :])
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, projected: Tensor, parts: int) -> Tensor:
        """Projected tokens [B, N, parts * C] as [parts, B, heads, N, C / heads]."""
        return projected.unflatten(-1, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4)

    def _mask_or_bias(self, mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        """Boolean [N, N], or the relative position bias [1, heads, N, N] with the mask in it."""
        if self.bias_table is None:
            return mask
        assert self.bias_side is not None, "a bias table has a grid"
        table = self.bias_table[relative_index(self.bias_side, self.bias_table.device)].to(dtype)  # [N, N, heads]
        bias = table.permute(2, 0, 1).unsqueeze(0)  # fused kernels take two dimensions or four
        return bias if mask is None else bias.masked_fill(~mask, float("-inf"))


class Mlp(nn.Module):
    """Two linear layers with bias, C -> 4C -> C, around an exact (erf) GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, MLP_RATIO * width)
        self.contract = nn.Linear(MLP_RATIO * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens [..., C] one by one."""
        return self.contract(F.gelu(self.expand(tokens)))


class PixelNorm(nn.Module):
    """Scale every token to unit mean square over its channels; no parameters."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Normalise tokens [..., C]."""
        return tokens * (tokens.square().mean(dim=-1, keepdim=True) + PIXEL_NORM_EPS).rsqrt()


def make_norm(norm: str, width: int) -> nn.Module:
    """`layer`: LayerNorm over channels, affine, eps 1e-5. `pixel`: PixelNorm.

    Raises:
        HarnessError: another name.
    """
    if norm not in NORMS:
        raise HarnessError(f"unknown norm '{norm}'.{nearest(norm, NORMS)}")
    return nn.LayerNorm(width, eps=1e-5) if norm == "layer" else PixelNorm()


class Block(nn.Module):
    """Pre-norm transformer block without dropout: x + attention(norm(x)), then x + mlp(norm(x)).

    12 C^2 + 10 C parameters with layer norm and neither bias nor noise; arguments as in `Attention`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        fused: bool,
        norm: str = "layer",
        bias_side: int | None = None,
        noise: bool = False,
    ) -> None:
        super().__init__()
        self.norm_attention = make_norm(norm, width)
        self.attention = Attention(width, heads, fused=fused, bias_side=bias_side, noise=noise)
        self.norm_mlp = make_norm(norm, width)
        self.mlp = Mlp(width)

    def forward(self, tokens: Tensor, mask: Tensor | None = None, first: int | None = None) -> Tensor:
        """Transform tokens [B, N, C]; `mask` boolean [N, N], True where attention is allowed.

        With `first`, return the first so many tokens alone, [B, first, C]: the same values for less work.
        """
        tokens = tokens[:, :first] + self.attention(self.norm_attention(tokens), mask, first)
        return tokens + self.mlp(self.norm_mlp(tokens))
