"""Weights of released checkpoints (VITA-Group/TransGAN, v1 @7e5fa2d and NeurIPS @6b85440) in our networks, by name."""

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from models.transgan import neurips
from models.transgan.blocks import relative_index
from models.transgan.discriminator import build_discriminator
from models.transgan.generator import Generator, build_generator
from models.transgan.presets import PRESETS

KEYS = {
    "generator": ("avg_gen_state_dict", "gen_state_dict"),
    "discriminator": ("dis_state_dict",),
}  # the first found is taken
MAX_BYTES = 1 << 32  # of a file: STL-10's generator, its average and Adam's two moments take 2.8 GiB
NEURIPS = "NeurIPS"  # the size by which the NeurIPS presets go here; all v1 sizes share one discriminator

# A batch norm of v1 generators that is saved and never called (VITA-Group/TransGAN issue 4).
DEAD = tuple(f"to_rgb.0.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"))
TABLE, INDEX = "relative_position_bias_table", "relative_position_index"  # the index is a constant saved as a buffer

# Our name -> official name, applied in this order; `norm` is the extra level the NeurIPS code has around each norm.
RENAMES = (
    (r"^project\.", "l1."),
    (r"^to_rgb\.", "deconv.0."),
    (r"^class_token$", "cls_token"),
    (r"^positions$", "pos_embed"),
    (r"^embed\.", "patch_embed."),
    (r"^fine_positions$", "pos_embed_1"),
    (r"^coarse_positions$", "pos_embed_2"),
    (r"^fine_embed\.", "fRGB_1."),
    (r"^coarse_embed\.", "fRGB_2."),
    (r"^fine_blocks\.", "blocks_1."),
    (r"^coarse_blocks\.", "blocks_2."),
    (r"^class_blocks\.", "last_block."),
    (r"\.norm_attention\.", ".norm1."),
    (r"\.norm_mlp\.", ".norm2."),
    (r"\.attention\.qkv\.", ".attn.qkv."),
    (r"\.attention\.out\.", ".attn.proj."),
    (r"\.attention\.bias_table$", f".attn.{TABLE}"),
    (r"\.attention\.noise_strength$", ".attn.noise_strength_1"),
    (r"\.mlp\.expand\.", ".mlp.fc1."),
    (r"\.mlp\.contract\.", ".mlp.fc2."),
)
NESTED_NORM = (r"(^|\.)(norm[12]?)\.(weight|bias)$", r"\1\2.norm.\3")


@dataclass(frozen=True)
class Entry:
    """Where one tensor of an official state dict goes, and its shape there."""

    name: str
    shape: tuple[int, ...]


def official_entries(network: nn.Module) -> dict[str, Entry]:
    """Official name and shape of every tensor of our network: a TransGAN generator or discriminator, v1 or NeurIPS."""
    nested = isinstance(network, neurips.TwoScaleDiscriminator) or (
        isinstance(network, Generator) and _is_neurips(network)
    )
    out = {}
    for name, tensor in network.state_dict().items():
        official = _stage_name(name, nested)
        for pattern, replacement in RENAMES + ((NESTED_NORM,) if nested else ()):
            official = re.sub(pattern, replacement, official)
        out[official] = Entry(name, _official_shape(official, tuple(tensor.shape)))
    return out


def _is_neurips(generator: Generator) -> bool:
    return any(name.endswith("bias_table") for name, _ in generator.named_parameters())


def _stage_name(name: str, nested: bool) -> str:
    """Positions and stages count from 1 and from the first up-sampling in the official code."""
    level = "block." if nested else ""
    if found := re.match(r"positions\.(\d+)$", name):
        return f"pos_embed_{int(found[1]) + 1}"
    if found := re.match(r"stages\.(\d+)\.", name):
        s = int(found[1])
        prefix = f"blocks.{level}" if s == 0 else f"upsample_blocks.{s - 1}.{level}"
        return prefix + name[found.end() :]
    return name


def _official_shape(official: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if official.startswith("pos_embed"):
        return (1, *shape)
    if official == "cls_token":
        return (1, 1, *shape)
    return (*shape, 1, 1) if official == "deconv.0.weight" else shape  # a 1x1 convolution


def read_checkpoint(path: Path, part: str) -> tuple[dict[str, Tensor], str]:
    """Read one state dict of a released checkpoint and say which: (tensors without `module.` prefix, key).

    Args:
        path: file of torch.save; only tensors and plain containers are read, and nothing in it is executed.
        part: `generator` (the average if there is one, else the live one) or `discriminator`. A file without these
            entries is taken for a bare state dict.

    Raises:
        HarnessError: no such file, not a checkpoint of plain tensors, damaged, or larger than any that was released.
    """
    content = _load_tensors(Path(path))
    if not isinstance(content, Mapping):
        raise HarnessError(f"{path}: holds a {type(content).__name__}, not a state dict.")
    key = next((name for name in KEYS[part] if name in content), None)
    state: Any = content if key is None else content[key]
    named = isinstance(state, Mapping) and all(isinstance(n, str) and isinstance(v, Tensor) for n, v in state.items())
    if not named or not state:
        raise HarnessError(
            f"{path}: {key or 'the file'} is not a state dict of tensors; expected {' or '.join(KEYS[part])}."
        )
    bare = all(name.startswith("module.") for name in state)
    return {
        name.removeprefix("module.") if bare else name: value for name, value in state.items()
    }, key or "a bare state dict"


def _load_tensors(path: Path) -> Any:
    if not path.is_file():
        raise HarnessError(f"{path}: no such file.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise HarnessError(f"{path}: {size:,} bytes, more than any released checkpoint takes ({MAX_BYTES:,}).")
    with open(path, "rb") as handle:
        if handle.read(1024).lstrip().startswith(b"<"):
            raise HarnessError(f"{path}: a web page, not a checkpoint; the host sent it instead. Download it again.")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:  # torch.save does not compress, and torch.load checks no sums
                if sum(entry.file_size for entry in archive.infolist()) > size or archive.testzip() is not None:
                    raise ValueError("an archive of another size or content than it says")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever zipfile, pickle and torch raise on bytes that are no such file
        raise HarnessError(
            f"{path}: not readable as a checkpoint of plain tensors ({type(error).__name__}): truncated, damaged, or "
            "holding Python objects, which are not loaded. Download it again."
        ) from None


def identify_discriminator(state: Mapping[str, Tensor], where: str) -> tuple[str, int]:
    """Find version (`v1` or `NeurIPS`) and resolution of an official discriminator from the shapes in its state dict.

    Raises:
        HarnessError: not a TransGAN discriminator.
    """
    for name, size, extra, patch in (("pos_embed", "v1", 1, 4), ("pos_embed_2", NEURIPS, 0, neurips.PATCHES[1])):
        if name in state and "cls_token" in state and state[name].ndim == 3:
            return size, patch * round((state[name].shape[1] - extra) ** 0.5)
    raise HarnessError(f"{where}: not a TransGAN discriminator (no cls_token and pos_embed or pos_embed_2).")


def identify_generator(state: Mapping[str, Tensor], where: str) -> tuple[str, int]:
    """Find size and resolution of an official generator from the shapes in its state dict.

    Raises:
        HarnessError: not a TransGAN generator, or none of the presets.
    """
    positions = [state.get(f"pos_embed_{s}") for s in range(1, 9)]
    found = [p for p in positions if p is not None and p.ndim == 3]
    if not found or "l1.weight" not in state or state["l1.weight"].ndim != 2:
        raise HarnessError(f"{where}: not a TransGAN generator (no pos_embed_1 or l1.weight).")
    resolution = round(found[-1].shape[1] ** 0.5)
    nested = any(name.startswith("blocks.block.") for name in state)
    level = "block." if nested else ""
    stages = [f"blocks.{level}", *(f"upsample_blocks.{s}.{level}" for s in range(len(found) - 1))]
    depths = tuple(len({name[len(p) :].split(".")[0] for name in state if name.startswith(p)}) for p in stages)
    layout = (found[0].shape[2], depths, state["l1.weight"].shape[1])
    if nested:
        row = neurips.PRESETS.get(resolution)
        matches = [NEURIPS] if row is not None and (row.width, row.depths, row.latent_dim) == layout else []
    else:
        rows = ((size, row) for (size, side), row in PRESETS.items() if side == resolution)
        matches = [size for size, row in rows if (row.width, row.depths, row.latent_dim) == layout]
    if not matches:
        width, depths, latent_dim = layout
        raise HarnessError(
            f"{where}: no preset has {resolution} px, width {width}, depths {list(depths)} and latent {latent_dim}."
        )
    return matches[0], resolution


def build(part: str, size: str, resolution: int) -> nn.Module:
    """Build `generator` or `discriminator` of a preset; `NeurIPS` is a size here."""
    if part == "discriminator":
        return neurips.build_discriminator(resolution) if size == NEURIPS else build_discriminator(resolution)
    return neurips.build_generator(resolution) if size == NEURIPS else build_generator(resolution, size=size)


def _side(table: tuple[int, ...]) -> int:
    """Side of the square of tokens that a table of relative positions [(2 * side - 1)^2, heads] is for."""
    return (round(table[0] ** 0.5) + 1) // 2


@torch.no_grad()
def load_official(network: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Copy an official state dict into our network, strictly.

    The dead `to_rgb` batch norm of v1 generators is dropped; the NeurIPS position index is checked against ours, then
    dropped.

    Raises:
        HarnessError: missing or unexpected tensors, another shape, values that are not finite; all of them are listed,
            and the network is left as it was.
    """
    entries = official_entries(network)
    droppable = set(DEAD) if isinstance(network, Generator) and not _is_neurips(network) else set()
    tables = [name for name in entries if name.endswith(TABLE)]
    indices = {name.removesuffix(TABLE) + INDEX: relative_index(_side(entries[name].shape)) for name in tables}
    problems = [f"missing {name}" for name in entries if name not in state]
    problems += [
        f"unexpected {name}" for name in state if name not in entries and name not in droppable | indices.keys()
    ]
    for name, entry in entries.items():
        if name in state and tuple(state[name].shape) != entry.shape:
            problems.append(f"{name} has shape {list(state[name].shape)}, not {list(entry.shape)}")
        elif name in state and not (state[name].is_floating_point() and state[name].isfinite().all()):
            problems.append(f"{name} has values that are not finite")
    for name in sorted(indices.keys() & state.keys()):
        if state[name].shape != indices[name].shape or not torch.equal(state[name].long(), indices[name]):
            problems.append(f"{name} numbers the pairs of tokens in another order")
    if problems:
        raise HarnessError(f"{where}: not the weights of this network: {'; '.join(problems)}.")
    own = network.state_dict()
    for name, entry in entries.items():
        own[entry.name].copy_(state[name].reshape(own[entry.name].shape))


def export(network: nn.Module) -> dict[str, Tensor]:
    """Return the state dict that the official class would save with the weights of our network: what is read, reversed.

    With the constants that `load_official` drops: the dead batch norm (zeros) and the NeurIPS position index.
    """
    own = network.state_dict()
    state = {name: own[entry.name].reshape(entry.shape) for name, entry in official_entries(network).items()}
    for name in [name for name in state if name.endswith(TABLE)]:
        state[name.removesuffix(TABLE) + INDEX] = relative_index(_side(tuple(state[name].shape)))
    if isinstance(network, Generator) and not _is_neurips(network):
        width = state["pos_embed_1"].shape[2]
        state |= {name: torch.zeros(width) for name in DEAD[:-1]} | {DEAD[-1]: torch.tensor(0)}
    return state
