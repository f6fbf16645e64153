"""Data sets from a user's folder or npz: packed by the reader of scoring; what identifies them enters the card."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import load
from harness.data.card import definition, matches
from harness.data.fetch import prepare
from harness.data.images import open_images
from harness.errors import HarnessError

from . import official
from .pngs import png, write

IMAGES = np.random.default_rng(3).integers(0, 256, (5, 16, 16, 3), np.uint8)


class Own:
    """A checkout with one data set of its own, `mine`, from `photos`."""

    def __init__(self, root: Path):
        self.root, self.out = root, root / "out" / "mine"
        self.define()

    def define(self, **more: object) -> None:
        entry = {"source": "folder", "split": "own", "resolution": 16, "licence": "mine", "path": "photos"}
        official.write_root(self.root, mine=entry | more)

    def write(self, name: str, pixels: np.ndarray) -> Path:
        return write(self.root / name, png(pixels))

    def pack(self) -> dict:
        return prepare("mine", self.out, self.root)


@pytest.fixture
def own(tmp_path, monkeypatch) -> Own:
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    own = Own(tmp_path)
    for i in range(3):
        own.write(f"photos/{i}.png", IMAGES[i])
    return own


def test_packing_and_scoring_read_the_same_pixels_in_the_same_order(own, capsys):
    own.write("photos/a-b/1.png", IMAGES[3])
    own.write("photos/a/1.png", IMAGES[4])
    (own.root / "photos" / "._0.png").write_bytes(b"x")
    (own.root / "photos" / "list.csv").write_text("x")
    card = own.pack()
    scored = open_images(own.root / "photos")
    np.testing.assert_array_equal(load(own.out).images, scored.pixels[0:5])
    assert card["found"] == "5 PNGs in 3 folders; 2 files skipped (1 .csv, 1 hidden)"
    assert card["found"] in capsys.readouterr().err


def test_unchanged_files_are_not_packed_again(own):
    first = own.pack()
    before = (own.out / "train.npy").stat().st_ino
    (own.root / "photos" / ".DS_Store").write_text("not an image")
    assert own.pack() == first
    assert (own.out / "train.npy").stat().st_ino == before


def test_changed_files_are_packed_again(own, capsys):
    own.pack()
    own.write("photos/1.png", IMAGES[4])
    own.pack()
    assert "changed since" in capsys.readouterr().err
    np.testing.assert_array_equal(load(own.out).images, IMAGES[[0, 4, 2]])
    (own.root / "photos" / "2.png").unlink()
    assert own.pack()["count"] == 2
    os.rename(own.root / "photos" / "0.png", own.root / "photos" / "9.png")
    own.pack()
    np.testing.assert_array_equal(load(own.out).images, IMAGES[[4, 0]])


def test_another_path_is_packed_again_and_a_missing_one_is_refused(own, tmp_path, monkeypatch):
    own.pack()
    for i in range(2):
        own.write(f"others/{i}.png", IMAGES[3 + i])
    own.define(path="others")
    own.pack()
    np.testing.assert_array_equal(load(own.out).images, IMAGES[3:5])
    own.define(path="nowhere")
    with pytest.raises(HarnessError, match="nowhere: neither a folder"):
        own.pack()
    own.define(path="photos")
    own.pack()
    os.rename(own.root / "photos", own.root / "moved")
    with pytest.raises(HarnessError, match="photos: neither a folder"):
        own.pack()
    elsewhere = tmp_path / "elsewhere"
    for i in (3, 4):
        write(elsewhere / "photos" / f"{i}.png", png(IMAGES[i]))
    monkeypatch.setenv("HARNESS_DATA", str(elsewhere))
    own.pack()
    np.testing.assert_array_equal(load(own.out).images, IMAGES[3:5])


@pytest.mark.parametrize("change", [{"path": "others"}, {"convert": ("jpeg",)}, {"resize": "box"}, {"version": 2}])
def test_a_card_belongs_to_one_definition(own, change):
    card, entry = own.pack(), definition("mine", own.root)
    assert matches(card, "mine", entry)
    assert not matches(card, "mine", replace(entry, **change))
    assert not matches(card, "yours", entry)


def test_a_changed_npz_is_packed_again(own):
    own.define(path="mine.npz")
    np.savez(own.root / "mine.npz", images=IMAGES[:3])
    own.pack()
    np.savez(own.root / "mine.npz", images=IMAGES[2:])
    own.pack()
    np.testing.assert_array_equal(load(own.out).images, IMAGES[2:])


@pytest.mark.parametrize(
    ("pixels", "colour", "words"),
    [
        (IMAGES[0].astype(np.uint16) * 257, 2, "16 bits a channel"),
        (IMAGES[0, :, :, :1], 0, r"grey.*convert: \[grey\]"),
        (np.concatenate([IMAGES[0], IMAGES[0, :, :, :1]], 2), 6, r"with alpha.*convert: \[alpha\]"),
    ],
)
def test_packing_guesses_nothing(own, pixels, colour, words):
    write(own.root / "photos" / "1.png", png(pixels, colour))
    with pytest.raises(HarnessError, match=rf"1\.png: {words}"):
        own.pack()
    assert not own.out.exists()


def test_conversions_enter_the_card(own):
    Image.fromarray(IMAGES[3]).save(own.root / "photos" / "3.jpg")
    with pytest.raises(HarnessError, match=r"3\.jpg: is JPEG.*convert: \[jpeg\]"):
        own.pack()
    own.define(convert=["jpeg"])
    card = own.pack()
    assert card["convert"] == ["jpeg"]
    assert card["jpeg_library"].startswith("libjpeg-turbo ") or "interface" in card["jpeg_library"]
    own.define(convert=["jpeg", "grey"])
    assert own.pack()["convert"] == ["jpeg", "grey"], "another definition"


@pytest.mark.parametrize("pixels", [IMAGES // 200, IMAGES // 128 * 255])
def test_the_range_of_the_values_is_judged_as_in_scoring(own, pixels):
    for i in range(3):
        own.write(f"photos/{i}.png", pixels[i])
    with pytest.raises(HarnessError, match="hold no other values than"):
        own.pack()
    assert not own.out.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resolution": 0}, r"mine\.resolution: 0 must be at least 1"),
        ({"resolution": 10**6}, "at most 8192"),
        ({"version": 0}, r"version: 0"),
        ({"count": -1}, r"count: -1"),
        ({"source_size": [0, 4]}, r"source_size\[0\]: 0"),
        ({"pixels_sha256": "abc"}, "64 hexadecimal"),
        ({"archive_md5": "xyz"}, "32 hexadecimal"),
        ({"convert": ["jpg"]}, "Did you mean 'jpeg'"),
        ({"source": "standin", "count": 3, "path": ""}, ""),
        ({"source": "standin", "count": 3}, "keys of a `source: folder`"),
        ({"crop": "center-0"}, "center-N"),
    ],
)
def test_fields_of_a_definition_have_ranges(own, change, words):
    own.define(**change)
    if not words:
        own.pack()
        return
    with pytest.raises(HarnessError, match=words):
        own.pack()


@pytest.mark.parametrize("name", ["a/b", "..", "a b", "-x", ".hidden", "a;b", ""])
def test_names_become_folders_and_are_checked(tmp_path, name):
    entry = {"source": "standin", "split": "x", "resolution": 32, "count": 3, "licence": "x"}
    root = official.write_root(tmp_path, **{name: entry})
    with pytest.raises(HarnessError, match="because it becomes a path"):
        prepare(name, tmp_path / "out", root)


def test_out_that_is_a_file_is_refused_before_anything_is_read(own):
    own.out.parent.mkdir()
    own.out.write_text("x")
    with pytest.raises(HarnessError, match="is a file; name the folder"):
        own.pack()
