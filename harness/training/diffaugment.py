"""DiffAugment, drawn and applied apart: `draw` makes the random numbers, `apply` is a deterministic, differentiable
map.

Constants are data (`config.Augment`): the original (mit-han-lab/data-efficient-gans@0b63395) moves by 0.125 of the
side and cuts always; TransGAN's copy (VITA-Group/TransGAN@9a5838a) moves by 0.2 and cuts a whole batch with
probability 0.3.
"""

import torch

from harness.config.schema import Augment

Draws = dict[str, torch.Tensor]


def draw(spec: Augment, count: int, resolution: int, device: torch.device | str) -> Draws:
    """Draw the random numbers of one discriminator call from torch's default generator.

    Returns:
        `brightness`, `saturation`, `contrast`: float [count] in [0, 1); `shift`: int64 [2, count] pixels (rows,
        columns); `offset`: int64 [2, count] pixels, centre of the cut; `cut`: bool [], one draw for the whole batch.
    """
    draws: Draws = {}
    for operation in spec.policy:
        if operation == "color":
            color = torch.rand(3, count, device=device)
            draws |= {"brightness": color[0], "saturation": color[1], "contrast": color[2]}
        elif operation == "translation":
            reach = int(spec.translation * resolution + 0.5)
            draws["shift"] = torch.randint(-reach, reach + 1, (2, count), device=device)
        elif operation == "cutout":
            size = int(spec.cutout * resolution + 0.5)
            draws["offset"] = torch.randint(0, resolution + 1 - size % 2, (2, count), device=device)
            draws["cut"] = torch.rand((), device=device) < spec.cutout_probability
    return draws


def apply(spec: Augment, images: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Augment float [N, 3, R, R] by `spec.policy`, left to right; twice differentiable, not clamped."""
    for operation in spec.policy:
        if operation == "color":
            images = color(images, draws["brightness"], draws["saturation"], draws["contrast"])
        elif operation == "translation":
            images = translate(images, draws["shift"])
        elif operation == "cutout":
            images = cutout(images, draws["offset"], int(spec.cutout * images.shape[2] + 0.5), draws["cut"])
    return images


def color(x: torch.Tensor, brightness: torch.Tensor, saturation: torch.Tensor, contrast: torch.Tensor) -> torch.Tensor:
    """Add r - 0.5, saturation about the channel mean times 2r, then contrast about the image mean times r + 0.5."""
    x = x + (brightness.to(x.dtype) - 0.5).view(-1, 1, 1, 1)
    grey = x.mean(dim=1, keepdim=True)
    x = (x - grey) * (2 * saturation.to(x.dtype)).view(-1, 1, 1, 1) + grey
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - mean) * (contrast.to(x.dtype) + 0.5).view(-1, 1, 1, 1) + mean


def translate(x: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """out[n, :, i, j] = x[n, :, i + rows[n], j + columns[n]], zero outside.

    One-hot matrix products instead of gathers: exact, twice differentiable, and their backward is deterministic on a
    GPU.
    """
    place = torch.arange(x.shape[2], device=x.device)
    source = place.view(1, -1, 1) + shift.unsqueeze(2).unsqueeze(3)  # [2, N, i, 1]
    rows, columns = (source == place.view(1, 1, 1, -1)).to(x.dtype).unsqueeze(2)  # two [N, 1, i, k]
    return rows @ x @ columns.transpose(2, 3)


def cutout(x: torch.Tensor, offset: torch.Tensor, size: int, cut: torch.Tensor) -> torch.Tensor:
    """If `cut`, zero a square of `size` pixels a side that starts at offset - size//2, clipped to the image."""
    place = torch.arange(x.shape[2], device=x.device).view(1, 1, -1)
    start = (offset - size // 2).unsqueeze(2)
    rows, columns = (place >= start) & (place < start + size)  # two [N, R]
    hole = rows.unsqueeze(2) & columns.unsqueeze(1) & cut
    return x * (~hole).unsqueeze(1).to(x.dtype)
