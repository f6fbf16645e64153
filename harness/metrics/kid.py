"""Kernel inception distance: unbiased squared MMD with a cubic kernel (Binkowski et al. 2018, arXiv 1801.01401)."""

from typing import NamedTuple

import numpy as np

from harness.errors import HarnessError

SUBSETS, SUBSET_SIZE = 100, 1000  # Source: defaults of clean-fid 0.1.35 and torch-fidelity 0.4.0


class KernelDistance(NamedTuple):
    """Mean and population std of the unbiased MMD^2 over subsets; `without`: the mean without each block of images."""

    mean: float
    std: float
    without: tuple[float, ...] = ()


def kernel_distance(
    real: np.ndarray,
    fake: np.ndarray,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
    degree: int = 3,
    gamma: float | None = None,
    coef: float = 1.0,
    seed: int = 2020,
    blocks: np.ndarray | None = None,
) -> KernelDistance:
    """Mean and population std, over random subsets, of the unbiased MMD^2 with kernel (gamma x.y + coef)^degree.

    The estimator is that of clean-fid 0.1.35 (which gives the mean only) and of torch-fidelity 0.4.0 (`unbiased`): the
    sums within a set leave out the diagonal, the sum across does not. Per subset both draw without replacement first
    from the generated features, then from the real ones, with NumPy's Mersenne Twister; so does this function, and on
    the same seed the three agree to rounding (2020 is torch-fidelity's default; clean-fid uses NumPy's global state).
    The value is not multiplied by 1000.

    As in clean-fid the subset shrinks to the smaller set when that has fewer than `subset_size` rows; torch-fidelity
    refuses.

    Args:
        real: float [n1, d].
        fake: float [n2, d].
        subsets: number of subsets.
        subset_size: rows per subset and side.
        degree: exponent of the kernel.
        gamma: factor of the inner product; None is 1 / d.
        coef: constant of the kernel.
        seed: seed of the draws.
        blocks: number of the block of each generated image, int [n2]; then the mean is also made of the same subsets
            without the images of each block. Every subset keeps two images then, at least.

    Raises:
        HarnessError: a set has fewer than two rows.
    """
    assert real.ndim == 2, f"features are rows [n, d], got {real.shape}"
    assert fake.shape[1:] == real.shape[1:], f"{fake.shape} against {real.shape}: not the same layer"
    size = min(len(real), len(fake), subset_size)
    if size < 2:
        raise HarnessError(
            f"KID of {len(fake)} generated and {len(real)} real image(s) is undefined: give at least 2 each."
        )
    scale = 1.0 / real.shape[1] if gamma is None else gamma
    rng = np.random.RandomState(seed)
    values = np.empty(subsets)
    without = np.empty((subsets, 0 if blocks is None else blocks.max() + 1))
    for i in range(subsets):
        drawn = rng.choice(len(fake), size, replace=False)
        x = fake[drawn].astype(np.float64)
        y = real[rng.choice(len(real), size, replace=False)].astype(np.float64)
        fakes, reals = (scale * (x @ x.T) + coef) ** degree, (scale * (y @ y.T) + coef) ** degree
        within = fakes + reals
        across = (scale * (x @ y.T) + coef) ** degree
        values[i] = (within.sum() - np.trace(within)) / (size * (size - 1)) - 2 * across.mean()
        if blocks is not None:
            of_reals = (reals.sum() - np.trace(reals)) / (size * (size - 1))
            without[i] = of_reals + _without(fakes, across, np.eye(without.shape[1])[blocks[drawn]])
    return KernelDistance(float(values.mean()), float(values.std()), tuple(map(float, without.mean(axis=0))))


def _without(fakes: np.ndarray, across: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Return the terms of one subset that depend on generated images, without each block: float64 [blocks].

    Args:
        fakes: kernel of the generated images with each other, float64 [m, m].
        across: with the real ones, float64 [m, m].
        member: 1 where an image is of a block, else 0, float64 [m, blocks].
    """
    pairs = fakes.sum(axis=1) - fakes.diagonal()  # of each image with all others
    sums = pairs.sum() - 2 * pairs @ member + ((fakes @ member) * member).sum(axis=0) - fakes.diagonal() @ member
    left = len(member) - member.sum(axis=0)
    return sums / (left * (left - 1)) - 2 * (across.sum() - across.sum(axis=1) @ member) / (left * len(member))
