"""One opened source: how many images it holds, and the images one by one, so that packing never holds many at once."""

import gzip
import hashlib
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np

from harness import progress
from harness.data.card import Definition
from harness.errors import HarnessError

_AT_ONCE = 1 << 26  # bytes unpacked by one read
Picture = tuple[np.ndarray, int | None]  # uint8 [H, W, 3], class or None


@dataclass(frozen=True)
class Source:
    """What is packed. `pictures` must yield `count` images, no more and no fewer. `verified`: the checks passed."""

    count: int
    pictures: Iterator[Picture]
    origin: str  # for the card: what was read, without machine-specific paths
    archive_sha256: str | None = None
    verified: tuple[str, ...] = ()
    card: Mapping[str, str | None] = field(default_factory=dict)  # more of what was read, for the card

    def first(self, count: int) -> "Source":
        """Return the source of its first `count` images; the others are not read."""
        return replace(self, count=count, pictures=islice(self.pictures, count))


def hash_file(path: Path) -> tuple[str, str]:
    """Return md5 (what archives publish) and sha256 of a file, read once."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with open(path, "rb") as handle, progress.brief(path.stat().st_size, "B", f"checking {path.name}") as bar:
        while chunk := handle.read(1 << 20):
            md5.update(chunk)
            sha256.update(chunk)
            bar.update(len(chunk))
    return md5.hexdigest(), sha256.hexdigest()


def check_md5(path: Path, expected: str) -> str:
    """Return the sha256 of `path` after comparing its md5 with the published one (nothing is compared with "").

    Raises:
        HarnessError: another file, a truncated one, or a web page saved in its place.
    """
    md5, sha256 = hash_file(path)
    if expected and md5 != expected:
        with open(path, "rb") as handle:
            page = b"<html" in handle.read(2048).lower()
        what = (
            "it is a web page, probably the download quota page of the host"
            if page
            else f"truncated ({path.stat().st_size:,} bytes) or another file"
        )
        raise HarnessError(
            f"{path}: md5 is {md5}, the official file has {expected}: {what}. "
            "Delete it and put the official file in its place."
        )
    return sha256


def check_members(folder: Path, members: Mapping[str, str]) -> None:
    """Compare every file of an extracted archive that will be read with its published md5.

    Raises:
        HarnessError: a file is missing or is not the official one.
    """
    for name, md5 in members.items():
        if not (folder / name).is_file():
            raise HarnessError(f"{folder / name}: no such file; extract the official archive again.")
        check_md5(folder / name, md5)


@contextmanager
def open_member(path: Path, folder: str, name: str) -> Iterator[IO[bytes]]:
    """Open `name` of an extracted folder, or `folder/name` of a tar archive as a stream (one pass, nothing extracted).

    Raises:
        HarnessError: the archive has no such member.
    """
    if path.is_dir():
        with open(path / name, "rb") as handle:
            yield handle
        return
    with _Limited(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        for info in archive:
            if info.name.removeprefix("./") == f"{folder}/{name}":
                member = archive.extractfile(info) if info.isreg() and not info.issparse() else None
                if member is None:
                    raise HarnessError(f"{path}: {info.name} is no ordinary file; it is not the official archive.")
                yield member
                return
    raise HarnessError(f"{path}: has no member {folder}/{name}; it is not the official archive.")


class _Limited(gzip.GzipFile):
    """A gzip stream that refuses to unpack much at once: a header of an archive may state any size for itself."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _AT_ONCE:
            raise ValueError(f"a read of {size:,} bytes" if size is not None and size >= 0 else "a read of all bytes")
        return super().read(size)


def read_limited(handle: IO[bytes], limit: int, name: str) -> bytes:
    """Return all bytes of a stream that should have at most `limit`.

    Raises:
        HarnessError: it has more.
    """
    data = handle.read(limit + 1)
    if len(data) > limit:
        raise HarnessError(f"{name}: has more than {limit:,} bytes; it is not the official file.")
    return data


def open_archive(path: Path, entry: Definition, pictures: Iterator[Picture]) -> Source:
    """Check an official archive, or its extracted folder, against the published md5s; `pictures` are read later.

    Raises:
        HarnessError: not the official files.
    """
    count = entry.source_count or entry.count
    assert count is not None, "definitions() demands a count"
    if path.is_dir():
        check_members(path, entry.members)
        return Source(count, pictures, f"extracted folder {path.name}", None, ("md5 of members",))
    sha256 = check_md5(path, entry.archive_md5)
    return Source(count, pictures, f"archive {path.name}", sha256, ("md5 of archive",))
