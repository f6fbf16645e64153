"""A bundle carries a scale to another machine, and is refused whole if one byte of it is wrong."""

import io
import json
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from harness import bundle
from harness.config import Params, read
from harness.data import load
from harness.data.fetch import prepare
from harness.errors import HarnessError
from harness.files import sha256_file, sha256_pixels
from harness.metrics import weights

from .data import official

RUN = {"experiment": "e", "seed": 0, "dataset": "tiny"}
PARAMS = {
    "scale": "tiny",
    "root": "",
    "out": "results/tiny/",
    "scoring": {"n_fake": 64, "n_real": 16, "weights": "stand-in"},
    "runs": {"e-seed0": RUN},
    "dumps": {"e-seed0-last": {**RUN, "snapshot": "last"}},
}
TINY = {"source": "standin", "split": "drawn", "resolution": 32, "count": 20, "licence": "x"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A machine with one small data set, weights (small, as only their bytes matter here) and statistics."""
    root = official.write_root(tmp_path / "here", tiny=TINY)
    cache = root / ".cache"
    (cache / "inception").mkdir(parents=True)
    file = cache / "inception" / "stand-in-v1.pb"
    file.write_bytes(b"weights" * 1000)
    file.with_suffix(".sha256").write_text(sha256_file(file))
    monkeypatch.setattr(weights, "load", lambda spec, cache: weights.Weights(spec, file, sha256_file(file)))
    prepare("tiny", root / "data" / "tiny", root)
    pixels = sha256_pixels(load(root / "data" / "tiny").images[:16])
    (cache / "references").mkdir()
    for name, content in {
        "ours": {"layer": 2048, "pixels_sha256": pixels},
        "other-layer": {"layer": 64, "pixels_sha256": pixels},
        "other-pixels": {"layer": 2048, "pixels_sha256": "0"},
    }.items():
        np.savez(cache / "references" / f"{name}.npz", mu=np.zeros(3), content=np.array(json.dumps(content)))
    (cache / "references" / "damaged.npz").write_bytes(b"half")
    return root


@pytest.fixture
def packed(here, tmp_path):
    out = tmp_path / "tiny.tar"
    bundle.create(out, read(Params, PARAMS, "test"), here, here / ".cache")
    return out


EXPECTED = {
    "data/tiny/train.npy",
    "data/tiny/labels.npy",
    "data/tiny/card.json",
    "cache/inception/stand-in-v1.pb",
    "cache/inception/stand-in-v1.sha256",
    "cache/references/ours.npz",
}


def test_round_trip(here, packed, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    manifest = bundle.unpack(packed, there, there / ".cache")
    assert set(manifest["files"]) == EXPECTED
    for name, entry in manifest["files"].items():
        place = name.replace("cache/", ".cache/", 1) if name.startswith("cache/") else name
        assert (there / place).read_bytes() == (here / place).read_bytes()
        assert sha256_file(there / place) == entry["sha256"]
    assert np.array_equal(load(there / "data" / "tiny").images, load(here / "data" / "tiny").images)
    assert sorted(p.name for p in there.iterdir()) == [".cache", "data"]


def test_missing_data_are_prepared_first(here, tmp_path):
    shutil.rmtree(here / "data")
    manifest = bundle.create(tmp_path / "t.tar", read(Params, PARAMS, "test"), here, here / ".cache")
    assert set(manifest["files"]) == EXPECTED


def test_what_was_there_is_replaced(packed, tmp_path):
    there = official.write_root(tmp_path / "there", tiny=TINY | {"count": 10, "version": 2})
    prepare("tiny", there / "data" / "tiny", there)
    bundle.unpack(packed, there, there / ".cache")
    assert len(load(there / "data" / "tiny")) == 20
    assert load(there / "data" / "tiny").card["version"] == 1


def test_cache_elsewhere(packed, tmp_path):
    there, cache = tmp_path / "there", tmp_path / "elsewhere"
    there.mkdir()
    bundle.unpack(packed, there, cache)
    assert (cache / "references" / "ours.npz").is_file()
    assert not (there / ".cache").exists()


def rewrite(path, change):
    """Write the bundle again, its members (name -> bytes) changed by `change`."""
    with tarfile.open(path) as archive:
        members = {info.name: archive.extractfile(info).read() for info in archive}
    change(members)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def edit_manifest(members, change):
    manifest = json.loads(members["manifest.json"])
    change(manifest)
    members["manifest.json"] = json.dumps(manifest).encode()


def flip(members):
    data = bytearray(members["data/tiny/train.npy"])
    data[-1] ^= 1
    members["data/tiny/train.npy"] = bytes(data)


def escape(members):
    members["data/../../evil"] = b"evil"
    edit_manifest(members, lambda m: m["files"].update({"data/../../evil": {"sha256": "0", "bytes": 4}}))


def overwrite_code(members):
    members["harness/cli.py"] = b"evil"
    edit_manifest(members, lambda m: m["files"].update({"harness/cli.py": {"sha256": "0", "bytes": 4}}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (flip, "train.npy has not the sha256"),
        (lambda m: m.pop("cache/references/ours.npz"), "1 files are missing, e.g. cache/references/ours.npz"),
        (lambda m: m.update({"data/tiny/more": b"x"}), "data/tiny/more is not a file of its manifest"),
        (lambda m: m.pop("manifest.json"), "not a bundle"),
        (lambda m: m.update({"manifest.json": b"{"}), "cannot be read"),
        (lambda m: m.update({"manifest.json": b"[]"}), "cannot be read"),
        (escape, "outside data and cache"),
        (overwrite_code, "outside data and cache"),
    ],
)
def test_one_wrong_byte_and_nothing_is_unpacked(change, words, packed, tmp_path):
    rewrite(packed, change)
    there = tmp_path / "there"
    there.mkdir()
    with pytest.raises(HarnessError, match=words):
        bundle.unpack(packed, there, there / ".cache")
    assert not list(there.iterdir())
    assert not (tmp_path / "evil").exists()


def test_truncated_or_no_tar(packed, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    whole = packed.read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"text" * 1000):
        packed.write_bytes(data)
        with pytest.raises(HarnessError, match=str(packed)):
            bundle.unpack(packed, there, there / ".cache")
        assert not list(there.iterdir())


def test_links_are_refused(packed, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    with tarfile.open(packed) as archive:
        manifest = archive.extractfile("manifest.json").read()
    with tarfile.open(packed, "w") as archive:
        info = tarfile.TarInfo("manifest.json")
        info.size = len(manifest)
        archive.addfile(info, io.BytesIO(manifest))
        link = tarfile.TarInfo("data/tiny/train.npy")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    with pytest.raises(HarnessError, match="not a file of its manifest"):
        bundle.unpack(packed, there, there / ".cache")
    assert not list(there.iterdir())


def test_weights_that_only_this_machine_knows_are_refused(here, tmp_path):
    own = PARAMS | {"scoring": PARAMS["scoring"] | {"weights": "mine.pb"}}
    with pytest.raises(HarnessError, match=r"scoring\.weights is the file"):
        bundle.create(tmp_path / "t.tar", read(Params, own, "test"), here, here / ".cache")
    assert not (tmp_path / "t.tar").exists()


def test_verb(packed, tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    command = [sys.executable, "-m", "harness", "bundle", "--unpack", str(packed), "--root", str(there)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "scale tiny, 6 files" in done.stdout
    assert len(load(there / "data" / "tiny")) == 20
    packed.write_bytes(packed.read_bytes()[:5000])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
