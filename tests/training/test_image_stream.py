"""The order of the data and all randomness are functions of (seed, image count)."""

import numpy as np
import pytest
import torch

from harness.training.image_stream import ImageStream, derive_seed
from tests.training import tiny


def test_stream_shows_every_image_once_a_pass_and_never_repeats_its_order() -> None:
    stream = ImageStream(tiny.images(8, count=30), seed=3, device="cpu")
    order = torch.cat([stream.indices(nimg, 8) for nimg in range(0, 120, 8)]).tolist()
    passes = [order[i : i + 30] for i in range(0, 120, 30)]
    assert all(sorted(p) == list(range(30)) for p in passes)
    assert len({tuple(p) for p in passes}) == 4
    fresh = ImageStream(tiny.images(8, count=30), seed=3, device="cpu")
    assert fresh.indices(56, 8).tolist() == order[56:64], "a resumed stream needs no history"
    assert ImageStream(tiny.images(8), seed=4, device="cpu").indices(0, 30).tolist() != passes[0]


@pytest.mark.parametrize("dequantise", ["none", "wgan-gp", "sn-gan"])
def test_stream_scales_flips_and_adds_noise(dequantise: str) -> None:
    values = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None, None], (256, 2, 2, 3)).copy()
    values[:, :, 1] = 0  # the right column is black, so that a flip shows
    stream = ImageStream(values, seed=0, device="cpu")
    batch = stream.batch(0, 256, flip=True, dequantise=dequantise)
    assert batch.min() >= -1
    assert batch.max() <= 1
    brightness = torch.from_numpy(values[stream.indices(0, 256).numpy()].max(axis=(1, 2, 3)).astype(np.float32))
    expected = brightness / (127.5 if dequantise == "none" else 128) - 1
    excess = batch.amax((1, 2, 3)) - expected
    assert excess.min() >= -1e-6
    assert excess.max() < (1e-6 if dequantise == "none" else 1 / 128 + 1e-6)
    flipped = (batch[:, 0, 0, 0] < batch[:, 0, 0, 1]).float().mean()
    assert 0.35 < flipped < 0.65


def test_derived_seeds_differ_in_every_part() -> None:
    seeds = {derive_seed(s, name, n) for s in range(3) for name in ("iteration", "order") for n in range(50)}
    assert len(seeds) == 300
    assert all(0 <= seed < 2**63 for seed in seeds)
