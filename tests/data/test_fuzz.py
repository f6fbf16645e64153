"""Seeded damage to image files: a HarnessError or the right pixels, never a traceback, never other pixels."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.data import load, packed
from harness.data.fetch import prepare
from harness.data.images import open_images
from harness.errors import HarnessError

from . import official
from .pngs import png

IMAGES = np.random.default_rng(5).integers(0, 256, (4, 6, 6, 3), np.uint8)


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """Flip a bit, set, cut out, insert or double bytes, or cut the end off; most often near the start."""
    out = bytearray(data)
    at = int(random.integers(0, min(len(out), 128) if random.random() < 0.5 else len(out)))
    length = int(random.integers(1, 9))
    match random.integers(0, 6):
        case 0:
            out[at] ^= 1 << int(random.integers(0, 8))
        case 1:
            out[at : at + length] = random.choice([0, 1, 127, 255], length).astype(np.uint8).tobytes()
        case 2:
            del out[at : at + length]
        case 3:
            out[at:at] = random.bytes(length)
        case 4:
            out[at:at] = out[at : at + length]
        case 5:
            del out[at:]
    return bytes(out)


def saved(save: Callable, **arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    save(out, **arrays)
    return out.getvalue()


def npy(image_set: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, image_set)
    return out.getvalue()


FORMS = {
    "png": png(IMAGES[0]),
    "npz": saved(np.savez, images=IMAGES),
    "deflated.npz": saved(np.savez_compressed, images=IMAGES),
    "npy": npy(IMAGES),
}


def damage(form: str, tmp_path: Path, seeds: range) -> None:
    path = tmp_path / f"x.{form}"
    if form == "png":
        path = tmp_path / "pngs" / "0.png"
        path.parent.mkdir()
        path.with_name("1.png").write_bytes(png(IMAGES[1]))
    refusals = []
    for seed in seeds:
        data = mutated(FORMS[form], np.random.default_rng(seed))
        path.write_bytes(data)
        try:
            images = open_images(path.parent if form == "png" else path)
            pixels = np.concatenate(list(images.stream(3)))
        except HarnessError as error:
            refusals.append(str(error))
            continue
        # an npy has no checksum: the bytes after its header are the pixels
        right = np.frombuffer(data[-IMAGES.size :], np.uint8).reshape(IMAGES.shape) if form == "npy" else IMAGES
        np.testing.assert_array_equal(pixels, right[: len(pixels)], err_msg=f"seed {seed}")
        assert pixels.shape[1:] == right.shape[1:]
    assert len(refusals) > len(seeds) // 4
    assert all(str(tmp_path) in refusal for refusal in refusals), "every message names the file"


@pytest.mark.parametrize("form", FORMS)
def test_damage_is_refused_or_harmless(tmp_path, form):
    damage(form, tmp_path, range(100))


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_much_damage_is_refused_or_harmless(tmp_path, form):
    damage(form, tmp_path, range(100, 5_000))


# ---------------------------------------------------------------- the packed form


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("checkout")
    entry = {"source": "standin", "split": "drawn", "resolution": 8, "count": 20, "licence": "x"}
    official.write_root(root, small=entry)
    prepare("small", root / "data" / "small", root)
    return root, root / "data" / "small"


@pytest.mark.parametrize("name", [packed.CARD, packed.IMAGES])
def test_two_hundred_flipped_bits_are_refused_or_healed(data_set, name, capsys):
    root, folder = data_set
    whole, images, card = (folder / name).read_bytes(), np.array(load(folder).images), load(folder).card
    for seed in range(200):
        random = np.random.default_rng(seed)
        data = bytearray(whole)
        data[int(random.integers(0, len(data)))] ^= 1 << int(random.integers(0, 8))
        (folder / name).write_bytes(data)
        try:
            found = load(folder)
            packed.check_content(found, folder)
            list(open_images(folder).stream(8))
        except HarnessError:
            continue
        assert found.card == card, f"seed {seed}: another card was accepted"
        np.testing.assert_array_equal(found.images, images)
    prepare("small", folder, root)
    assert "acking it again" in capsys.readouterr().err
    assert (folder / name).read_bytes() == whole
