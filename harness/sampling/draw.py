"""Generator -> uint8 dump: image i depends on (seed, i) only."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

STRETCHED_BATCH = 50
CHUNK = 64  # images per forward pass, always: a batch of another size flips some pixels in their last bit


def chunk_seed(seed: int, chunk: int) -> int:
    """Seed of torch's generator for one chunk; distinct for all (seed, chunk) in use and from the training streams."""
    return int(np.random.SeedSequence([0x5A3B1E, seed, chunk]).generate_state(1, np.uint64)[0] >> 1)


def to_uint8(images: torch.Tensor) -> np.ndarray:
    """Convert float [N,3,R,R] in [-1,1] to uint8 [N,R,R,3]: clamp, scale to 0..255, round half to even."""
    scaled = ((images.float().clamp(-1, 1) + 1) * 127.5).round()
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def sample_chunks(generator: nn.Module, n: int, seed: int, device: str = "cpu") -> Iterator[np.ndarray]:
    """Yield uint8 [<=64, R, R, 3] until `n` images are drawn; see `draw`."""
    yield from map(to_uint8, draw(generator, n, seed, device))


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


def stretched_chunks(generator: nn.Module, n: int, seed: int, device: str = "cpu") -> Iterator[np.ndarray]:
    """Like `sample_chunks`, but every batch of 50 is stretched from its own extremes to 0..255 before rounding.

    What mimicry's scores were made with (kwotsin/mimicry@a7fda06): contrast changes slightly, and an image
    depends on its batch.
    """
    waiting = torch.empty(0)
    for images in draw(generator, n, seed, device):
        waiting = torch.cat([waiting, images.float().cpu()]) if len(waiting) else images.float().cpu()
        while len(waiting) >= STRETCHED_BATCH:
            yield _stretched(waiting[:STRETCHED_BATCH])
            waiting = waiting[STRETCHED_BATCH:]
    if len(waiting):
        yield _stretched(waiting)


def _stretched(images: torch.Tensor) -> np.ndarray:
    low, high = images.min(), images.max()
    return to_uint8((images - low) / (high - low).clamp_min(torch.finfo(images.dtype).tiny) * 2 - 1)


QUANTISATIONS = {"uint8, rounded": sample_chunks, "uint8, min-max stretched": stretched_chunks}
