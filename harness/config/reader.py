"""YAML read into frozen dataclasses; whatever a field does not allow is an error that names the place and the fix."""

import contextlib
import dataclasses
import functools
import math
import reprlib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from harness.config.ranges import LARGEST, NAME
from harness.config.yaml_file import read_yaml as read_yaml
from harness.errors import HarnessError, nearest
from harness.files import sha256_json

T = TypeVar("T")

# Keys of earlier versions, refused with their new name.
RENAMED = {
    "critic": "discriminator",
    "critic_batch": "discriminator_batch",
    "critic_optimiser": "discriminator_optimiser",
}


def read(cls: type[T], value: Any, where: str) -> T:
    """Build frozen dataclass `cls` from nested mappings.

    Numbers are finite, whole numbers at most 2^53; what else a field allows stands in its type (`config.ranges`).

    Raises:
        HarnessError: an unknown key (with the nearest valid one), a missing key, or a value that its field does not
            allow, naming `where`.
    """
    return typing.cast(T, convert(cls, value, where))


def check_name(name: Any, where: str) -> str:
    """Return `name` if it can be a path, a stage name and a word of a shell command.

    Raises:
        HarnessError: names `where`.
    """
    problem = NAME.problem(name) if isinstance(name, str) else "must be text"
    if problem:
        raise HarnessError(f"{where}: the name {shown(name)} {problem}.")
    return str(name)


def shown(value: Any) -> str:
    """Return a value as a message shows it: its representation, shortened."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 80
    return short.repr(value)


def convert(kind: Any, value: Any, where: str) -> Any:
    """Return `value` as the type `kind`, which may be anything that a field's annotation may be; see `read`.

    Raises:
        HarnessError: `kind` does not allow the value; names `where`.
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        converted = convert(args[0], value, where)
        for check in args[1:]:
            if problem := check.problem(converted):
                raise HarnessError(f"{where}: {shown(value)} {problem}.")
        return converted
    if origin is typing.Literal:
        return _choice(args, value, where)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        return convert(next(a for a in args if a is not type(None)), value, where)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where)
    if origin is tuple or origin in SEQUENCES:
        return _sequence(args if origin is tuple else (args[0], ...), value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise HarnessError(f"{where}: expected a mapping, got {shown(value)}.")
        return {convert(args[0], k, f"{where}: key"): convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if kind is Any:
        return value
    return _scalar(kind, value, where)


SEQUENCES = (typing.get_origin(typing.Sequence[int]), list)


def _sequence(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise HarnessError(f"{where}: expected a list, got {shown(value)}.")
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(value) != len(kinds):
        raise HarnessError(f"{where}: expected {len(kinds)} values, got {shown(value)}.")
    return tuple(convert(kind, v, f"{where}[{i}]") for i, (kind, v) in enumerate(zip(kinds, value, strict=True)))


def _choice(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    names = [str(choice) for choice in choices]
    hint = nearest(value, names) if isinstance(value, str) else f" Valid: {', '.join(names)}."
    raise HarnessError(f"{where}: {shown(value)} is unknown.{hint}")


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind in (int, float) and isinstance(value, str):  # YAML reads 1e-4 as text
        with contextlib.suppress(ValueError):
            value = float(value) if len(value) < 50 else value
    if isinstance(value, float) and not math.isfinite(value):
        raise HarnessError(f"{where}: {value} is not a finite number.")
    if kind is float and type(value) is int and abs(value) <= LARGEST:
        return float(value)
    if kind is int and isinstance(value, float) and value == int(value):
        value = int(value)
    if type(value) is not kind:
        what = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}.get(kind, kind.__name__)
        raise HarnessError(f"{where}: expected {what}, got {shown(value)}.")
    if kind is int and abs(value) > LARGEST:
        raise HarnessError(f"{where}: {shown(value)} is too large.")
    return value


@functools.cache
def _fields(cls: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the types of a dataclass's fields, and the names of those without a default."""
    required = [
        f.name
        for f in dataclasses.fields(cls)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    return typing.get_type_hints(cls, include_extras=True), required


def _dataclass(cls: Any, value: Any, where: str) -> Any:
    if isinstance(value, cls):
        return value
    hints, required = _fields(cls)
    if not isinstance(value, Mapping):
        raise HarnessError(f"{where}: expected a mapping with keys {', '.join(hints)}, got {shown(value)}.")
    check_keys(value, hints, where)
    for name in required:
        if name not in value:
            raise HarnessError(f"{where}: missing key '{name}'.")
    return cls(**{key: convert(hints[key], v, f"{where}.{key}") for key, v in value.items()})


def check_keys(value: Mapping[Any, Any], valid: Iterable[str], where: str) -> None:
    """Refuse keys that are not in `valid`.

    Raises:
        HarnessError: with the key's new name, or the nearest valid one.
    """
    valid = set(valid)
    for key in value:
        if key in valid:
            continue
        if RENAMED.get(key) in valid:
            raise HarnessError(f"{where}: '{key}' is called '{RENAMED[key]}' now; rename it.")
        raise HarnessError(f"{where}: unknown key {shown(key)}.{nearest(str(key), valid)}")


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `changes` over `base`, mapping by mapping; other values are replaced whole."""
    out = dict(base)
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(out.get(key), Mapping):
            out[key] = merge(out[key], value)
        else:
            out[key] = value
    return out


def digest(value: Any) -> str:
    """Return the first 16 hexadecimal digits of the sha256 of a JSON-able value (or dataclass) with sorted keys."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    return sha256_json(value)[:16]
