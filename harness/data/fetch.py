"""Where a data set comes from: the packed array already there, HARNESS_DATA, an earlier download, the official one."""

import functools
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from harness import progress
from harness.data import celeba, cifar10, folder, standin, stl10
from harness.data.card import Definition, definition
from harness.data.pack import check_place, exclusive, pack, packed_card
from harness.data.source import Source, check_md5
from harness.errors import HarnessError
from harness.paths import INSTALLED, Checkout

ENVIRONMENT = "HARNESS_DATA"
SOURCES = {"cifar10": cifar10, "stl10": stl10, "celeba": celeba}
TIMEOUT_SEC = 60  # without any byte from the host


def prepare(name: str, out: Path, root: Path) -> dict[str, Any]:
    """Make sure that data set `name` stands packed and verified under `out`; return its card.

    One process works on `out`, others wait for it and find the packed array.

    Raises:
        HarnessError: unknown name, nothing to make it from, or something that is not the official data.
    """
    entry, out = definition(name, root), Path(os.path.abspath(out))
    if out.exists() and not out.is_dir():
        raise HarnessError(f"{out}: is a file; name the folder to write with --out.")
    with exclusive(out.parent / f".{out.name}.lock", f"packing {name}"):
        check_place(name, out)
        card = packed_card(name, entry, out)
        if card is not None and entry.source == "folder" and not _unchanged(card, entry, root):
            print(f"{out}: files of {entry.path} were changed since; packing it again.", file=sys.stderr)
            card = None
        return card if card is not None else pack(name, entry, open_source(name, entry, root), out)


def _unchanged(card: dict[str, Any], entry: Definition, root: Path) -> bool:
    return folder.state(_users_path(entry.path, root), entry).items() <= card.items()


def open_source(name: str, entry: Definition, root: Path) -> Source:
    """Open what data set `name` is made from, downloading it if nothing local is found.

    Raises:
        HarnessError: nothing found and the download failed (the message says what to put where), or other data found.
    """
    if entry.source == "standin":
        return _drawn(entry)
    if entry.source == "folder":
        return folder.open_source(_users_path(entry.path, root), entry)
    path = _find(entry, _local_folder()) or _find(entry, _downloads(entry, root)) or _download(name, entry, root)
    print(f"{name}: reading {path}", file=sys.stderr)
    return folder.open_npz(path) if path.suffix == ".npz" else SOURCES[entry.source].open_source(path, entry)


def _drawn(entry: Definition) -> Source:
    assert entry.count is not None, "definitions() demands a count"
    pictures = (
        (image, int(label))
        for images, labels in standin.chunks(entry.count, entry.resolution)
        for image, label in zip(images, labels, strict=True)
    )
    return Source(entry.count, pictures, "drawn by harness.data.standin")


def _users_path(path: str, root: Path) -> Path:
    local = _local_folder()
    if local is not None and (local / path).exists():
        return local / path
    return (Path.cwd() if root == INSTALLED else root) / path


def _local_folder() -> Path | None:
    value = os.environ.get(ENVIRONMENT)
    if not value:
        return None
    if not Path(value).is_dir():
        raise HarnessError(
            f"{ENVIRONMENT}={value}: no such folder; name the folder that holds the archives, or unset it."
        )
    return Path(value)


def _find(entry: Definition, place: Path | None) -> Path | None:
    """Return the best of `entry.local` in `place`; `place` may also be the extracted folder itself."""
    if place is None:
        return None
    if place.name in entry.local:
        return place
    return next((place / name for name in entry.local if (place / name).exists()), None)


def local_source(entry: Definition, root: Path) -> Path | None:
    """Return the archive, folder or npz on this machine that a data set would be made from; None: there is none."""
    if entry.source == "folder":
        path = _users_path(entry.path, root)
        return path if path.exists() else None
    return _find(entry, _local_folder()) or _find(entry, _downloads(entry, root))


def _downloads(entry: Definition, root: Path) -> Path:
    return Checkout(root).cache / "downloads" / entry.source


def _download(name: str, entry: Definition, root: Path) -> Path:
    """Fetch the official files through torchvision; their folder gets its final name once they are whole."""
    final = _downloads(entry, root)
    part = final.with_name(f"{final.name}.part")  # after a kill: whole files in it are kept, half ones fetched again
    with exclusive(final.with_name(f"{final.name}.lock"), f"downloading {name}"):
        found = _find(entry, final)  # by the process that was waited for
        if found is None:
            print(f"{name}: {_looked_in(entry)}downloading the official files to {final}", file=sys.stderr)
            part.mkdir(parents=True, exist_ok=True)
            with _explained(name, entry, part), _timeout(), redirect_stdout(sys.stderr), _shown(name):
                SOURCES[entry.source].download(part)
                _verify(entry, part)
            _drop_extracted(entry, part)
            os.replace(part, final)
            found = _find(entry, final)
    assert found is not None, "the official archive lies where torchvision puts it"
    return found


def _verify(entry: Definition, part: Path) -> None:
    """Compare what came with the definition's md5s before it gets its name; another file is removed."""
    wanted = {entry.archive: entry.archive_md5, **(entry.members if entry.source == "celeba" else {})}
    for name, md5 in wanted.items():
        file = next(part.rglob(name), None)
        if file is None:
            raise HarnessError(f"{name} did not come")
        try:
            check_md5(file, md5)
        except HarnessError:
            file.unlink()
            raise


def _drop_extracted(entry: Definition, part: Path) -> None:
    """Remove what torchvision extracted to check it: the archive beside it is what is read."""
    for name in entry.local:
        if (part / name).is_dir():
            shutil.rmtree(part / name)


@contextmanager
def _explained(name: str, entry: Definition, part: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # torchvision, gdown and urllib share no exception class
        why = f"{type(error).__name__}: {str(error).strip() or 'no reason given'}".rstrip(".")
        archive = next(part.rglob(entry.archive), None)
        if archive is not None and _is_page(archive):
            archive.unlink()
            why += "; the host sent a web page instead of the file, as Google Drive does when its quota is used up"
        needed = " and ".join([entry.archive, *(m for m in entry.members if entry.source == "celeba")])
        extra = " (for CelebA: pip install 'transgan-bench[celeba]')" if "gdown" in why else ""
        place = _local_folder()
        into = f"put it in {place}" if place else f"put it in a folder and set {ENVIRONMENT} to that folder"
        raise HarnessError(
            f"{name}: {_looked_in(entry)}the official download failed ({why}){extra}. "
            f"Get {needed} by other means and {into}."
        ) from error


def _looked_in(entry: Definition) -> str:
    """Say that HARNESS_DATA has none of a data set's files, where it is set."""
    place = _local_folder()
    return f"{ENVIRONMENT}={place} holds none of {', '.join(entry.local)}; " if place else ""


def _is_page(path: Path) -> bool:
    with open(path, "rb") as handle:
        return b"<html" in handle.read(2048).lower()


@contextmanager
def _shown(name: str) -> Iterator[None]:
    """Let torchvision's downloads show themselves by our bar, which writes whole lines into a log."""
    from torchvision.datasets import utils

    before = utils.tqdm
    utils.tqdm = functools.partial(progress.Bar, desc=name)
    try:
        yield
    finally:
        utils.tqdm = before


@contextmanager
def _timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SEC)  # torchvision sets none
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
