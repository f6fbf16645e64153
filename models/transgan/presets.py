"""The sizes of the paper and of the released scripts, one row per size and resolution."""

from dataclasses import dataclass

from harness.errors import HarnessError, nearest


@dataclass(frozen=True)
class Preset:
    """Layout of a generator: `width` of stage 0 (a quarter of it each stage on), blocks per stage, latent size."""

    width: int
    depths: tuple[int, ...]
    latent_dim: int = 1024  # all three v1 scripts; S, M and L are assumed to share it
    source: str = ""


_PAPER = "width and depths: paper, table 4"
_OURS = "not in paper or code: the size's width with this resolution's depths"

# fmt: off
PRESETS: dict[tuple[str, int], Preset] = {
    ("S", 32): Preset(384, (5, 2, 2), source=_PAPER),
    ("M", 32): Preset(512, (5, 2, 2), source=_PAPER),
    ("L", 32): Preset(768, (5, 2, 2), source=_PAPER),
    ("XL", 32): Preset(1024, (5, 4, 2), source="exps/cifar10_test.sh @7e5fa2d; paper, table 4"),
    ("S", 48): Preset(384, (5, 2, 2), source=_OURS),
    ("M", 48): Preset(512, (5, 2, 2), source=_OURS),
    ("L", 48): Preset(768, (5, 2, 2), source="exps/stl10_test.sh @7e5fa2d; the letter is ours"),
    ("XL", 48): Preset(1024, (5, 4, 2), source=_OURS),
    ("S", 64): Preset(384, (5, 3, 3, 2), source=f"{_OURS}; invalid with 4 heads, as in the released code"),
    ("M", 64): Preset(512, (5, 3, 3, 2), source=_OURS),
    ("L", 64): Preset(768, (5, 3, 3, 2), source=_OURS),
    ("XL", 64): Preset(1024, (5, 3, 3, 2), source="exps/celeba64_test.sh @7e5fa2d; the letter is ours"),
    # XS is ours, for a CPU
    ("XS", 32): Preset(128, (2, 1, 1), latent_dim=128, source="ours"),
    ("XS", 48): Preset(128, (2, 1, 1), latent_dim=128, source="ours"),
    ("XS", 64): Preset(256, (2, 1, 1, 1), latent_dim=128, source="ours"),
}
# fmt: on


def preset(size: str, resolution: int) -> Preset:
    """Look up a size at a resolution.

    Raises:
        HarnessError: unknown size, or a resolution the size is not defined at.
    """
    sizes = {name for name, _ in PRESETS}
    if size not in sizes:
        raise HarnessError(f"unknown TransGAN size '{size}'.{nearest(size, sizes)}")
    if (size, resolution) not in PRESETS:
        known = sorted(side for name, side in PRESETS if name == size)
        raise HarnessError(
            f"TransGAN size '{size}' is defined at {known} px, not at {resolution}; give width, depths and latent_dim."
        )
    return PRESETS[size, resolution]
