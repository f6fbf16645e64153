"""CelebA (Liu et al. 2015), aligned: JPEGs of 178 x 218 in a zip or a folder, listed in list_eval_partition.txt."""

from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

from harness.data.card import Definition
from harness.data.image_file import MAX_BYTES, decode_image, read_image
from harness.data.source import Picture, Source, check_md5, check_members, read_limited
from harness.errors import HarnessError

FOLDER = "img_align_celeba"  # inside the official zip
PARTITION = "list_eval_partition.txt"
_CONVERT = ("jpeg", "grey", "ignore-exif")  # the official files, decoded as torchvision decodes them
SPLITS = {"all": None, "train": "0", "valid": "1", "test": "2"}


def open_source(path: Path, entry: Definition) -> Source:
    """Open `img_align_celeba.zip` or the extracted folder; the official list must lie beside it.

    Raises:
        HarnessError: not the official files, or images missing.
    """
    _check_layout(path)
    check_members(path.parent, entry.members)
    names = _names(path.parent / PARTITION, entry.split)
    if path.is_dir():
        missing = [name for name in names if not (path / name).is_file()]
        if missing:
            raise HarnessError(
                f"{path}: {len(missing):,} listed images are missing, e.g. {missing[0]}; extract the zip again."
            )
        origin = f"extracted folder {path.name}"
        return Source(len(names), _from_folder(path, names), origin, None, (f"md5 of {PARTITION}",))
    sha256 = check_md5(path, entry.archive_md5)
    checks = ("md5 of archive", f"md5 of {PARTITION}")
    return Source(len(names), _from_zip(path, names), f"archive {path.name}", sha256, checks)


def _check_layout(path: Path) -> None:
    """Say what is different about a copy from elsewhere, whose images may be the official ones."""
    problems = []
    other = path.parent / "list_eval_partition.csv"
    if other.is_file() and not (path.parent / PARTITION).is_file():
        problems.append(
            f"its list is {other.name}; the official {PARTITION}, whose md5 is published, belongs beside {path.name}"
        )
    if (path / FOLDER).is_dir():
        problems.append(
            f"its images lie one folder deeper, in {path / FOLDER}; move that folder up, in place of {path}"
        )
    if problems:
        raise HarnessError(
            f"{path}: not laid out as the official files, as a copy on Kaggle: {'; and '.join(problems)}."
        )


def download(folder: Path) -> None:
    """Let torchvision fetch and check the official files (Google Drive; needs the extra `celeba`)."""
    from torchvision.datasets import CelebA

    CelebA(folder, split="all", download=True)


def _names(partition: Path, split: str) -> list[str]:
    if split not in SPLITS:
        raise HarnessError(f"CelebA has no split '{split}'. Valid: {', '.join(SPLITS)}.")
    rows = [line.split() for line in partition.read_text(encoding="ascii", errors="replace").splitlines()]
    wrong = next((row for row in rows if row and (len(row) != 2 or Path(row[0]).name != row[0])), None)
    if wrong:
        raise HarnessError(f"{partition}: '{' '.join(wrong)[:80]}' is not a file name and a part; fetch it again.")
    return [row[0] for row in rows if row and SPLITS[split] in (None, row[1])]


def _from_folder(path: Path, names: list[str]) -> Iterator[Picture]:
    for name in names:
        yield read_image(path / name, _CONVERT), None


def _from_zip(path: Path, names: list[str]) -> Iterator[Picture]:
    with ZipFile(path) as archive:
        for name in names:
            with archive.open(f"{FOLDER}/{name}") as handle:
                yield decode_image(read_limited(handle, MAX_BYTES, name), name, _CONVERT), None
