"""Tars of limited size: nothing is lost, nothing is written elsewhere, damage is found."""

import json
import tarfile
from pathlib import Path

import pytest

from harness import parcel
from harness.errors import HarnessError

LIMITS = parcel.Limits(parts=3, part_mib=0.25, total_mib=0.7)
KIB = 1024


@pytest.fixture
def root(tmp_path: Path) -> Path:
    sizes = {"small": 1 * KIB, "empty": 0, "twin": 1 * KIB, "large": 300 * KIB, "late": 400 * KIB}
    for name, size in sizes.items():
        path = tmp_path / "here" / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(i % 251 for i in range(size)))
    return tmp_path / "here"


def files(root: Path) -> list[Path]:
    return [root / "results" / name for name in ("small", "empty", "twin", "large", "late")]


def test_what_does_not_fit_comes_next_time_and_is_joined(root: Path, tmp_path: Path):
    sent: set[str] = set()
    there, waiting = tmp_path / "there", tmp_path / "waiting"
    left = parcel.pack(root, files(root), tmp_path / "first", "results", LIMITS, sent)
    assert {piece.path for piece in left} == {"results/late"}
    first = sorted((tmp_path / "first").iterdir())
    assert len(first) <= 3
    assert all(p.stat().st_size <= 0.25 * parcel.MIB for p in first)
    placed, incomplete = parcel.unpack(first, there, waiting)
    assert {p.name for p in placed} == {"small", "empty", "twin", "large"}
    assert incomplete in ([], ["results/late"])

    assert parcel.pack(root, files(root), tmp_path / "second", "results", LIMITS, sent) != left
    placed, incomplete = parcel.unpack(sorted((tmp_path / "second").iterdir(), reverse=True), there, waiting)
    assert "results/late" not in incomplete
    for file in files(root):
        assert (there / "results" / file.name).read_bytes() == file.read_bytes()


def test_a_lost_tar_costs_only_what_is_in_it(root: Path, tmp_path: Path):
    parcel.pack(root, files(root)[:4], tmp_path / "out", "results", LIMITS, set())
    first, second = sorted((tmp_path / "out").iterdir())
    placed, incomplete = parcel.unpack([first], tmp_path / "there", tmp_path / "waiting")
    assert {p.name for p in placed} == {"small", "empty", "twin"}
    assert incomplete == ["results/large"]
    placed, incomplete = parcel.unpack([second], tmp_path / "there", tmp_path / "waiting")
    assert ([p.name for p in placed], incomplete) == (["large"], [])
    assert not list((tmp_path / "waiting").iterdir())


def test_damage_is_found(root: Path, tmp_path: Path):
    parcel.pack(root, files(root)[:3], tmp_path, "results", LIMITS, set())
    tar = tmp_path / "results.1.tar"
    good = tar.read_bytes()
    at = good.rindex(bytes(range(100)))
    tar.write_bytes(good[:at] + bytes([1]) + good[at + 1 :])
    with pytest.raises(HarnessError, match="sha256"):
        parcel.unpack([tar], tmp_path / "a", tmp_path / "b")
    tar.write_bytes(good[: len(good) // 3])
    with pytest.raises(HarnessError, match="truncated"):
        parcel.unpack([tar], tmp_path / "c", tmp_path / "d")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("path", ["/etc/x", "results/../../x", "elsewhere/x", "results"])
def test_nothing_is_written_outside(tmp_path: Path, path: str):
    piece = {"path": path, "offset": 0, "size": 0, "total": 0, "sha256": "0" * 64}
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": 1, "pieces": [piece]}))
    (tmp_path / "0000").write_text("")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in ("manifest.json", "0000"):
            archive.add(tmp_path / name, arcname=name)
    with pytest.raises(HarnessError, match="outside"):
        parcel.unpack([tmp_path / "x.tar"], tmp_path / "root", tmp_path / "waiting")
