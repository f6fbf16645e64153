"""A dump does not depend on how many images are asked for."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from harness.records.sample_record import VARIANTS
from harness.sampling import draw, grid


class Toy(nn.Module):
    """Latent -> image, with its own noise, as StyleGAN2 has."""

    latent_dim = 5

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(5, 3 * 4 * 4)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        images = self.linear(latent).view(-1, 3, 4, 4)
        return images + 0.1 * torch.randn_like(images)


def drawn(n: int, seed: int = 0) -> np.ndarray:
    return np.concatenate(list(draw.sample_chunks(Toy(), n, seed)))


def test_image_i_depends_on_seed_and_i_only():
    long = drawn(200)
    assert long.shape == (200, 4, 4, 3)
    assert long.dtype == np.uint8
    for n in (1, 63, 64, 65, 130):
        np.testing.assert_array_equal(drawn(n), long[:n])
    assert (drawn(64, seed=1) != long[:64]).any()


def test_sampling_leaves_the_global_generator_alone():
    generator = Toy()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    list(draw.sample_chunks(generator, 3, 0))
    assert torch.equal(torch.rand(2), expected)


def test_quantisation_clamps_and_rounds():
    values = torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0, 2 * 100.4 / 255 - 1, 2 * 100.6 / 255 - 1])
    images = values.view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    assert draw.to_uint8(images)[:, 0, 0, 0].tolist() == [0, 0, 128, 255, 255, 100, 101]


def test_stretching_uses_the_whole_range_of_every_batch_of_50():
    images = np.concatenate(list(draw.sample_chunks(Toy(), 120, 0, variant="min-max")))
    assert images.shape == (120, 4, 4, 3)
    for start in (0, 50, 100):
        batch = images[start : start + 50]
        assert (batch.min(), batch.max()) == (0, 255)
    floats = torch.cat(list(draw.draw(Toy(), 120, 0)))[50:100]
    expected = (floats - floats.min()) / (floats.max() - floats.min()) * 255
    difference = np.abs(images[50:100] - expected.permute(0, 2, 3, 1).numpy())
    assert difference.max() < 0.501
    assert (images != drawn(120)).any()


def test_the_variants_are_of_one_drawing():
    parts: dict[str, list[np.ndarray]] = {}
    for variant, images in draw.quantised(Toy(), 120, 0, list(VARIANTS)):
        parts.setdefault(variant, []).append(images)
    found = {variant: np.concatenate(images) for variant, images in parts.items()}
    floats = torch.cat(list(draw.draw(Toy(), 120, 0))).permute(0, 2, 3, 1).numpy()
    assert {variant: images.dtype for variant, images in found.items()} == {
        variant: np.float32 if variant == "float" else np.uint8 for variant in VARIANTS
    }
    assert (np.abs(floats) > 1).any(), "beyond the range, so that clamping shows"
    np.testing.assert_array_equal(found["float"], (floats + 1) * np.float32(127.5))
    np.testing.assert_array_equal(found["truncated"], np.clip(floats * 127.5 + 127.5, 0, 255).astype(np.uint8))
    np.testing.assert_array_equal(found["rounded"], drawn(120))
    assert (found["truncated"].astype(int) - found["rounded"]).min() == -1
    for variant in VARIANTS:
        alone = np.concatenate(list(draw.sample_chunks(Toy(), 120, 0, variant=variant)))
        np.testing.assert_array_equal(alone, found[variant])


def test_grid_holds_every_image(tmp_path: Path):
    images = np.stack([np.full((4, 4, 3), i * 20, np.uint8) for i in range(12)])
    grid.grid_png(images, tmp_path / "g.png", columns=5)
    picture = np.asarray(Image.open(tmp_path / "g.png"))
    assert picture.shape == (3 * 6 + 2, 5 * 6 + 2, 3)
    assert (picture[2 + 6 * 2, 2 + 6 * 1] == 220).all()
    assert (picture[-3, -3] == 255).all()
