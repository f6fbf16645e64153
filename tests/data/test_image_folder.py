"""A folder of images: each file is read, refused, or listed as skipped with its reason."""

import os

import numpy as np
import pytest
from PIL import Image

from harness.data.image_folder import list_images
from harness.data.images import open_images
from harness.errors import HarnessError

from .pngs import png, write

IMAGES = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 3), np.uint8)


def test_every_file_is_read_or_listed_as_skipped(tmp_path):
    for i, name in enumerate(["b/2.png", "a-c/1.PNG", "a/10.png", "a/9.png", "z.png"]):
        write(tmp_path / name, png(IMAGES[i]))
    for name in ["._z.png", "a/.DS_Store", "b/Thumbs.db", "__MACOSX/z.png", "samples.json", "a/notes.txt", "b/README"]:
        write(tmp_path / name, b"x")
    os.symlink("nowhere.png", tmp_path / "gone.png")
    os.symlink(tmp_path / "a", tmp_path / "linked")
    os.mkfifo(tmp_path / "pipe.png")
    images = open_images(tmp_path)
    assert images.found == (
        "5 PNGs of 8 px in 4 folders; 10 files skipped "
        "(1 .json, 1 .txt, 1 broken link, 4 hidden, 1 linked folder, 1 special file, 1 without suffix)"
    )
    np.testing.assert_array_equal(images.pixels[0:5], IMAGES[[1, 2, 3, 0, 4]])  # a-c/, a/10, a/9, b/, z
    assert images.caveats == ("images of several folders, in the order of their paths",)


def test_a_flat_folder_has_nothing_to_say(tmp_path):
    for i in range(3):
        write(tmp_path / f"{i}.png", png(IMAGES[i]))
    images = open_images(tmp_path)
    assert (images.found, images.caveats) == ("3 PNGs of 8 px", ())


def test_jpegs_are_read_where_they_are_declared(tmp_path):
    write(tmp_path / "0.png", png(IMAGES[0]))
    Image.fromarray(IMAGES[1]).save(tmp_path / "1.jpeg")
    with pytest.raises(HarnessError, match=r"1\.jpeg: is JPEG; JPEG changes the pixels.*--allow-jpeg"):
        list_images(tmp_path)
    images = open_images(tmp_path, allow_jpeg=True)
    assert images.found == "1 JPEGs and 1 PNGs of 8 px"
    assert images.caveats == ("1 of 2 images are JPEGs",)
    np.testing.assert_array_equal(images.pixels[1:2][0], np.asarray(Image.open(tmp_path / "1.jpeg")))


def test_jpegs_are_counted_by_what_they_are(tmp_path):
    """Two JPEGs called PNG and a PNG called JPEG."""
    for i in range(2):
        Image.fromarray(IMAGES[i]).save(tmp_path / f"{i}.png", "JPEG")
    write(tmp_path / "2.jpg", png(IMAGES[2]))
    images = open_images(tmp_path, allow_jpeg=True)
    assert images.found == "2 JPEGs and 1 PNGs of 8 px"
    assert images.caveats == ("2 of 3 images are JPEGs",)
    for i in range(2):
        (tmp_path / f"{i}.png").unlink()
    write(tmp_path / "3.png", png(IMAGES[3]))
    assert open_images(tmp_path, allow_jpeg=True).caveats == ()


@pytest.mark.parametrize("suffix", ["webp", "tiff", "bmp", "gif"])
def test_images_of_other_formats_are_refused_not_skipped(tmp_path, suffix):
    write(tmp_path / "0.png", png(IMAGES[0]))
    Image.fromarray(IMAGES[1]).save(tmp_path / f"1.{suffix}")
    with pytest.raises(HarnessError, match=rf"1\.{suffix}: is {suffix.upper()}; only PNG"):
        list_images(tmp_path)


def test_nothing_but_other_files_is_said(tmp_path):
    write(tmp_path / "samples.npy", b"")
    write(tmp_path / "notes.txt", b"")
    with pytest.raises(HarnessError, match=r"no images here; 2 files skipped \(1 \.npy, 1 \.txt\)"):
        list_images(tmp_path)


def test_images_that_are_not_square_are_refused_with_what_to_do(tmp_path):
    for i in range(2):
        write(tmp_path / f"{i}.png", png(IMAGES[i, :6]))
    with pytest.raises(HarnessError, match=r"8 x 6 pixels are not square; .*source: folder"):
        open_images(tmp_path)


def test_one_damaged_file_is_named_before_the_pass(tmp_path):
    for i in range(3):
        write(tmp_path / f"{i}.png", png(IMAGES[i]))
    write(tmp_path / "2.png", png(IMAGES[2].astype(np.uint16)))
    with pytest.raises(HarnessError, match=r"2\.png: 16 bits"):
        open_images(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_opened_is_named(tmp_path):
    write(tmp_path / "0.png", png(IMAGES[0]))
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(HarnessError, match="closed: cannot be read"):
        list_images(tmp_path)


@pytest.mark.parametrize("form", ["png", "npy"])
@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        ((IMAGES > 127).astype(np.uint8), "multiplied by 255"),
        (np.zeros_like(IMAGES), "multiplied by 255"),
        ((IMAGES > 127).astype(np.uint8) * 255, r"\(x \+ 1\) \* 127.5"),
        (np.array([0, 1, 255], np.uint8)[IMAGES % 3], r"-1\.\.1"),
    ],
)
def test_the_range_of_the_values_is_judged_alike_in_every_form(tmp_path, form, pixels, words):
    if form == "npy":
        np.save(tmp_path / "x.npy", pixels)
    else:
        for i, image in enumerate(pixels):
            write(tmp_path / "x.npy" / f"{i}.png", png(image))
    with pytest.raises(HarnessError, match=words):
        open_images(tmp_path / "x.npy")
    assert len(open_images(tmp_path / "x.npy", known_range=True)) == 6
