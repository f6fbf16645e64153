"""What is not the official data is refused with a sentence, and nothing stands under its final name afterwards."""

import os
import pickle
import resource
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from harness.data import load
from harness.data.fetch import prepare
from harness.errors import HarnessError

from . import official


def refused(definition, tmp_path, *words):
    """Preparing must fail with a sentence that contains all `words`, and leave nothing behind."""
    root = official.write_root(tmp_path / "root", c=definition)
    with pytest.raises(HarnessError) as caught:
        prepare("c", tmp_path / "out" / "c", root)
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "out" / "c").exists()
    assert [p.name for p in (tmp_path / "out").iterdir()] == [".c.lock"]


def archived(local, **changes):
    """An archive in HARNESS_DATA and the definition that fits it."""
    members, images, _ = official.cifar10()
    official.tar(local / "cifar-10-python.tar.gz", "cifar-10-batches-py", members)
    data = (local / "cifar-10-python.tar.gz").read_bytes()
    return data, official.cifar10_definition(members, "train", images[:30], official.md5(data)) | changes


def test_truncated_archive(local, tmp_path):
    data, definition = archived(local)
    (local / "cifar-10-python.tar.gz").write_bytes(data[: len(data) // 2])
    refused(definition, tmp_path, "cifar-10-python.tar.gz", "truncated", "official file")


def test_truncated_archive_without_published_md5(local, tmp_path):
    data, definition = archived(local, archive_md5="")
    (local / "cifar-10-python.tar.gz").write_bytes(data[: len(data) // 2])
    refused(definition, tmp_path, "cifar-10-python.tar.gz", "truncated or damaged")


def test_web_page_instead_of_archive(local, tmp_path):
    _, definition = archived(local)
    (local / "cifar-10-python.tar.gz").write_text("<!DOCTYPE html><html>Quota exceeded</html>")
    refused(definition, tmp_path, "web page", "quota")


def test_other_pixels(local, tmp_path):
    _, definition = archived(local, pixels_sha256="0" * 64)
    refused(definition, tmp_path, "the pixels have sha256", "0" * 64)


@pytest.mark.parametrize(("count", "words"), [(29, "more than the expected 29"), (31, "ended after 30 of 31")])
def test_wrong_count(count, words, local, tmp_path):
    _, definition = archived(local, count=count)
    refused(definition, tmp_path, words)


def test_archive_without_a_member(local, tmp_path):
    _, definition = archived(local)
    definition["members"]["data_batch_6"] = ""
    refused(definition, tmp_path, "no member cifar-10-batches-py/data_batch_6")


def test_changed_file_of_an_extracted_folder(local, tmp_path):
    members, images, _ = official.cifar10()
    definition = official.cifar10_definition(members, "train", images[:30])
    official.extract(local, "cifar-10-batches-py", members | {"data_batch_3": members["data_batch_2"]})
    refused(definition, tmp_path, "data_batch_3", "md5")


def test_missing_file_of_an_extracted_folder(local, tmp_path):
    members, images, _ = official.cifar10()
    definition = official.cifar10_definition(members, "train", images[:30])
    official.extract(local, "cifar-10-batches-py", members)
    (local / "cifar-10-batches-py" / "data_batch_4").unlink()
    refused(definition, tmp_path, "data_batch_4", "no such file")


def test_a_pickle_that_runs_code_is_not_run(local, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    members, images, _ = official.cifar10()
    members["data_batch_1"] = pickle.dumps(Evil())
    official.extract(local, "cifar-10-batches-py", members)
    refused(official.cifar10_definition(members, "train", images[:30]), tmp_path, "arrays only", "mkdir")
    assert not (tmp_path / "owned").exists()


def test_npz_of_already_resized_images(local, tmp_path):
    members, images = official.stl10()
    np.savez(local / "stl10.npz", images=images[:, ::2, ::2])
    refused(official.stl10_definition(members, "train+unlabeled", 11), tmp_path, "only original pixels")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"pixels": np.zeros((30, 32, 32, 3), np.uint8)}, "images"),
        ({"images": np.zeros((30, 32, 32, 3), np.float32)}, "float32"),
        ({"images": np.zeros((30, 3, 32, 32), np.uint8)}, "[30, 3, 32, 32]"),
        ({"images": np.zeros((30, 32, 32, 3), np.uint8), "labels": np.zeros(4, int)}, "labels"),
    ],
)
def test_npz_of_another_shape(arrays, words, local, tmp_path):
    members, images, _ = official.cifar10()
    np.savez(local / "cifar10-train.npz", **arrays)
    refused(official.cifar10_definition(members, "train", images[:30]), tmp_path, "cifar10-train.npz", words)


def test_stl10_binary_that_ends_within_an_image(local, tmp_path):
    members, _ = official.stl10()
    members["train_X.bin"] = members["train_X.bin"][:-100]
    official.extract(local, "stl10_binary", members)
    refused(official.stl10_definition(members, "train+unlabeled", 11), tmp_path, "train_X.bin", "within an image")


def test_celeba_image_missing_truncated_or_of_another_size(local, tmp_path):
    files, partition = official.celeba(local)
    definition = official.celeba_definition(partition, 5, "center-178")
    whole = files[2].read_bytes()
    files[2].write_bytes(whole[: len(whole) // 2])
    refused(definition, tmp_path, "000003.jpg", "truncated")
    Image.new("RGB", (64, 64)).save(files[2])
    refused(definition, tmp_path, "image 2", "[218, 178, 3]")
    files[2].unlink()
    refused(definition, tmp_path, "1 listed images are missing", "000003.jpg")


def test_celeba_list_missing_or_changed(local, tmp_path):
    _, partition = official.celeba(local)
    definition = official.celeba_definition(partition, 5, "center-178")
    (local / "list_eval_partition.txt").write_bytes(partition[:-2])
    refused(definition, tmp_path, "list_eval_partition.txt", "md5")
    (local / "list_eval_partition.txt").unlink()
    refused(definition, tmp_path, "list_eval_partition.txt", "no such file")


def test_celeba_zip_that_lacks_an_image(local, tmp_path):
    files, partition = official.celeba(tmp_path / "jpegs")
    (local / "list_eval_partition.txt").write_bytes(partition)
    with zipfile.ZipFile(local / "img_align_celeba.zip", "w") as archive:
        for file in files[:-1]:
            archive.write(file, f"img_align_celeba/{file.name}")
    refused(official.celeba_definition(partition, 5, "none"), tmp_path, "000005.jpg")


def test_folder_without_images_and_image_that_is_none(tmp_path):
    definition = {"source": "folder", "split": "own", "resolution": 16, "licence": "mine", "path": "photos"}
    refused(definition, tmp_path, "neither a folder of images nor an npz")
    (tmp_path / "root" / "photos").mkdir()
    refused(definition, tmp_path, "no images here")
    (tmp_path / "root" / "photos" / "a.png").write_text("text")
    (tmp_path / "root" / "photos" / "b.png").write_text("text")
    refused(definition, tmp_path, "a.png")
    Image.new("RGB", (20, 16)).save(tmp_path / "root" / "photos" / "a.png")
    refused(definition, tmp_path, "image 0", "give the definition a crop or resize")


def test_harness_data_that_is_no_folder(local, tmp_path, monkeypatch):
    _, definition = archived(local)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "nowhere"))
    refused(definition, tmp_path, "HARNESS_DATA", "nowhere", "no such folder")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sorce": "cifar10"}, "source"),
        ({"source": "cifar"}, "cifar10"),
        ({"resize": "bilinaer"}, "bilinear"),
        ({"crop": "middle"}, "center-N"),
        ({"count": None}, "count"),
    ],
)
def test_definitions_are_checked(change, words, local, tmp_path):
    _, definition = archived(local, **change)
    root = official.write_root(tmp_path / "root", c=definition)
    with pytest.raises(HarnessError, match=words):
        prepare("c", tmp_path / "c", root)


def test_misspelt_name(tmp_path):
    root = official.write_root(tmp_path, cifar10={})
    with pytest.raises(HarnessError, match="missing key"):
        prepare("cifar10", tmp_path / "c", root)
    standin = {"source": "standin", "split": "x", "resolution": 32, "count": 3, "licence": "x"}
    with pytest.raises(HarnessError, match="Did you mean 'standin-cifar10'"):
        prepare("standin-cifar", tmp_path / "c", official.write_root(tmp_path, **{"standin-cifar10": standin}))


# ---------------------------------------------------------------- disk, kill, two at once

STANDIN = {"source": "standin", "split": "drawn", "resolution": 64, "count": 2000, "licence": "x"}
PREPARE = """
import sys
from pathlib import Path
from harness.cli import main
sys.argv[0] = "harness"
main()
"""


def start(tmp_path, **options):
    root = official.write_root(tmp_path / "root", c=STANDIN)
    arguments = ["data", "c", "--out", str(tmp_path / "out" / "c"), "--root", str(root)]
    return subprocess.Popen(
        [sys.executable, "-c", PREPARE, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        **options,
    )


def wait_for(condition, process, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)


def test_too_little_space_is_said_before_anything_is_written(tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10_000_000})())
    refused(STANDIN, tmp_path, "needs 0.02 GB", "0.01 GB are free")


def test_a_write_that_fails_midway(tmp_path):
    """A file size limit makes the system refuse a write midway, as a disk that fills up does."""
    process = start(tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 5_000_000)))
    _, message = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error:" in message
    assert "could not be written" in message
    assert "Traceback" not in message
    assert [p.name for p in (tmp_path / "out").iterdir()] == [".c.lock"]


def test_killed_midway_then_run_again(tmp_path):
    part = tmp_path / "out" / ".c.part" / "train.npy"
    process = start(tmp_path)
    wait_for(lambda: part.exists() and part.stat().st_size > 1_000_000, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert part.exists(), "the kill came too late to test anything"
    assert not (tmp_path / "out" / "c").exists()
    prepare("c", tmp_path / "out" / "c", tmp_path / "root")
    assert len(load(tmp_path / "out" / "c")) == 2000
    assert not part.parent.exists()


def test_two_processes_at_once_pack_once(tmp_path):
    first = start(tmp_path)
    wait_for(lambda: (tmp_path / "out" / ".c.part").exists(), first)
    second = start(tmp_path)
    said_first, said_second = first.communicate(timeout=120), second.communicate(timeout=120)
    assert first.returncode == second.returncode == 0
    assert said_first[0] == said_second[0]
    assert "waiting" in said_second[1]
    assert "2000/2000" not in said_second[1], "the second process packed again"
    assert len(load(tmp_path / "out" / "c")) == 2000


def test_a_copy_of_celeba_from_kaggle_is_told_what_differs(local, tmp_path):
    """A csv in place of the official list, and the folder of images doubled."""
    files, partition = official.celeba(local)
    definition = official.celeba_definition(partition, len(files), "center-178")
    (local / "list_eval_partition.txt").rename(tmp_path / "official.txt")
    (local / "list_eval_partition.csv").write_text("image_id,partition\n000001.jpg,0\n")
    (local / "img_align_celeba").rename(tmp_path / "deeper")
    (local / "img_align_celeba").mkdir()
    (tmp_path / "deeper").rename(local / "img_align_celeba" / "img_align_celeba")
    words = ("list_eval_partition.csv", "list_eval_partition.txt", "one folder deeper", "Kaggle")
    refused(definition, tmp_path, *words)
    (local / "list_eval_partition.csv").unlink()
    (tmp_path / "official.txt").rename(local / "list_eval_partition.txt")
    refused(definition, tmp_path, "one folder deeper")
    (local / "img_align_celeba" / "img_align_celeba").rename(local / "up")
    (local / "img_align_celeba").rmdir()
    (local / "up").rename(local / "img_align_celeba")
    root = official.write_root(tmp_path / "root", c=definition)
    assert prepare("c", tmp_path / "out" / "c", root)["count"] == len(files)
