"""Images to be scored: which files are read, what is refused, and the hash of the pixels of one pass."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import arrays, check_content, load, seal
from harness.data.images import Images, Recorded, open_dump, open_images
from harness.errors import HarnessError
from harness.files import sha256_pixels, write_json
from tests.metrics.inception.helpers import noise_images


def write_pngs(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:05d}.png")
    return folder


def test_pngs_npy_and_npz_give_the_same_pixels(tmp_path):
    np.save(tmp_path / "images.npy", GOOD)
    np.savez(tmp_path / "named.npz", images=GOOD)
    np.savez_compressed(tmp_path / "plain.npz", GOOD)
    write_pngs(tmp_path / "pngs", GOOD)
    for name in ("images.npy", "named.npz", "plain.npz", "pngs"):
        images = open_images(tmp_path / name)
        np.testing.assert_array_equal(images.pixels[3:9], GOOD[3:9])
        assert images.sha256() == sha256_pixels(GOOD)


def _edited(images: np.ndarray, folder: Path, convert) -> Path:
    write_pngs(folder, images)
    convert(folder / "00003.png")
    return folder


GOOD = noise_images(12, seed=4)
UNFIT = {
    "floats": (lambda p: np.save(p / "x.npy", GOOD.astype(np.float32) / 255), "x.npy", "dtype float32"),
    "0..1": (lambda p: np.save(p / "x.npy", GOOD // 200), "x.npy", "multiplied by 255"),
    "channels first": (lambda p: np.save(p / "x.npy", GOOD.transpose(0, 3, 1, 2)), "x.npy", "channels first"),
    "grey": (lambda p: np.save(p / "x.npy", GOOD[..., :1]), "x.npy", "Grey"),
    "alpha": (lambda p: np.save(p / "x.npy", np.concatenate([GOOD, GOOD[..., :1]], 3)), "x.npy", "alpha"),
    "oblong": (lambda p: np.save(p / "x.npy", GOOD[:, :6]), "x.npy", "square"),
    "one image": (lambda p: np.save(p / "x.npy", GOOD[:1]), "x.npy", "at least 2"),
    "objects": (lambda p: np.save(p / "x.npy", np.array([{}])), "x.npy", "not a readable"),
    "cut npy": (lambda p: (np.save(p / "x.npy", GOOD), _cut(p / "x.npy")), "x.npy", "not a readable"),
    "cut npz": (lambda p: (np.savez(p / "x.npz", images=GOOD), _cut(p / "x.npz")), "x.npz", "truncated"),
    "other names": (lambda p: np.savez(p / "x.npz", fakes=GOOD), "x.npz", "expected `images` or `arr_0`"),
    "text": (lambda p: (p / "x.txt").write_text("x"), "x.txt", "cannot be read as images"),
    "missing": (lambda p: None, "x.npy", "no such file"),
    "pipe": (lambda p: os.mkfifo(p / "x.npy"), "x.npy", "neither a file nor a folder"),
    "empty folder": (lambda p: (p / "x").mkdir(), "x", "no images here"),
    "grey png": (lambda p: _edited(GOOD, p / "x", _as_mode("L")), "x", "grey"),
    "alpha png": (lambda p: _edited(GOOD, p / "x", _as_mode("RGBA")), "x", "alpha"),
    "palette png": (lambda p: _edited(GOOD, p / "x", _as_mode("P")), "x", "palette"),
    "jpeg": (lambda p: _edited(GOOD, p / "x", lambda f: Image.open(f).save(f.with_suffix(".jpg"))), "x", "JPEG"),
    "jpeg in disguise": (lambda p: _edited(GOOD, p / "x", _disguise), "x", "under the name of a PNG"),
    "mixed sizes": (lambda p: _edited(GOOD, p / "x", _enlarged), "x", "mixed sizes"),
    "cut png": (lambda p: _edited(GOOD, p / "x", lambda f: f.write_bytes(f.read_bytes()[:60])), "x", "truncated"),
}  # fmt: skip


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def _as_mode(mode: str):
    return lambda file: Image.open(file).convert(mode).save(file)


def _enlarged(file: Path) -> None:
    Image.open(file).resize((9, 9)).save(file)


def _disguise(file: Path) -> None:
    Image.open(file).save(file, format="JPEG")


@pytest.mark.parametrize("case", UNFIT)
def test_unfit_images_are_refused(tmp_path, case):
    write, name, message = UNFIT[case]
    write(tmp_path)
    with pytest.raises(HarnessError, match=message) as error:
        open_images(tmp_path / name).sha256()
    assert str(tmp_path / name) in str(error.value), "the message names the file"


def test_reading_slices_leaves_the_file_out_of_memory(tmp_path):
    np.save(tmp_path / "images.npy", GOOD)
    pixels = open_images(tmp_path / "images.npy").pixels
    np.testing.assert_array_equal(pixels[5:8], GOOD[5:8])
    assert type(pixels[0:2]) is np.ndarray
    assert pixels[0:2].base is None or not isinstance(pixels[0:2].base, np.memmap)


# ---------------------------------------------------------------- the hash of a pass


@pytest.mark.parametrize(("n", "batch"), [(None, 5), (None, 12), (7, 3), (7, 100)])
def test_a_pass_hashes_the_bytes_it_yields(n, batch):
    done = Images(GOOD, Path("x")).first(n).stream(batch)
    batches = list(done)
    np.testing.assert_array_equal(np.concatenate(batches), GOOD[:n])
    assert {len(b) for b in batches[:-1]} <= {batch}
    assert done.sha256 == sha256_pixels(GOOD[:n])


@pytest.mark.parametrize("n", [None, 5])
def test_pixels_that_are_not_those_of_the_card_are_refused_at_the_end_of_the_pass(tmp_path, n):
    folder = tmp_path / "set"
    folder.mkdir()
    np.save(folder / "train.npy", GOOD)
    card = {"resolution": 8, "count": 12, "labels": False, "pixels_sha256": sha256_pixels(GOOD)}
    write_json(folder / "card.json", seal(card))
    images = open_images(folder).first(n)
    assert sum(map(len, images.stream(4))) == len(images)
    other = GOOD.copy()
    other[-1, -1, -1, -1] ^= 1  # of an image that `first` leaves out
    np.save(folder / "train.npy", other)
    with pytest.raises(HarnessError, match=sha256_pixels(other)) as error:
        list(images.stream(4))
    for part in (str(folder), "card.json", sha256_pixels(GOOD), "harness data set"):
        assert part in str(error.value)


def test_a_dump_rewritten_after_its_hash_was_checked_is_refused(tmp_path):
    np.save(tmp_path / "samples.npy", GOOD)
    write_json(tmp_path / "samples.json", {"samples_sha256": sha256_pixels(GOOD)})
    images, _ = open_dump(tmp_path / "samples.npy")
    np.save(tmp_path / "samples.npy", GOOD[::-1])
    with pytest.raises(HarnessError, match="changed or cut short"):
        list(images.stream(4))


@pytest.mark.parametrize("name", ["samples.npy", "fakes.npy"])
def test_somebody_elses_samples_json_is_left_alone(tmp_path, name):
    np.save(tmp_path / name, GOOD)
    write_json(tmp_path / "samples.json", [{"prompt": "a cat"}])
    images, record = open_dump(tmp_path / name)
    assert (len(images), record) == (12, {})
    assert ("is no record of this harness" in images.found) == (name == "samples.npy")


@pytest.mark.parametrize("damaged", [{"experiment": "x", "sample_sha256": "0" * 64}, {}, {"nimg": 3}])
def test_a_damaged_record_is_not_taken_for_somebody_elses(tmp_path, damaged):
    np.save(tmp_path / "samples.npy", GOOD)
    write_json(tmp_path / "samples.json", damaged)
    with pytest.raises(HarnessError, match="has no `samples_sha256`"):
        open_dump(tmp_path / "samples.npy")


def test_a_card_of_another_program_beside_pngs_is_skipped(tmp_path):
    folder = write_pngs(tmp_path / "cards", GOOD)
    for text in ('{"license": "mit"}', "[]", "not JSON"):
        (folder / "card.json").write_text(text)
        images = open_images(folder)
        assert (images.found, images.card) == ("12 PNGs of 8 px; 1 file skipped (1 .json)", {})
    (folder / "card.json").write_text('{"license": "mit"}')
    np.save(folder / "train.npy", GOOD)
    with pytest.raises(HarnessError, match=r"another program wrote it: name .*cards/train\.npy itself"):
        open_images(folder)


def test_a_damaged_data_set_that_was_copied_is_packed_again_by_its_own_name(tmp_path):
    folder = tmp_path / "copied"
    folder.mkdir()
    np.save(folder / "train.npy", GOOD)
    card = {"name": "shapes", "resolution": 8, "count": 12, "labels": False, "pixels_sha256": "0" * 64}
    write_json(folder / "card.json", seal(card))
    fix = f"run `harness data shapes --out {folder}`"
    with pytest.raises(HarnessError, match=fix):
        open_images(folder).sha256()
    with pytest.raises(HarnessError, match=fix):
        check_content(load(folder), folder)
    np.save(folder / "train.npy", GOOD[:3])
    with pytest.raises(HarnessError, match=fix):
        open_images(folder)
    write_json(folder / "card.json", seal(card) | {"count": 3})
    with pytest.raises(HarnessError, match=fix):
        open_images(folder)


def test_large_images_are_read_a_few_at_once(tmp_path, monkeypatch):
    """A thousand images of 1024 px would be 3 GB; the hash is the same, whatever is read together."""
    assert (arrays.step((9, 1 << 13, 1 << 13, 3), 1024), arrays.step((9, 32, 32, 3), 1024)) == (1, 1024)
    monkeypatch.setattr(arrays, "AT_ONCE", 500)  # values; an image has 192
    read = []
    taken = arrays.NpyFile.__getitem__
    monkeypatch.setattr(
        arrays.NpyFile, "__getitem__", lambda file, key: read.append(key.stop - key.start) or taken(file, key)
    )
    np.save(tmp_path / "x.npy", GOOD)
    assert open_images(tmp_path / "x.npy").sha256() == sha256_pixels(GOOD)
    assert set(read) == {2}


def test_recorded_names_both_ends():
    images = Images(GOOD, Path("x"), recorded=Recorded("0" * 64, Path("y.json"), "make it again"))
    with pytest.raises(HarnessError, match=r"x: sha256 .* but y.json says 0{64}; make it again\."):
        images.sha256()


# ---------------------------------------------------------------- floats, which are never guessed


FLOATS = (np.random.default_rng(0).uniform(-20, 280, (12, 8, 8, 3))).astype(np.float32)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_floats_are_read_where_they_are_declared_and_only_there(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    np.save(path, FLOATS) if suffix == "npy" else np.savez(path, images=FLOATS)
    with pytest.raises(HarnessError, match="dtype float32 with values"):
        open_images(path)
    images = open_images(path, floats=True)
    np.testing.assert_array_equal(images.pixels[3:9], FLOATS[3:9])
    assert images.sha256() == sha256_pixels(FLOATS)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (GOOD, "dtype uint8, declared as floats"),
        (FLOATS.astype(np.float64), "dtype float64, declared as floats"),
        (FLOATS.astype(np.float16), "dtype float16, declared as floats"),
        (FLOATS.transpose(0, 3, 1, 2), "channels first"),
        (FLOATS / 255, r"images \* 255 if they are in 0..1"),
        (FLOATS / np.float32(127.5) - 1, r"\(images \+ 1\) \* 127.5"),
        (FLOATS.clip(0, 255) - np.float32(127.5), r"save images \+ 127.5 if they are in -127.5..127.5"),
        (FLOATS - np.float32(127.5), "expected the scale 0..255: bring"),
        (FLOATS * 257, "bring them to 0..255"),
        (np.full_like(FLOATS, np.nan), "not finite"),
    ],
    ids=["bytes", "double", "half", "planes", "unit", "tanh", "centred", "centred, unclamped", "16 bit", "nan"],
)
def test_unfit_floats_are_refused(tmp_path, images, said):
    np.save(tmp_path / "x.npy", images)
    with pytest.raises(HarnessError, match=said):
        open_images(tmp_path / "x.npy", floats=True)


def test_a_folder_holds_no_floats(tmp_path):
    with pytest.raises(HarnessError, match=r"only an \.npy or an \.npz holds"):
        open_images(tmp_path, floats=True)


def test_first_images_are_hashed_in_one_reading(tmp_path):
    images = Images(GOOD, Path("x"))
    for batch in (1, 5, 12, 100):
        stream = images.stream(batch, [1, 5, 7, 10])
        assert np.concatenate(list(stream)).tolist() == GOOD.tolist()
        assert stream.hashes == {n: sha256_pixels(GOOD[:n]) for n in (1, 5, 7, 10, 12)}
    assert images.hashes([7]) == {7: sha256_pixels(GOOD[:7])}
