"""What a word on the command line stands for: a packed data set by its name, or a path."""

import re
from pathlib import Path

from harness.config.ranges import NAME
from harness.data.card import definitions
from harness.data.packed import CARD
from harness.errors import HarnessError, nearest
from harness.paths import Checkout


def find_samples(samples: Path, root: Path | None = None) -> Path:
    """Return the path of samples; a bare name of a data set is that data set.

    Raises:
        HarnessError: as `data_set`.
    """
    return data_set(str(samples), root) or samples


def find_reference(reference: str, root: Path | None = None) -> Path:
    """Return the path of a reference given as a path or as the name of a packed data set of the checkout.

    Raises:
        HarnessError: neither, with the nearest name; or as `data_set`.
    """
    found = data_set(reference, root)
    if found is not None or Path(reference).exists():
        return found or Path(reference)
    checkout = _checkout(root)
    folder, known, name = _folder(checkout), _known(checkout), Path(reference).name
    if name in known:
        there = (folder / name / CARD).is_file()
        what = f"no such file or folder; data set {name} lies in {folder / name}" if there else _unpacked(name)
        raise HarnessError(f"{reference}: {what}.")
    hint = " Data sets have names inside a checkout: change into one, or name it with --root DIR."
    hint = nearest(name, known) if known else hint
    raise HarnessError(f"reference {reference}: no such file, folder or data set in {folder}.{hint}")


def data_set(word: str, root: Path | None = None) -> Path | None:
    """Return the folder of the packed data set whose name `word` is; None if it is no such name.

    Raises:
        HarnessError: a data set that is defined and not packed; or as `is_data_set`.
    """
    if not is_data_set(word, root):
        return None
    folder = _folder(_checkout(root)) / word
    if not (folder / CARD).is_file():
        raise HarnessError(f"{word}: {_unpacked(word)}.")
    return folder


def is_data_set(word: str, root: Path | None = None) -> bool:
    """Return whether a bare word is the name of a data set, defined or packed; `./NAME` is always a path.

    Raises:
        HarnessError: the working folder holds something else of that name; definitions that cannot be read.
    """
    if not re.fullmatch(NAME.pattern, word, re.ASCII):
        return False
    checkout = _checkout(root)
    if word not in _known(checkout):
        return False
    folder, path = _folder(checkout) / word, Path(word)
    if path.exists() and path.resolve() != folder.resolve():
        raise HarnessError(
            f"{word}: is a data set, {folder}, and a path in {Path.cwd()}; give ./{word} for the path or {folder} for "
            "the data set, or rename the path."
        )
    return True


def _unpacked(name: str) -> str:
    return f"not packed yet: `harness data {name}`"


def _checkout(root: Path | None) -> Checkout | None:
    """Return the checkout whose data sets have names; None outside of one."""
    try:
        return Checkout.find(root)
    except HarnessError:
        if root is not None:
            raise
        return None


def _folder(checkout: Checkout | None) -> Path:
    return checkout.data() if checkout is not None else Path("data")


def _known(checkout: Checkout | None) -> set[str]:
    """Return the names of data sets that are defined or packed."""
    defined = definitions(checkout.root) if checkout is not None else {}
    return {*defined, *(path.parent.name for path in _folder(checkout).glob(f"*/{CARD}"))}
