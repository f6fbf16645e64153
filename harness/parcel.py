"""Files in a few tars of limited size, most important first; every tar can be read without the others."""

import io
import json
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness.errors import HarnessError
from harness.files import replacing, sha256_file

MIB = 1 << 20
MANIFEST = "manifest.json"
ROOMS = ("results", "data", ".cache")  # what may be written below the root
PER_MEMBER = 2048  # a tar header, padding to 512 bytes, and the member's line in the manifest
PER_TAR = 32 << 10  # the manifest's frame and tar's end-of-file blocks


@dataclass(frozen=True)
class Limits:
    """At most `parts` tars of `part_mib`, `total_mib` together."""

    parts: int
    part_mib: float
    total_mib: float


@dataclass(frozen=True)
class Piece:
    """Bytes `offset` to `offset + size` of the file `path` (relative to the root), which has `total` and `sha256`."""

    path: str
    offset: int
    size: int
    total: int
    sha256: str

    @property
    def key(self) -> str:
        """Name of the piece, for the list of what went out already."""
        return f"{self.path}:{self.sha256[:16]}:{self.offset}"


def pieces_of(path: Path, name: str, largest: int) -> list[Piece]:
    """Cut one file into pieces of at most `largest` bytes."""
    total, sha256 = path.stat().st_size, sha256_file(path)
    return [Piece(name, at, min(largest, total - at), total, sha256) for at in range(0, max(total, 1), largest)]


def plan(pieces: list[Piece], limits: Limits) -> tuple[list[list[Piece]], list[Piece]]:
    """Put every piece, in order, into the first tar with room for it; return the tars and what is left out."""
    tars: list[list[Piece]] = [[] for _ in range(limits.parts)]
    room = [limits.part_mib * MIB - PER_TAR] * limits.parts
    total = limits.total_mib * MIB - PER_TAR * limits.parts
    left = []
    for piece in pieces:
        need = piece.size + PER_MEMBER
        index = next((i for i, free in enumerate(room) if need <= min(free, total)), None)
        if index is None:
            left.append(piece)
            continue
        tars[index].append(piece)
        room[index] -= need
        total -= need
    return [tar for tar in tars if tar], left


def pack(root: Path, files: list[Path], out: Path, stem: str, limits: Limits, sent: set[str]) -> list[Piece]:
    """Write `files` (below `root`, most important first) to `out`/`stem`.1.tar, .2.tar, ... within the limits.

    Pieces whose key is in `sent` come last; the keys of all that is written are added to it.

    Returns:
        What did not fit.
    """
    largest = int(limits.part_mib * MIB) - PER_TAR - PER_MEMBER
    pieces = [piece for f in files for piece in pieces_of(f, f.relative_to(root).as_posix(), largest)]
    pieces.sort(key=lambda piece: piece.key in sent)  # stable: otherwise in order
    tars, left = plan(pieces, limits)
    for number, tar in enumerate(tars, 1):
        _write(root, tar, Path(out) / f"{stem}.{number}.tar")
        sent |= {piece.key for piece in tar}
    return left


def _write(root: Path, pieces: list[Piece], path: Path) -> None:
    manifest = json.dumps({"schema": 1, "pieces": [asdict(piece) for piece in pieces]}).encode()
    with replacing(path) as temporary, tarfile.open(temporary, "w") as archive:
        _add(archive, MANIFEST, manifest)
        for number, piece in enumerate(pieces):
            with open(root / piece.path, "rb") as handle:
                handle.seek(piece.offset)
                _add(archive, f"{number:04d}", handle.read(piece.size))


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


# ---------------------------------------------------------------- the other side


def unpack(tars: list[Path], root: Path, waiting: Path) -> tuple[list[Path], list[str]]:
    """Place every file that is whole below `root`; pieces of others wait in `waiting` for tars that come later.

    Returns:
        The files placed, and the names of those that still lack pieces.

    Raises:
        HarnessError: a damaged tar, a file that is not what the manifest says, or a path outside results, data, .cache.
    """
    known: dict[str, Piece] = {}
    for tar in tars:
        known |= {piece.path: piece for piece in _read(tar, waiting)}
    placed: list[Path] = []
    incomplete: list[str] = []
    done: list[Path] = []
    for name, piece in known.items():
        parts = sorted(waiting.glob(f"{piece.sha256}.*"), key=lambda part: int(part.suffix[1:]))
        if sum(part.stat().st_size for part in parts) != piece.total:
            incomplete.append(name)
            continue
        target = root / name
        with replacing(target) as temporary:
            with open(temporary, "wb") as handle:
                for part in parts:
                    handle.write(part.read_bytes())
            if sha256_file(temporary) != piece.sha256:
                raise HarnessError(f"{name}: its pieces do not have the sha256 of the manifest; copy the tars again.")
        placed.append(target)
        done += parts
    for part in set(done):  # only now: two files may have the same content
        part.unlink()
    return placed, incomplete


def _read(tar: Path, waiting: Path) -> list[Piece]:
    try:
        with tarfile.open(tar) as archive:
            pieces = [_checked(value, tar) for value in json.loads(_member(archive, MANIFEST))["pieces"]]
            for number, piece in enumerate(pieces):
                data = _member(archive, f"{number:04d}")
                if len(data) != piece.size:
                    raise HarnessError(f"{tar}: {piece.path} is cut short; copy the tar again.")
                with replacing(waiting / f"{piece.sha256}.{piece.offset}") as temporary:
                    temporary.write_bytes(data)
    except (tarfile.TarError, EOFError, KeyError, ValueError, TypeError, OSError) as error:
        raise HarnessError(f"{tar}: missing, truncated or not written by `harness launch` ({error}).") from None
    return pieces


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    handle = archive.extractfile(name)
    assert handle is not None, "members are regular files"
    return handle.read()


def _checked(value: dict[str, Any], tar: Path) -> Piece:
    piece = Piece(**value)
    place = PurePosixPath(piece.path)
    if place.is_absolute() or ".." in place.parts or place.parts[0] not in ROOMS or len(place.parts) < 2:
        raise HarnessError(f"{tar}: {piece.path} would be written outside {', '.join(ROOMS)}; do not trust this file.")
    if not (len(piece.sha256) == 64 and piece.sha256.isalnum()):
        raise HarnessError(f"{tar}: '{piece.sha256}' is no sha256; do not trust this file.")
    return piece
