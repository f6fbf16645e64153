"""Every loader on small files in the official formats; crop and resize are those of torchvision."""

import hashlib
import zipfile

import numpy as np
import pytest
from PIL import Image

from harness.data import load
from harness.data.fetch import prepare
from harness.errors import HarnessError
from harness.files import sha256_file, sha256_pixels
from tests.paths import ROOT

from . import official


def prepared(name, definition, tmp_path):
    card = prepare(name, tmp_path / "out" / name, official.write_root(tmp_path / "root", **{name: definition}))
    assert not list((tmp_path / "out").glob("*.part"))
    assert not list((tmp_path / "out").glob(".*.part"))
    data = load(tmp_path / "out" / name)
    assert data.card == card
    assert card["pixels_sha256"] == sha256_pixels(data.images) == hashlib.sha256(data.images.tobytes()).hexdigest()
    return data


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("form", ["archive", "folder", "npz", "folder itself"])
def test_cifar10(split, form, local, tmp_path, monkeypatch):
    members, images, labels = official.cifar10(n=6)
    chosen = slice(0, 30) if split == "train" else slice(30, 36)
    archive_md5 = ""
    if form == "archive":
        official.tar(local / "cifar-10-python.tar.gz", "cifar-10-batches-py", members)
        archive_md5 = official.md5((local / "cifar-10-python.tar.gz").read_bytes())
    elif form == "npz":
        np.savez(local / f"cifar10-{split}.npz", images=images[chosen], labels=labels[chosen])
    else:
        official.extract(local, "cifar-10-batches-py", members)
    if form == "folder itself":
        monkeypatch.setenv("HARNESS_DATA", str(local / "cifar-10-batches-py"))
    data = prepared("c", official.cifar10_definition(members, split, images[chosen], archive_md5), tmp_path)
    assert np.array_equal(data.images, images[chosen])
    assert np.array_equal(data.labels, labels[chosen])
    assert data.card["split"] == split
    assert data.card["stand_in"] is False
    assert data.card["resize_library"] is None
    assert "pixels sha256" in data.card["verified"]
    if form == "archive":
        assert data.card["archive_sha256"] == sha256_file(local / "cifar-10-python.tar.gz")
        assert "md5 of archive" in data.card["verified"]


@pytest.mark.parametrize("form", ["archive", "npz"])
def test_the_first_images_of_a_source(form, local, tmp_path):
    members, images, labels = official.cifar10(n=6)
    if form == "archive":
        official.tar(local / "cifar-10-python.tar.gz", "cifar-10-batches-py", members)
    else:
        np.savez(local / "cifar10-train.npz", images=images[:30], labels=labels[:30])
    whole = official.cifar10_definition(members, "train", images[:30], "")
    few = whole | {"count": 4, "source_count": 30, "resize": "box", "resolution": 16}
    data = prepared("c", {**few, "pixels_sha256": None}, tmp_path)
    means = images[:4].reshape(4, 16, 2, 16, 2, 3).astype(float).mean((2, 4))
    assert np.abs(data.images - means).max() <= 1, "box: the mean of every 2 x 2 pixels, rounded along each axis"
    assert np.array_equal(data.labels, labels[:4])
    if form == "npz":  # an archive's count is that of its md5
        with pytest.raises(HarnessError, match=r"holds 30 images, d takes 31: not d\."):
            prepare("d", tmp_path / "d", official.write_root(tmp_path / "root", d=few | {"source_count": 31}))
    with pytest.raises(HarnessError, match="`source_count` is 3; give a `count` of at most that"):
        prepare("d", tmp_path / "d", official.write_root(tmp_path / "root", d=few | {"source_count": 3}))


@pytest.mark.parametrize("form", ["archive", "folder", "npz"])
@pytest.mark.parametrize("split", ["train+unlabeled", "unlabeled", "test"])
def test_stl10_in_split_order_and_resized_as_torchvision_does(split, form, local, tmp_path):
    from torchvision.transforms import Resize

    members, images = official.stl10(train=4, unlabeled=7)
    images = {"train+unlabeled": images, "unlabeled": images[4:], "test": images[:2]}[split]
    archive_md5 = ""
    if form == "archive":
        official.tar(local / "stl10_binary.tar.gz", "stl10_binary", members)
        archive_md5 = official.md5((local / "stl10_binary.tar.gz").read_bytes())
    elif form == "folder":
        official.extract(local, "stl10_binary", members)
    else:
        np.savez_compressed(local / "stl10.npz", images=images)
    data = prepared("s", official.stl10_definition(members, split, len(images), archive_md5), tmp_path)
    expected = np.stack([np.asarray(Resize(48)(Image.fromarray(image))) for image in images])
    assert np.array_equal(data.images, expected)
    assert data.labels is None
    assert data.card["resize"] == "bilinear"
    assert data.card["resize_library"].startswith("Pillow ")


def test_stl10_streams(local, tmp_path):
    """Memory does not grow with the archive: 41 MB of images are packed within 20."""
    import tracemalloc

    members = {"train_X.bin": bytes(range(256)) * 108 * 1500}
    official.tar(local / "stl10_binary.tar.gz", "stl10_binary", members)
    definition = official.stl10_definition(members, "train", 1500)
    del members
    tracemalloc.start()
    try:
        prepared("s", definition, tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def test_stl10_binaries_are_read_as_torchvision_reads_them(tmp_path, monkeypatch):
    from torchvision.datasets import STL10

    from harness.data import stl10
    from harness.data.card import Definition

    members, _ = official.stl10(train=4, unlabeled=7)
    official.extract(tmp_path, "stl10_binary", members)
    definition = Definition(**official.stl10_definition(members, "train+unlabeled", 11))
    ours = np.stack([image for image, _ in stl10.open_source(tmp_path / "stl10_binary", definition).pictures])
    monkeypatch.setattr(STL10, "_check_integrity", lambda self: True)
    theirs = STL10(tmp_path, split="train+unlabeled").data.transpose(0, 2, 3, 1)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("form", ["zip", "torchvision folder", "folder"])
@pytest.mark.parametrize("crop", ["center-178", "none"])
def test_celeba_cropped_and_resized_as_torchvision_does(crop, form, local, tmp_path):
    from torchvision.transforms import CenterCrop, Compose, Resize

    files, partition = official.celeba(tmp_path / "jpegs", n=5)
    archive_md5 = ""
    place = local / "celeba" if form == "torchvision folder" else local
    place.mkdir(exist_ok=True)
    (place / "list_eval_partition.txt").write_bytes(partition)
    if form == "zip":
        with zipfile.ZipFile(local / "img_align_celeba.zip", "w") as archive:
            for file in reversed(files):
                archive.write(file, f"img_align_celeba/{file.name}")
        archive_md5 = official.md5((local / "img_align_celeba.zip").read_bytes())
    else:
        (tmp_path / "jpegs" / "img_align_celeba").rename(place / "img_align_celeba")
        files = [place / "img_align_celeba" / file.name for file in files]
    data = prepared("a", official.celeba_definition(partition, 5, crop, archive_md5), tmp_path)
    steps = [Resize((64, 64))] if crop == "none" else [CenterCrop(178), Resize(64)]
    expected = np.stack([np.asarray(Compose(steps)(Image.open(file))) for file in files])
    assert np.array_equal(data.images, expected)
    assert data.card["crop"] == crop
    assert data.card["jpeg_library"].startswith("libjpeg")


def test_an_npz_of_celeba_names_no_decoder(local, tmp_path):
    _, partition = official.celeba(tmp_path / "jpegs", n=2)
    np.savez(local / "celeba.npz", images=np.zeros((2, 218, 178, 3), np.uint8))
    definition = official.celeba_definition(partition, 2, "none") | {"local": ["celeba.npz"]}
    assert prepared("a", definition, tmp_path).card["jpeg_library"] is None


def test_celeba_split_follows_the_official_list(local, tmp_path):
    _, partition = official.celeba(local, n=5)
    whole = prepared("a", official.celeba_definition(partition, 5, "none"), tmp_path)
    valid = prepared("v", official.celeba_definition(partition, 2, "none", split="valid"), tmp_path)
    assert np.array_equal(valid.images, whole.images[[1, 4]])


def folder_definition(**more):
    return {"source": "folder", "split": "own", "resolution": 16, "licence": "mine", **more}


def test_any_folder_of_images_with_classes(tmp_path):
    colours = {"ants/1.png": 10, "ants/2.png": 20, "bees/1.jpg": 200}
    for name, value in colours.items():
        file = tmp_path / "root" / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 24), value).save(file)
    definition = folder_definition(path="photos", crop="center-square", resize="lanczos", convert=["jpeg", "grey"])
    data = prepared("mine", definition, tmp_path)
    assert data.images[:, 0, 0, 0].tolist() == [10, 20, 200]
    assert data.labels.tolist() == [0, 0, 1]
    assert data.card["count"] == 3
    assert data.card["convert"] == ["jpeg", "grey"]
    assert data.card["found"] == "1 JPEGs and 2 PNGs in 2 folders"
    assert data.card["jpeg_library"].startswith("libjpeg")


def test_a_flat_folder_has_no_classes(tmp_path):
    (tmp_path / "root" / "photos").mkdir(parents=True)
    for name in "12":
        Image.new("RGB", (16, 16), "orange").save(tmp_path / "root" / "photos" / f"{name}.png")
    assert prepared("mine", folder_definition(path="photos"), tmp_path).labels is None


def test_own_npz(tmp_path):
    images = np.arange(3 * 16 * 16 * 3, dtype=np.uint8).reshape(3, 16, 16, 3)
    (tmp_path / "root").mkdir()
    np.savez(tmp_path / "root" / "mine.npz", images=images, labels=np.array([2, 0, 1]))
    data = prepared("mine", folder_definition(path="mine.npz"), tmp_path)
    assert np.array_equal(data.images, images)
    assert data.labels.tolist() == [2, 0, 1]


@pytest.mark.verifies("CIFAR-10 train: 50,000 images, labels, official pixel hash")
@pytest.mark.shared
def test_real_cifar10(shared_dir, local, tmp_path):
    """The committed definition on the real pixels: count, class balance, official hash."""
    import subprocess
    import sys

    subprocess.run([sys.executable, str(shared_dir / "tools" / "unpack_cifar10.py"), str(local)], check=True)
    card = prepare("cifar10", tmp_path / "cifar10", ROOT)
    data = load(tmp_path / "cifar10")
    assert data.images.shape == (50_000, 32, 32, 3)
    assert np.bincount(data.labels).tolist() == [5000] * 10
    assert data.labels[:6].tolist() == [6, 9, 9, 4, 1, 1]
    assert card["pixels_sha256"] == "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a"
    assert card["verified"] == ["count", "pixels sha256"]
