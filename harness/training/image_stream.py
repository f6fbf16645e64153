"""Randomness and data order: both are functions of (seed, image count), so there is no generator state to save."""

import hashlib

import numpy as np
import torch

# uint8 -> [-1, 1]: (divisor, width of the uniform noise). The official WGAN-GP (fa66c57) writes 2 (v / 256 - 0.5), the
# official SN-GAN (e84b1a5) v / 128 - 1, which is the same number; both add U(0, 1/128).
DEQUANTISE = {"none": (127.5, 0.0), "wgan-gp": (128.0, 1 / 128), "sn-gan": (128.0, 1 / 128)}


def derive_seed(seed: int, *place: int | str) -> int:
    """Return a 63-bit seed that depends on the run's seed and on a place in the run, such as ("iteration", nimg)."""
    text = repr((seed, *place)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def order(size: int, seed: int, epoch: int) -> torch.Tensor:
    """Return the permutation in which one pass reads a data set of `size` images, int64 [size]."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    return torch.randperm(size, generator=generator)


class ImageStream:
    """The data set on the device as uint8, read as one endless stream of shuffled passes.

    Image number `nimg` of the stream is element `nimg % N` of the permutation of pass `nimg // N`; batches cross the
    border between two passes, so every batch is whole and every image is seen once a pass.
    """

    def __init__(self, images: np.ndarray, seed: int, device: str | torch.device) -> None:
        """Put `images` (uint8 [N, R, R, 3]) on `device`; a memory map is read into memory."""
        assert images.dtype == np.uint8, f"the data set is uint8 [N,R,R,3], got {images.dtype} {images.shape}"
        self.images = torch.from_numpy(np.require(images, requirements=["C", "W"])).to(device)
        self.seed = seed
        self._orders: dict[int, torch.Tensor] = {}

    def _order(self, epoch: int) -> torch.Tensor:
        if epoch not in self._orders:
            self._orders = {e: o for e, o in self._orders.items() if e == epoch - 1}
            self._orders[epoch] = order(len(self.images), self.seed, epoch).to(self.images.device)
        return self._orders[epoch]

    def indices(self, nimg: int, count: int) -> torch.Tensor:
        """Indices into the data set of stream positions nimg ... nimg + count - 1, int64 [count]."""
        parts, size = [], len(self.images)
        while count > 0:
            epoch, start = divmod(nimg, size)
            part = self._order(epoch)[start : start + count]
            parts.append(part)
            nimg, count = nimg + len(part), count - len(part)
        return torch.cat(parts)

    def batch(self, nimg: int, count: int, flip: bool, dequantise: str) -> torch.Tensor:
        """Return float32 [count, 3, R, R] in [-1, 1]; flips and noise come from torch's default generator."""
        pixels = self.images[self.indices(nimg, count)].permute(0, 3, 1, 2)
        divisor, noise = DEQUANTISE[dequantise]
        images = (pixels.float() / divisor - 1).contiguous()
        if noise:
            images = images + torch.rand_like(images) * noise
        if flip:
            mirrored = torch.rand(count, 1, 1, 1, device=images.device) < 0.5
            images = torch.where(mirrored, images.flip(3), images)
        return images
