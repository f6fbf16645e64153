"""Where weights come from, and what they are taken for."""

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.metrics.inception import weight_files, weights
from tests.metrics.inception.helpers import built, parameters


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    monkeypatch.delenv(weights.ENVIRONMENT, raising=False)


@pytest.fixture
def graph(monkeypatch) -> bytes:
    """A small graph that is taken for the official one."""
    data = built().SerializeToString(deterministic=True)
    monkeypatch.setattr(weights, "OFFICIAL_SHA256", hashlib.sha256(data).hexdigest())
    return data


def tgz(path: Path, data: bytes, size: int | None = None) -> Path:
    """An archive as the official one, whose header may say another size than the content has."""
    info = tarfile.TarInfo(weights.OFFICIAL_GRAPH)
    info.size = len(data) if size is None else size
    path.write_bytes(gzip.compress(info.tobuf() + data.ljust(-(-len(data) // 512) * 512, b"\0") + bytes(1024), 1))
    return path


# ---------------------------------------------------------------- the stand-in


def test_stand_in_is_drawn_and_no_file_is_taken_for_it(tmp_path):
    for name in ("stand-in-v1.pb", "stand-in-v1.sha256"):
        (tmp_path / "inception").mkdir(exist_ok=True)
        (tmp_path / "inception" / name).write_bytes(b"another's")
    found = weights.load("stand-in", tmp_path)
    assert (found.kind, found.sha256, found.parameters.deepest) == ("stand-in", weights.STAND_IN_SHA256, 2048)
    np.testing.assert_array_equal(found.parameters.convs["conv"].kernel, parameters().convs["conv"].kernel)


def test_stand_in_that_another_numpy_draws_otherwise_is_refused(tmp_path, monkeypatch):
    other = parameters().convs | {"conv": parameters().convs["conv_1"]}
    monkeypatch.setattr(weights, "stand_in", lambda: weights.Parameters(other, None, None))
    with pytest.raises(HarnessError, match="draws other weights"):
        weights.load("stand-in", tmp_path)


def test_a_file_of_the_stand_ins_weights_is_known_by_its_content(tmp_path, monkeypatch):
    path = tmp_path / "any-name.pb"
    path.write_bytes(built().SerializeToString())
    monkeypatch.setattr(weights, "STAND_IN_SHA256", weights.load(str(path), tmp_path).parameters.sha256())
    assert weights.load(str(path), tmp_path).kind == "stand-in"


# ---------------------------------------------------------------- named weights, which have a pinned hash


@pytest.mark.parametrize("name", ["official", "trunk"])
def test_another_file_is_not_taken_for_the_official_one(tmp_path, monkeypatch, name):
    path = tmp_path / "classify_image_graph_def.pb"
    path.write_bytes(built().SerializeToString())
    monkeypatch.setenv(weights.ENVIRONMENT, str(path))
    with pytest.raises(HarnessError, match="sha256"):
        weights.load(name, tmp_path / "cache")
    assert weights.load(str(path), tmp_path / "cache").kind == "file"


def test_200_flipped_bits_in_the_kept_official_graph_are_refused(tmp_path, graph):
    path = tmp_path / "inception" / weights.OFFICIAL_GRAPH
    path.parent.mkdir()
    path.write_bytes(graph)
    assert weights.load("official", tmp_path).kind == "official"
    for position in np.random.default_rng(0).integers(0, 8 * len(graph), 200):
        flipped = bytearray(graph)
        flipped[position // 8] ^= 1 << position % 8
        path.write_bytes(flipped)
        with pytest.raises(HarnessError, match="not the official"):
            weights.load("official", tmp_path)


def test_environment_variable_may_name_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path))
    path = tmp_path / weights.TRUNK_NAME
    path.write_bytes(b"not it")
    with pytest.raises(HarnessError, match=f"{weights.TRUNK_NAME}: not the trunk"):
        weights.load("trunk", tmp_path / "cache")
    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path / "missing"))
    with pytest.raises(HarnessError, match="no such file or folder"):
        weights.load("trunk", tmp_path / "cache")


def test_misspelt_names_are_helped(tmp_path):
    with pytest.raises(HarnessError, match="Did you mean 'official'"):
        weights.load("oficial", tmp_path)


@pytest.mark.shared
def test_trunk_is_recognised_and_complete_to_mixed_7(shared_dir: Path, tmp_path, monkeypatch):
    monkeypatch.setenv(weights.ENVIRONMENT, str(shared_dir / "mirror" / "inception"))
    found = weights.load("trunk", tmp_path)
    assert (found.kind, found.parameters.deepest, len(found.parameters.convs)) == ("trunk", 768, 70)


# ---------------------------------------------------------------- the download


def served(monkeypatch, content: dict[str, bytes]) -> list[str]:
    """Serve these archives by the start of their address; others are not reached. Returns what was asked for."""
    import pooch

    asked = []

    def retrieve(url, known_hash, fname, path, downloader) -> str:
        asked.append(url)
        assert 0 < downloader.kwargs["timeout"] <= 60
        for start, data in content.items():
            if url.startswith(start):
                (Path(path) / fname).write_bytes(data)
                return str(Path(path) / fname)
        raise ConnectionError

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    return asked


def test_official_graph_is_fetched_by_https_first_verified_and_kept(tmp_path, monkeypatch, graph):
    asked = served(monkeypatch, {"https": tgz(tmp_path / "a.tgz", graph).read_bytes()})
    found = weights.load("official", tmp_path / "cache")
    assert (found.kind, asked) == ("official", [weights.OFFICIAL_URLS[0]])
    assert [p.name for p in (tmp_path / "cache" / "inception").iterdir()] == [weights.OFFICIAL_GRAPH]
    assert weights.load("official", tmp_path / "cache").sha256 == found.sha256
    assert len(asked) == 1


def test_a_wrong_or_broken_download_is_not_kept_and_the_next_address_is_tried(tmp_path, monkeypatch, graph):
    other = tgz(tmp_path / "b.tgz", graph + b"more").read_bytes()
    asked = served(monkeypatch, {"https": other, "http": other[:-50]})
    with pytest.raises(HarnessError, match=r"holds a graph of sha256 .*no whole"):
        weights.load("official", tmp_path / "cache")
    assert asked == list(weights.OFFICIAL_URLS)
    assert list((tmp_path / "cache" / "inception").iterdir()) == []
    served(monkeypatch, {"https": other, "http": tgz(tmp_path / "a.tgz", graph).read_bytes()})
    assert weights.load("official", tmp_path / "cache").kind == "official"


def test_without_internet_the_message_says_what_to_fetch(tmp_path, monkeypatch):
    served(monkeypatch, {})
    with pytest.raises(HarnessError, match=f"ConnectionError.*set {weights.ENVIRONMENT}"):
        weights.load("official", tmp_path)


# ---------------------------------------------------------------- archives


def test_archive_with_another_graph_is_refused_and_leaves_nothing(tmp_path):
    folder = tmp_path / "inception"
    folder.mkdir()
    tgz(folder / weights.OFFICIAL_ARCHIVE, built().SerializeToString())
    with pytest.raises(HarnessError, match=weights.OFFICIAL_SHA256):
        weights.load("official", tmp_path)
    assert weights.load(str(folder / weights.OFFICIAL_ARCHIVE), tmp_path).kind == "file"
    assert [p.name for p in folder.iterdir()] == [weights.OFFICIAL_ARCHIVE]


@pytest.mark.parametrize("size", [1 << 40, 5000, 1])
def test_an_archive_that_lies_about_a_size_is_refused(tmp_path, size):
    path = tgz(tmp_path / "lies.tgz", b"g" * 2000, size)
    with pytest.raises(HarnessError, match=r"lies\.tgz"):
        weights.load(str(path), tmp_path)


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    path = tgz(tmp_path / "bomb.tgz", bytes(100_000))
    monkeypatch.setattr(weight_files, "MAX_BYTES", 50_000)
    with pytest.raises(HarnessError, match=r"bomb\.tgz.*unpacks to more than 50,000"):
        weights.load(str(path), tmp_path)
    (tmp_path / "large.pb").write_bytes(bytes(50_001))
    with pytest.raises(HarnessError, match=r"large\.pb: larger than 50,000"):
        weights.load(str(tmp_path / "large.pb"), tmp_path)


def test_an_archive_without_the_graph_is_refused(tmp_path):
    path = tmp_path / "other.tgz"
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("other.pb")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"data"))
        link = tarfile.TarInfo(weights.OFFICIAL_GRAPH)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    with pytest.raises(HarnessError, match="no whole classify_image_graph_def"):
        weights.load(str(path), tmp_path)
