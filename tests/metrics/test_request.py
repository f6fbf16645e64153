"""What is refused before a pass begins."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.errors import HarnessError
from tests.metrics.inception.helpers import PixelExtractor, noise_images


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scorer": "torhc"}, "Did you mean 'torch'"),
        ({"layer": 100}, "--layer 100: unknown; valid: 64, 192, 768, 2048"),
        ({"n": 91}, "holds 90 images, 91 are asked for"),
        ({"n": 1}, "--n 1: must be at least 2"),
        ({"n_real": 151}, "holds 150 images, 151 are asked for"),
        ({"splits": 0}, "--splits 0: must be at least 1"),
        ({"splits": 91, "layer": 2048}, "90 images in 91 splits"),
        ({"batch": 0}, "--batch 0"),
        ({"threads": -1}, "--threads -1"),
        ({"threads": 0}, "--threads 0: must be at least 1"),
        ({"n": 10.5}, r"n=10\.5: expected a whole number"),
        ({"n": "50"}, "n='50': expected a whole number"),
        ({"splits": 2.0}, r"splits=2\.0: expected a whole number"),
        ({"kid": True, "layer": True}, "layer=True: expected a whole number"),
        ({"declared": ["ema"]}, r"declared=\['ema'\]: expected a mapping"),
        ({"bias": True}, "only at layer 2048"),
        ({"resizer": "tf1-bilinaer"}, "tf: tf1-bilinear; torch: tf1-bilinear"),
        ({"resizer": "clean-bicubic"}, "--scorer tf has none of that name"),
        ({"declared": {"quantisation": "truncated"}}, "expected one of uint8, rounded; uint8, truncated"),
        ({"protocol_name": "../x"}, "--protocol-name"),
        ({"declared": {"splitt": "train"}}, "Did you mean 'split'"),
        ({"declared": {"split": 3}}, "expected text"),
        ({"declared": {"stand_in_data": "no"}}, "expected true or false"),
        ({"declared": {"real_pixels_sha256": "12"}}, "64 hexadecimal digits"),
        ({"root": "/nowhere"}, "not inside a checkout"),
    ],
    ids=str,
)
def test_options_that_make_no_sense(
    sets: tuple[Path, Path], pixel_scorer: list[PixelExtractor], options: dict[str, Any], message: str
) -> None:
    options = {"layer": 64} | options
    if "root" not in options:
        options["cache"] = sets[0].parent / "cache"
    with pytest.raises(HarnessError, match=message):
        harness.score(*sets, **options)
    assert all(one.images_seen == 0 for one in pixel_scorer)


def test_whole_numbers_of_numpy_are_whole_numbers(sets: tuple[Path, Path], pixel_scorer: list[PixelExtractor]) -> None:
    found = harness.score(*sets, layer=np.int64(64), n=np.uint16(80), cache=sets[0].parent / "cache").protocol
    assert (found.layer, found.n_fake) == (64, 80)
    assert type(found.n_fake) is int


def test_sizes_must_agree(sets: tuple[Path, Path], pixel_scorer: list[PixelExtractor]) -> None:
    np.save(sets[0], noise_images(30, seed=1, side=16))
    with pytest.raises(HarnessError, match="16 px"):
        harness.score(*sets, layer=64, cache=sets[0].parent)
    assert pixel_scorer == []


def test_the_reference_is_not_computed_before_the_samples_are_known_to_fit(
    sets: tuple[Path, Path], pixel_scorer: list[PixelExtractor], tmp_path: Path
) -> None:
    """A folder whose last PNG is broken is only found out by reading it."""
    from PIL import Image

    folder = tmp_path / "pngs"
    folder.mkdir()
    for i, image in enumerate(np.load(sets[0])[:20]):
        Image.fromarray(image).save(folder / f"{i:02d}.png")
    whole = (folder / "19.png").read_bytes()
    (folder / "19.png").write_bytes(whole[:60] + bytes(len(whole) - 60))
    with pytest.raises(HarnessError, match=r"19\.png"):
        harness.score(folder, sets[1], layer=64, cache=tmp_path / "cache", batch=5)
    assert not (tmp_path / "cache/references").exists()


def test_kid_needs_images(sets: tuple[Path, Path], pixel_scorer: list[PixelExtractor]) -> None:
    path = sets[0].parent / "stats.npz"
    np.savez(path, mu=np.zeros(64), sigma=np.eye(64))
    with pytest.raises(HarnessError, match="KID needs"):
        harness.score(sets[0], path, layer=64, kid=True, cache=sets[0].parent)
    assert pixel_scorer == []


def test_a_data_set_that_is_not_packed_is_told_how(
    tiny_scale: Path, sets: tuple[Path, Path], pixel_scorer: list[PixelExtractor], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tiny_scale / "deep").mkdir()
    monkeypatch.chdir(tiny_scale / "deep")
    with pytest.raises(HarnessError, match="32 px"):
        harness.score(sets[0], "tiny", layer=64, cache=tiny_scale)  # found from a folder below; of another size
    (tiny_scale / "data/tiny/card.json").unlink()
    with pytest.raises(HarnessError, match="not packed yet: `harness data tiny`"):
        harness.score(sets[0], "data/tiny", layer=64, cache=tiny_scale)
    monkeypatch.chdir("/")
    with pytest.raises(HarnessError, match="not packed yet: `harness data tiny`"):
        harness.score(sets[0], "tiny", layer=64, cache=tiny_scale, root=tiny_scale)
    with pytest.raises(HarnessError, match="names inside a checkout"):
        harness.score(sets[0], "tiny", layer=64, cache=tiny_scale)


def test_a_stand_in_is_never_offered_as_the_reference(
    tiny_scale: Path, sets: tuple[Path, Path], pixel_scorer: list[PixelExtractor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where it alone is packed."""
    path = tiny_scale / "experiments/datasets.yaml"
    path.write_text(path.read_text().replace("tiny:", "standin-flowers:"))
    (tiny_scale / "data/tiny").rename(tiny_scale / "data/standin-flowers")
    monkeypatch.chdir(tiny_scale)
    with pytest.raises(HarnessError) as caught:
        harness.score(sets[0], "flowers", layer=64, cache=tiny_scale)
    assert "Did you mean" not in str(caught.value)
