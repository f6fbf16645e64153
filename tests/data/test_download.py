"""The official download, played by a host of this test: through torchvision's classes, whole or refused."""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, STL10, CelebA, celeba

from harness.data import load
from harness.data.fetch import prepare
from harness.errors import HarnessError

from . import official


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A folder served over HTTP, and no HARNESS_DATA."""
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.delenv("HARNESS_CACHE", raising=False)
    folder = tmp_path / "host"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cifar10(host, monkeypatch, tmp_path):
    folder, url = host
    members, images, _ = official.cifar10()
    official.tar(folder / CIFAR10.filename, CIFAR10.base_folder, members)
    md5 = official.md5((folder / CIFAR10.filename).read_bytes())
    batches = [[name, official.md5(data)] for name, data in members.items()]
    monkeypatch.setattr(CIFAR10, "url", f"{url}/{CIFAR10.filename}")
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5)
    monkeypatch.setattr(CIFAR10, "train_list", batches[:5])
    monkeypatch.setattr(CIFAR10, "test_list", batches[5:6])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": batches[6][1]})
    definitions = {
        "train": official.cifar10_definition(members, "train", images[:30], md5),
        "test": official.cifar10_definition(members, "test", images[30:], md5),
    }
    return folder / CIFAR10.filename, images, official.write_root(tmp_path / "root", **definitions)


def test_cifar10_is_downloaded_once_for_both_splits(cifar10, tmp_path):
    archive, images, root = cifar10
    card = prepare("train", tmp_path / "train", root)
    archive.unlink()  # the second data set must not ask the host again
    prepare("test", tmp_path / "test", root)
    assert np.array_equal(load(tmp_path / "train").images, images[:30])
    assert np.array_equal(load(tmp_path / "test").images, images[30:])
    assert card["origin"] == "archive cifar-10-python.tar.gz"
    downloads = root / ".cache" / "downloads"
    assert sorted(p.name for p in downloads.iterdir()) == ["cifar10", "cifar10.lock"]
    assert [p.name for p in (downloads / "cifar10").iterdir()] == ["cifar-10-python.tar.gz"]


def test_stl10(host, monkeypatch, tmp_path):
    folder, url = host
    members, images = official.stl10()
    official.tar(folder / STL10.filename, STL10.base_folder, members)
    md5 = official.md5((folder / STL10.filename).read_bytes())
    monkeypatch.setattr(STL10, "url", f"{url}/{STL10.filename}")
    monkeypatch.setattr(STL10, "tgz_md5", md5)
    for name in ("train_list", "test_list"):
        files = [[file, official.md5(members[file])] for file, _ in getattr(STL10, name)]
        monkeypatch.setattr(STL10, name, files)
    definition = official.stl10_definition(members, "train+unlabeled", len(images), md5)
    prepare("s", tmp_path / "s", official.write_root(tmp_path / "root", s=definition))
    assert len(load(tmp_path / "s")) == len(images)


def test_truncated_download_is_refused_and_fetched_again(cifar10, tmp_path):
    archive, _, root = cifar10
    whole = archive.read_bytes()
    archive.write_bytes(whole[:1000])
    with pytest.raises(HarnessError) as caught:
        prepare("train", tmp_path / "train", root)
    for word in ("download failed", "corrupted", "cifar-10-python.tar.gz", "HARNESS_DATA"):
        assert word in str(caught.value)
    assert not (tmp_path / "train").exists()
    assert not (root / ".cache" / "downloads" / "cifar10").exists()
    archive.write_bytes(whole)
    assert prepare("train", tmp_path / "train", root)["count"] == 30


def test_a_download_that_is_not_the_definitions_file_does_not_stay(cifar10, tmp_path):
    """The host and torchvision agree on another archive."""
    archive, images, root = cifar10
    members, *_ = official.cifar10()
    definition = official.cifar10_definition(members, "train", images[:30], "0" * 32)
    with pytest.raises(HarnessError, match=r"download failed .*the official file has 0{32}.*HARNESS_DATA"):
        prepare("train", tmp_path / "train", official.write_root(root, train=definition))
    assert not list((root / ".cache").rglob(archive.name))
    assert not (root / ".cache" / "downloads" / "cifar10").exists()


def test_no_network_says_what_to_put_where(cifar10, tmp_path, monkeypatch):
    _, _, root = cifar10
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(HarnessError) as caught:
        prepare("train", tmp_path / "train", root)
    assert "Get cifar-10-python.tar.gz by other means and put it in a folder and set HARNESS_DATA" in str(caught.value)


def test_a_folder_without_the_archive_is_named_before_anything_is_downloaded(
    cifar10, tmp_path, monkeypatch, local, capsys
):
    _, _, root = cifar10
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(HarnessError) as caught:
        prepare("train", tmp_path / "train", root)
    assert f"HARNESS_DATA={local} holds none of cifar-10-python.tar.gz" in capsys.readouterr().err
    assert f"by other means and put it in {local}." in str(caught.value)


@pytest.fixture
def drive(tmp_path, monkeypatch):
    """Google Drive, played by a function: it copies from a folder, then checks the md5 as torchvision's does."""
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.delenv("HARNESS_CACHE", raising=False)
    host = tmp_path / "host"
    files, partition = official.celeba(host)
    shutil.make_archive(str(host / "img_align_celeba"), "zip", host, "img_align_celeba")
    for name, head in (("attr", "5\nSmiling\n"), ("bbox", "5\nx_1 y_1 w h\n"), ("landmarks_align", "5\nx y\n")):
        (host / f"list_{name}_celeba.txt").write_text(head + "".join(f"{file.name} 1\n" for file in files))
    (host / "identity_CelebA.txt").write_text("".join(f"{file.name} 1\n" for file in files))
    listed = [(i, official.md5((host / file).read_bytes()), file) for i, _, file in CelebA.file_list]
    monkeypatch.setattr(CelebA, "file_list", listed)

    def fetch(file_id, root, filename, md5):
        from pathlib import Path

        Path(root).mkdir(exist_ok=True)
        shutil.copy(host / filename, Path(root) / filename)
        if official.md5((Path(root) / filename).read_bytes()) != md5:
            raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr(celeba, "download_file_from_google_drive", fetch)
    archive_md5 = next(md5 for _, md5, file in listed if file.endswith(".zip"))
    definition = official.celeba_definition(partition, 5, "center-178", archive_md5)
    return host, official.write_root(tmp_path / "root", a=definition)


def test_celeba(drive, tmp_path):
    _, root = drive
    card = prepare("a", tmp_path / "a", root)
    assert len(load(tmp_path / "a")) == 5
    assert "md5 of archive" in card["verified"]


def test_quota_page_instead_of_celeba(drive, tmp_path):
    host, root = drive
    (host / "img_align_celeba.zip").write_text("<!DOCTYPE html><html>Google Drive - Quota exceeded</html>")
    with pytest.raises(HarnessError) as caught:
        prepare("a", tmp_path / "a", root)
    for word in ("web page", "quota", "img_align_celeba.zip and list_eval_partition.txt", "HARNESS_DATA"):
        assert word in str(caught.value)
    assert not (tmp_path / "a").exists()
    assert not list((root / ".cache").rglob("*.zip"))


def test_celeba_without_gdown_names_the_extra(drive, tmp_path, monkeypatch):
    _, root = drive
    import sys

    from torchvision.datasets import utils

    monkeypatch.setitem(sys.modules, "gdown", None)
    monkeypatch.setattr(celeba, "download_file_from_google_drive", utils.download_file_from_google_drive)
    with pytest.raises(HarnessError, match=r"transgan-bench\[celeba\]"):
        prepare("a", tmp_path / "a", root)
