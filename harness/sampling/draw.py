"""Generator -> dump: image i depends on (seed, i) only, save where a whole batch is stretched."""

from collections.abc import Callable, Collection, Iterator

import numpy as np
import torch
from torch import nn

from harness.records.sample_record import VARIANTS

STRETCHED_BATCH = 50
CHUNK = 64  # images per forward pass, always: a batch of another size flips some pixels in their last bit


def chunk_seed(seed: int, chunk: int) -> int:
    """Seed of torch's generator for one chunk; distinct for all (seed, chunk) in use and from the training streams."""
    return int(np.random.SeedSequence([0x5A3B1E, seed, chunk]).generate_state(1, np.uint64)[0] >> 1)


def to_uint8(images: torch.Tensor) -> np.ndarray:
    """Convert float [N,3,R,R] in [-1,1] to uint8 [N,R,R,3]: clamp, scale to 0..255, round half to even."""
    scaled = ((images.float().clamp(-1, 1) + 1) * 127.5).round()
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


@torch.inference_mode()
def draw(generator: nn.Module, n: int, seed: int, device: str = "cpu") -> Iterator[torch.Tensor]:
    """Yield float [<=64, 3, R, R] until `n` images are drawn; the last chunk is computed whole and cut.

    Latents are drawn on the CPU, so that a dump has the same latents on every device.
    """
    was_training = generator.training
    generator.eval()
    latent_dim: int = generator.latent_dim  # type: ignore[assignment]
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        for chunk in range((n + CHUNK - 1) // CHUNK):
            torch.manual_seed(chunk_seed(seed, chunk))
            latent = torch.randn(CHUNK, latent_dim)
            yield generator(latent.to(device))[: min(CHUNK, n - chunk * CHUNK)]
    generator.train(was_training)


def quantised(
    generator: nn.Module, n: int, seed: int, variants: Collection[str], device: str = "cpu"
) -> Iterator[tuple[str, np.ndarray]]:
    """Draw `n` images once and yield the next [<=64, R, R, 3] of each variant, with its name; see `VARIANTS`.

    All are uint8 but `float`, which is float32 on the same scale: (x + 1) * 127.5 of a generator's x, neither clamped
    nor rounded.
    """
    quantisers = {variant: _QUANTISERS[variant]() for variant in variants}
    for images in draw(generator, n, seed, device):
        for variant, quantiser in quantisers.items():
            for part in quantiser.add(images):
                yield variant, part
    for variant, quantiser in quantisers.items():
        for part in quantiser.finish():
            yield variant, part


def sample_chunks(
    generator: nn.Module, n: int, seed: int, device: str = "cpu", variant: str = "rounded"
) -> Iterator[np.ndarray]:
    """Yield one variant of `quantised`."""
    for _, images in quantised(generator, n, seed, [variant], device):
        yield images


def to_truncated(images: torch.Tensor) -> np.ndarray:
    """Convert float [N,3,R,R] in [-1,1] to uint8 [N,R,R,3]: scale to 0..255, clamp, cut off the fraction.

    Source: TransGAN and AutoGAN (`x.mul_(127.5).add_(127.5).clamp_(0.0, 255.0)`, then a cast).
    """
    return (images.float() * 127.5 + 127.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def to_float(images: torch.Tensor) -> np.ndarray:
    """Convert float [N,3,R,R] to float32 [N,R,R,3] on the scale of pixels, so that [-1,1] becomes [0,255]."""
    return ((images.float() + 1) * 127.5).permute(0, 2, 3, 1).contiguous().cpu().numpy()


class _Each:
    """Converts every image by itself."""

    def __init__(self, convert: Callable[[torch.Tensor], np.ndarray]):
        self._convert = convert

    def add(self, images: torch.Tensor) -> Iterator[np.ndarray]:
        yield self._convert(images)

    def finish(self) -> Iterator[np.ndarray]:
        yield from ()


class _Stretched:
    """Stretches every batch of 50 from its own extremes to 0..255 before it rounds.

    What mimicry's scores were made with (kwotsin/mimicry@a7fda06): contrast changes slightly, and an image
    depends on its batch.
    """

    def __init__(self) -> None:
        self._waiting = torch.empty(0)

    def add(self, images: torch.Tensor) -> Iterator[np.ndarray]:
        images = images.float().cpu()
        self._waiting = torch.cat([self._waiting, images]) if len(self._waiting) else images
        while len(self._waiting) >= STRETCHED_BATCH:
            yield _stretched(self._waiting[:STRETCHED_BATCH])
            self._waiting = self._waiting[STRETCHED_BATCH:]

    def finish(self) -> Iterator[np.ndarray]:
        if len(self._waiting):
            yield _stretched(self._waiting)


def _stretched(images: torch.Tensor) -> np.ndarray:
    low, high = images.min(), images.max()
    return to_uint8((images - low) / (high - low).clamp_min(torch.finfo(images.dtype).tiny) * 2 - 1)


_QUANTISERS: dict[str, Callable[[], _Each | _Stretched]] = {
    "rounded": lambda: _Each(to_uint8),
    "truncated": lambda: _Each(to_truncated),
    "float": lambda: _Each(to_float),
    "min-max": _Stretched,
}
assert _QUANTISERS.keys() == VARIANTS.keys(), "a variant is a quantiser and its name in protocols"
