"""The seal of a record: `sha256`, the digest of its other entries, so that a change shows when the record is read."""

from pathlib import Path
from typing import Any, TypeVar

from harness.config import reader
from harness.errors import HarnessError
from harness.files import read_json, sha256_json

KEY = "sha256"
T = TypeVar("T")


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with the seal of its entries; an old seal is replaced."""
    entries = {key: value for key, value in record.items() if key != KEY}
    return entries | {KEY: sha256_json(entries)}


def read(kind: type[T], path: Path, remedy: str) -> T:
    """Read a sealed record of a type, which validates itself.

    Args:
        remedy: a sentence for every message: what to do about a record that is not sound.

    Raises:
        HarnessError: missing, not JSON, no seal, changed since it was sealed, an unknown or missing key, a wrong type
            or an impossible value.
    """
    entries = opened(path, read_json(path), remedy)
    try:
        return reader.read(kind, entries, str(path))
    except HarnessError as error:
        text = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise HarnessError(f"{text} {remedy}") from None


def opened(path: Path, record: Any, remedy: str) -> dict[str, Any]:
    """Return the entries of a sealed record without the seal; see `read`, which validates them, too.

    Args:
        path: where it was read, for the message.
        record: what was read there.
    """
    if not isinstance(record, dict):
        raise HarnessError(f"{path}: not a record of this harness, which is a mapping. {remedy}")
    entries = {key: value for key, value in record.items() if key != KEY}
    if KEY not in record:
        raise HarnessError(
            f"{path}: has no seal (`{KEY}`): it is no record of this harness, or one of an earlier version. {remedy}"
        )
    if record[KEY] != (found := sha256_json(entries)):
        raise HarnessError(
            f"{path}: changed since it was written: its digest is {found}, it says {record[KEY]}. {remedy}"
        )
    return entries
