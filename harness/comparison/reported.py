"""The ledger: reported scores and their protocols as data (`results/reported`), checked against a schema when read."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.config import reader
from harness.errors import HarnessError, nearest
from harness.paths import Checkout

FIELDS = (
    "split",
    "crop",
    "n_fake",
    "n_real",
    "layer",
    "inception",
    "resizer",
    "quantisation",
    "is_splits",
    "is_bias",
    "ema",
    "snapshot",
)


@dataclass(frozen=True)
class Column:
    """One column of the ledger. `type`: text, name (text without '/'), choice, integer, number or protocol."""

    type: str
    required: bool = False
    values: tuple[str, ...] = ()
    about: str = ""


@dataclass(frozen=True)
class Schema:
    """What the ledger's files may hold (`schema.yaml`)."""

    columns: dict[str, Any]
    key: tuple[str, ...]
    confidence: dict[str, str]


@dataclass(frozen=True)
class Field:
    """One field of a reported protocol: `stated` (one value), `presumed` (likeliest first) or `unknown` (none)."""

    kind: str
    values: tuple[Any, ...]
    because: str


@dataclass(frozen=True)
class Protocol:
    """How a reported number was scored."""

    name: str
    about: str
    fields: dict[str, Field]


@dataclass(frozen=True)
class Same:
    """Values of a field that are not counted as a difference."""

    field: str
    values: tuple[Any, ...]
    because: str


@dataclass(frozen=True)
class Effect:
    """Bounds of what a presumed field does to a score, added to the reported value.

    `share` is times the reported value, going from the first of `values` to the second; `per_image` is times
    (1/n_measured - 1/n_reported).
    """

    field: str
    metric: str
    because: str
    values: tuple[Any, ...] = ()
    share: tuple[float, float] | None = None
    per_image: tuple[float, float] | None = None


@dataclass(frozen=True)
class Ledger:
    """Reported scores: `rows` has the schema's columns, `printed` (value ± std as in the source) and `link`."""

    rows: pd.DataFrame
    protocols: dict[str, Protocol]
    same: tuple[Same, ...]
    effects: tuple[Effect, ...]
    released: tuple[str, ...]  # recipes whose weights are the authors' own


def load(folder: Path | None = None) -> Ledger:
    """Read every `*.csv` of `folder` (default: the checkout's ledger) with its `schema.yaml` and `protocols.yaml`.

    Raises:
        HarnessError: an unknown column or value, a missing value or a repeated row, with file and line; a protocol that
            leaves a field out.
    """
    folder = folder if folder is not None else Checkout.find().reported
    schema_file = folder / "schema.yaml"
    schema = reader.read(Schema, reader.read_yaml(schema_file), str(schema_file))
    columns = {name: reader.read(Column, c, f"{schema_file}: {name}") for name, c in schema.columns.items()}
    protocols, same, effects, released = load_protocols(folder / "protocols.yaml")
    rows: list[dict[str, Any]] = []
    seen: dict[tuple[str, ...], str] = {}
    for path in sorted(folder.glob("*.csv")):
        for where, raw in _lines(path, columns):
            row = {name: _value(where, name, column, raw[name], protocols) for name, column in columns.items()}
            key = tuple(raw[name] for name in schema.key)
            if key in seen:
                raise HarnessError(
                    f"{where}: the same row as {seen[key]} ({', '.join(key)}); tell them apart by `variant`."
                )
            seen[key] = where
            row["printed"] = raw["value"] + (f" ± {raw['std']}" if raw["std"] else "")
            row["link"] = "/".join((raw["table"], raw["model"], raw["variant"])).rstrip("/")
            rows.append(row)
    if not rows:
        raise HarnessError(f"{folder}: no ledger (*.csv) here.")
    frame = pd.DataFrame(rows, columns=[*columns, "printed", "link"])
    return Ledger(frame.astype({"resolution": "Int64"}), protocols, same, effects, released)


def _lines(path: Path, columns: dict[str, Column]) -> list[tuple[str, dict[str, str]]]:
    with open(path, newline="", encoding="utf-8") as handle:
        reader = csv.reader(handle)
        header = next(reader, [])
        for name in header:
            if name not in columns:
                raise HarnessError(f"{path}, line 1: unknown column '{name}'.{nearest(name, columns)}")
        missing = [name for name in columns if name not in header]
        if missing:
            raise HarnessError(f"{path}, line 1: missing column {', '.join(missing)}.")
        out = []
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            if len(cells) != len(header):
                raise HarnessError(
                    f"{where}: {len(cells)} cells under {len(header)} columns; quote a cell with a comma."
                )
            out.append((where, dict(zip(header, cells, strict=True))))
        return out


def _value(where: str, name: str, column: Column, text: str, protocols: dict[str, Protocol]) -> Any:
    if not text:
        if column.required:
            raise HarnessError(f"{where}: `{name}` is empty.")
        return None if column.type in ("integer", "number") else ""
    if column.type in ("integer", "number"):
        try:
            return int(text) if column.type == "integer" else float(text)
        except ValueError:
            raise HarnessError(f"{where}: `{name}` is '{text}', expected {column.type}.") from None
    valid = column.values if column.type == "choice" else protocols if column.type == "protocol" else (text,)
    if text not in valid:
        raise HarnessError(f"{where}: unknown {name} '{text}'.{nearest(text, valid)}")
    if column.type == "name" and "/" in text:
        raise HarnessError(f"{where}: `{name}` is '{text}'; '/' separates the parts of a link, write it otherwise.")
    return text


def load_protocols(
    path: Path,
) -> tuple[dict[str, Protocol], tuple[Same, ...], tuple[Effect, ...], tuple[str, ...]]:
    """Read the protocols of reported rows, differences that do not count, effects of presumptions, released weights.

    Raises:
        HarnessError: an unknown key or kind of field, or a protocol that leaves a field out.
    """
    entries = reader.read_yaml(path)
    same = tuple(reader.read(Same, v, f"{path}: same[{i}]") for i, v in enumerate(entries.pop("same", [])))
    effects = tuple(reader.read(Effect, v, f"{path}: effects[{i}]") for i, v in enumerate(entries.pop("effects", [])))
    released = tuple(entries.pop("released_weights", []))
    protocols = {}
    for name in entries:
        value = _resolved(name, entries, path)
        where = f"{path}: {name}"
        for key in value:
            if key not in (*FIELDS, "about"):
                raise HarnessError(f"{where}: unknown field '{key}'.{nearest(key, FIELDS)}")
        for key in (*FIELDS, "about"):
            if key not in value:
                raise HarnessError(f"{where}: says nothing about `{key}`; write {{unknown: why}} if nothing is known.")
        fields = {key: _field(value[key], f"{where}.{key}") for key in FIELDS}
        protocols[name] = Protocol(name, value["about"], fields)
    return protocols, same, effects, released


def _resolved(name: str, entries: dict[str, Any], path: Path) -> dict[str, Any]:
    own = entries[name]
    base = own.get("based_on")
    if base is None:
        return own
    others = {k: v for k, v in entries.items() if k != name}  # without itself: a circle ends in "not there"
    if base not in others:
        raise HarnessError(f"{path}: {name}: based_on '{base}', which is not there.{nearest(base, others)}")
    inherited = _resolved(base, others, path)
    return {**inherited, **{k: v for k, v in own.items() if k != "based_on"}}


def _field(value: Any, where: str) -> Field:
    if isinstance(value, dict):
        if set(value) == {"stated"}:
            return Field("stated", (value["stated"],), "")
        if set(value) == {"presumed", "because"} and isinstance(value["presumed"], list) and value["presumed"]:
            return Field("presumed", tuple(value["presumed"]), value["because"])
        if set(value) == {"unknown"}:
            return Field("unknown", (), value["unknown"])
    raise HarnessError(
        f"{where}: got {value!r}; write {{stated: value}}, {{presumed: [values], because: why}} or {{unknown: why}}."
    )


def find(ledger: Ledger, link: str) -> pd.DataFrame:
    """Rows that a link `table/model/variant` names: one per metric.

    Raises:
        HarnessError: no such row; the message has the nearest one.
    """
    link = link.rstrip("/")
    rows = ledger.rows[ledger.rows["link"] == link]
    if rows.empty:
        raise HarnessError(f"no ledger row '{link}'.{nearest(link, set(ledger.rows['link']))}")
    return rows


def short(protocol: Protocol) -> str:
    """A protocol in a few words, e.g. `50k/20k? vs 50k train`; `?` marks what is presumed, `—` what is unknown."""

    def words(name: str) -> str:
        field = protocol.fields[name]
        if field.kind == "unknown":
            return "—"
        values = [f"{v // 1000}k" if isinstance(v, int) and v % 1000 == 0 else str(v) for v in field.values]
        return "/".join(values) + ("?" if field.kind == "presumed" else "")

    return f"{words('n_fake')} vs {words('n_real')} {words('split')}"
