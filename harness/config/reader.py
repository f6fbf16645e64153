"""YAML read into frozen dataclasses; an unknown key is an error that names the nearest one."""

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from harness.errors import HarnessError, nearest

T = TypeVar("T")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's parser, several times faster, where it is there


def read(cls: type[T], value: Any, where: str) -> T:
    """Build frozen dataclass `cls` from nested mappings.

    Raises:
        HarnessError: an unknown key (with the nearest valid one), a missing key or a wrong type, naming `where`.
    """
    return typing.cast(T, _convert(cls, value, where))


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, where)
    if dataclasses.is_dataclass(kind):
        return _convert_dataclass(kind, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise HarnessError(f"{where}: expected a list, got {value!r}.")
        if args[-1] is Ellipsis:
            return tuple(_convert(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
        if len(value) != len(args):
            raise HarnessError(f"{where}: expected {len(args)} values, got {value!r}.")
        return tuple(_convert(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(args, value, strict=True)))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise HarnessError(f"{where}: expected a mapping, got {value!r}.")
        return {str(k): _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if kind is Any:
        return value
    if kind is float and isinstance(value, str):  # YAML reads 1e-4 as text
        try:
            return float(value)
        except ValueError:
            raise HarnessError(f"{where}: expected a number, got {value!r}.") from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float | str) and not isinstance(value, bool):
        try:
            if float(value) == int(float(value)):
                return int(float(value))
        except ValueError:
            pass
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise HarnessError(f"{where}: expected {kind.__name__}, got {value!r}.")
    return value


def _convert_dataclass(cls: Any, value: Any, where: str) -> Any:
    if isinstance(value, cls):
        return value
    if not isinstance(value, Mapping):
        raise HarnessError(
            f"{where}: expected a mapping with keys {', '.join(f.name for f in dataclasses.fields(cls))}."
        )
    hints = typing.get_type_hints(cls)
    for key in value:
        if key not in hints:
            raise HarnessError(f"{where}: unknown key '{key}'.{nearest(str(key), hints)}")
    for f in dataclasses.fields(cls):
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and f.name not in value:
            raise HarnessError(f"{where}: missing key '{f.name}'.")
    return cls(**{key: _convert(hints[key], v, f"{where}.{key}") for key, v in value.items()})


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping.

    Raises:
        HarnessError: missing file, invalid YAML, or not a mapping.
    """
    try:
        value = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=LOADER)
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such file.") from None
    except yaml.YAMLError as error:
        raise HarnessError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(value, dict):
        raise HarnessError(f"{path}: expected a mapping of names, got {type(value).__name__}.")
    return value


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
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
