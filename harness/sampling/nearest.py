"""How far images are from the nearest of those that were trained on, in pixels."""

from collections.abc import Iterable

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

SIDE = 16  # pixels that averaging leaves at least


def factor(resolution: int) -> int:
    """Return the side of the largest blocks that divide an image and leave at least `SIDE` of them in a row."""
    return max(f for f in range(1, max(resolution // SIDE, 1) + 1) if resolution % f == 0)


def averaged(images: np.ndarray) -> torch.Tensor:
    """Average uint8 [N, R, R, 3] over square blocks; float32 [N, 3, S, S] around 0, in levels.

    S is `R / factor(R)`: 16 for 32, 48 and 64 pixels. Pixel by pixel an image may be farther from its own copy moved by
    one pixel than from another image (Theis, van den Oord and Bethge, arXiv 1511.01844); averages move less.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    return avg_pool2d(pixels, factor(images.shape[1])) - 127.5


def nearest(
    queries: np.ndarray,
    trained: Iterable[tuple[np.ndarray, np.ndarray]],
    mirrored: bool = False,
    own: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each image is from the nearest of others, and which one that is.

    Args:
        queries: uint8 [Q, R, R, 3].
        trained: the others, a batch at a time: index int64 [n] and pixels uint8 [n, R, R, 3].
        mirrored: each of the others was also seen mirrored.
        own: index of each query among the others, where it is one of them; it is not its own neighbour.

    Returns:
        Distances, float64 [Q]: the square root of the mean of squared differences of the `averaged` values, in levels
        of 0..255; and indices, int64 [Q].
    """
    pictures = averaged(queries)
    forms = [pictures.flatten(1), pictures.flip(3).flatten(1)] if mirrored else [pictures.flatten(1)]
    count = len(queries)
    best = torch.full((count,), torch.inf)
    index, match = torch.full((count,), -1), torch.zeros_like(forms[0])
    form = torch.zeros(count, dtype=torch.int64)
    for indices, images in trained:
        places, others = torch.from_numpy(indices), averaged(images).flatten(1)
        for number, asked in enumerate(forms):
            found = torch.cdist(asked, others)
            if own is not None:
                found[torch.from_numpy(own)[:, None] == places[None]] = torch.inf
            distance, which = found.min(1)
            closer = distance < best
            best = torch.where(closer, distance, best)
            index[closer], match[closer], form[closer] = places[which[closer]], others[which[closer]], number
    # cdist goes through a matrix product, whose rounding near 0 is a tenth of a level; the nearest is measured again
    chosen = torch.stack(forms)[form, torch.arange(count)]
    exact = (chosen.double() - match.double()).square().mean(1).sqrt()
    return exact.numpy(), index.numpy()


def share_closer(mine: np.ndarray, others: np.ndarray) -> float:
    """Return the share of pairs (one of `mine`, one of `others`) in which mine is smaller; ties count half.

    Of distances of samples and of held-out images, one half says that samples lie as near to the trained images as new
    images do, more that they lie nearer. It is the Mann-Whitney statistic of which Meehan, Chaudhuri and Dasgupta make
    their test for copies (arXiv 2004.05675), without their division into cells.
    """
    ordered = np.sort(others)
    above = len(ordered) - np.searchsorted(ordered, mine, side="right")
    equal = np.searchsorted(ordered, mine, side="right") - np.searchsorted(ordered, mine, side="left")
    return float((above + equal / 2).mean() / len(ordered))
