"""TransGAN generator: a latent becomes a small grid of wide tokens; each stage doubles the side and quarters the width.

VITA-Group/TransGAN@7e5fa2d (models/TransGAN_8_8_1.py, TransGAN_8_8_G2_1.py, Celeba64_TransGAN.py), one class for all.
"""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from harness.errors import HarnessError, nearest
from models.transgan.blocks import LOCALITY_SHAPES, Block, check_heads, locality_mask, truncated_normal
from models.transgan.presets import preset

OUTPUTS = ("linear", "tanh")
LOCALITY_SCOPES = ("last-block", "every-block")


def upsample(tokens: Tensor, side: int) -> Tensor:
    """Double the side of a row-major grid: [B, side^2, C] -> [B, 4 side^2, C / 4].

    Channel 4c + 2p + q of pixel (i, j) becomes channel c of pixel (2i + p, 2j + q) (pixel shuffle); no weights.
    """
    batch, _, width = tokens.shape
    grid = tokens.view(batch, side, side, width // 4, 2, 2).permute(0, 1, 4, 2, 5, 3)
    return grid.reshape(batch, 4 * side * side, width // 4)


class Generator(nn.Module):
    """Latent [N, latent_dim] ~ N(0, I) -> images [N, 3, R, R]; with the `linear` output their range is unbounded.

    See `build_generator` for the arguments. Weights: linear layers keep torch's default (uniform +-1/sqrt(fan_in),
    biases too), positional embeddings N(0, 0.02^2), the RGB matrix Xavier-uniform.
    """

    def __init__(
        self,
        resolution: int,
        width: int,
        depths: Sequence[int],
        latent_dim: int,
        *,
        heads: int,
        output: str,
        locality_scope: str,
        entry_stage: int | None,
        norm: str = "layer",
        relative_bias: bool = False,
    ) -> None:
        super().__init__()
        stages = range(len(depths))
        _check(resolution, width, depths, heads, output, locality_scope, entry_stage)
        self.resolution = resolution
        self.latent_dim = latent_dim
        self.output = output
        self.locality_scope = locality_scope
        self.entry_stage = entry_stage
        self.sides = tuple(resolution >> (len(depths) - 1 - s) for s in stages)
        self.widths = tuple(width // 4**s for s in stages)
        self.locality: tuple[str, int] | None = None
        tokens = [side * side for side in self.sides]
        self.project = nn.Linear(latent_dim, tokens[0] * width)
        self.positions = nn.ParameterList([truncated_normal(tokens[s], self.widths[s]) for s in stages])
        self.stages = nn.ModuleList(
            nn.ModuleList(
                Block(self.widths[s], heads, fused=True, norm=norm, bias_side=self.sides[s] if relative_bias else None)
                for _ in range(depths[s])
            )
            for s in stages
        )
        self.to_rgb = nn.Linear(self.widths[-1], 3)
        nn.init.xavier_uniform_(self.to_rgb.weight)
        self.from_rgb = nn.Linear(3, self.widths[entry_stage]) if entry_stage is not None else None

    def forward(self, z: Tensor) -> Tensor:
        """Generate images [N, 3, R, R] from latents [N, latent_dim]."""
        return self._render(self.project(z).view(len(z), -1, self.widths[0]), first_stage=0)

    def super_resolve(self, low: Tensor) -> Tensor:
        """Co-training branch, OUR READING: low-resolution images [N, 3, r, r] -> [N, 3, R, R].

        Released code and known texts do not say how the image enters the generator. Here one linear layer per pixel
        (3 -> width of the entry stage) stands in for all before that stage; its positional embedding, its blocks, the
        later stages and the RGB layer are those of image generation. r is the side of the entry stage.

        Raises:
            HarnessError: the generator was built without `entry_stage`, or `low` has another side.
        """
        if self.from_rgb is None or self.entry_stage is None:
            raise HarnessError("this generator has no super-resolution branch; build it with entry_stage, e.g. 1.")
        side = self.sides[self.entry_stage]
        if low.shape[2:] != (side, side):
            raise HarnessError(f"stage {self.entry_stage} takes images of {side} px a side, got {tuple(low.shape)}.")
        return self._render(self.from_rgb(low.flatten(2).transpose(1, 2)), first_stage=self.entry_stage)

    def set_locality(self, shape: str, half_width: int | None) -> None:
        """Limit attention to a neighbourhood (`band` or `window`, half-width in tokens), or lift the limit with None.

        Raises:
            HarnessError: unknown shape or a negative half-width.
        """
        if shape not in LOCALITY_SHAPES:
            raise HarnessError(f"unknown locality shape '{shape}'.{nearest(shape, LOCALITY_SHAPES)}")
        if half_width is not None and half_width < 0:
            raise HarnessError(f"locality half_width is {half_width}; it is a number of tokens, 0 or more.")
        self.locality = None if half_width is None else (shape, half_width)

    def _render(self, tokens: Tensor, first_stage: int) -> Tensor:
        for s in range(first_stage, len(self.stages)):
            if s > first_stage:
                tokens = upsample(tokens, self.sides[s - 1])
            tokens = tokens + self.positions[s]
            tokens = self._run_stage(tokens, s)
        rgb = self.to_rgb(tokens).transpose(1, 2).reshape(len(tokens), 3, self.resolution, self.resolution)
        return rgb if self.output == "linear" else rgb.tanh()

    def _run_stage(self, tokens: Tensor, s: int) -> Tensor:
        blocks = cast(nn.ModuleList, self.stages[s])
        everywhere = self.locality_scope == "every-block"
        mask = None
        if self.locality is not None and (everywhere or s == len(self.stages) - 1):
            # Rebuilt in each pass and stored nowhere: it costs next to nothing beside the attention it limits.
            shape, half_width = self.locality
            mask = locality_mask(shape, self.sides[s], half_width, tokens.device)
        for b, block in enumerate(blocks):
            tokens = block(tokens, mask if everywhere or b == len(blocks) - 1 else None)
        return tokens


def _check(
    resolution: int, width: int, depths: Sequence[int], heads: int, output: str, scope: str, entry_stage: int | None
) -> None:
    last = len(depths) - 1
    place = f"TransGAN generator, {resolution} px, width {width}, depths {list(depths)}"
    if not depths or min(depths) < 1:
        raise HarnessError(f"{place}: every stage needs at least one block.")
    if resolution < 1 or resolution % 2**last:
        raise HarnessError(f"{place}: the side cannot be halved {last} times; use fewer stages or another resolution.")
    if width % 4**last:
        raise HarnessError(f"{place}: width {width} cannot be quartered {last} times.")
    for s in range(last + 1):
        check_heads(width // 4**s, heads, f"{place}, stage {s} of 0..{last}")
    if output not in OUTPUTS:
        raise HarnessError(f"{place}: unknown output '{output}'.{nearest(output, OUTPUTS)}")
    if scope not in LOCALITY_SCOPES:
        raise HarnessError(f"{place}: unknown locality_scope '{scope}'.{nearest(scope, LOCALITY_SCOPES)}")
    if entry_stage is not None and not 0 <= entry_stage <= last:
        raise HarnessError(f"{place}: entry_stage {entry_stage} is not one of 0..{last}.")


def build_generator(
    resolution: int,
    *,
    size: str = "S",
    width: int | None = None,
    depths: Sequence[int] | None = None,
    latent_dim: int | None = None,
    heads: int = 4,
    output: str = "linear",
    locality_scope: str = "last-block",
    entry_stage: int | None = None,
) -> Generator:
    """Build a TransGAN v1 generator with weights from torch's global random generator.

    Args:
        resolution: image side in pixels; with k stages the first grid has resolution / 2^(k-1) tokens a side.
        size: row of `presets.PRESETS` (S, M, L, XL of the paper; XS for a CPU). Not consulted when `width`, `depths`
            and `latent_dim` are all given.
        width: channels of stage 0, instead of the size's; a quarter of it each stage on.
        depths: transformer blocks per stage, instead of the size's.
        latent_dim: instead of the size's (1024 in all released scripts).
        heads: attention heads in every stage; 4 in the released code.
        output: `linear` (released code and paper figure: no bound on the pixel values) or `tanh` (common practice).
        locality_scope: which attention `set_locality` limits: `last-block` of the last stage (released code) or
            `every-block` (what the paper's headline suggests; half-widths count tokens of each stage).
        entry_stage: stage at which `super_resolve` enters; None builds no such branch. Our reading.

    Raises:
        HarnessError: unknown size or option value, or widths that do not divide (384 at 64 px ends in 6 channels for 4
            heads).
    """
    if width is None or depths is None or latent_dim is None:
        row = preset(size, resolution)
        width = row.width if width is None else width
        depths = row.depths if depths is None else depths
        latent_dim = row.latent_dim if latent_dim is None else latent_dim
    return Generator(
        resolution,
        width,
        tuple(depths),
        latent_dim,
        heads=heads,
        output=output,
        locality_scope=locality_scope,
        entry_stage=entry_stage,
    )
