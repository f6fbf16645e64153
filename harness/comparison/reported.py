"""The ledger: reported scores and their protocols as data (`results/reported`), checked against a schema when read."""

import csv
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from harness.config import reader, schema
from harness.config.reader import shown
from harness.errors import HarnessError, nearest
from harness.paths import Checkout
from harness.records import score_record

# Compared fields that no source states: the first two are columns of the ledger, the others are held against what the
# checkout itself knows (`harness.comparison.protocols`).
COLUMN_FIELDS = ("dataset", "resolution")
OWN_FIELDS = ("resize", "real_pixels_sha256", "stand_in_data", "stand_in_inception")
FIELDS = tuple(
    dict.fromkeys(
        name
        for metric in score_record.METRICS
        for name in score_record.compared_fields(metric)
        if name not in (*COLUMN_FIELDS, *OWN_FIELDS)
    )
)
CHECKED = ("checked_by", "checked_against", "checked_on")  # a confirmation: all three or none
DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
DATE = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")
PLUS_MINUS = " ± "  # between a value and its std, as sources print them
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")


@dataclass(frozen=True)
class Column:
    """One column of the ledger. A name is text without '/'; `minimum` is for numbers."""

    type: Literal["text", "name", "choice", "integer", "number", "protocol", "date"]
    required: bool = False
    values: tuple[str, ...] = ()
    minimum: float | None = None
    about: str = ""


@dataclass(frozen=True)
class Schema:
    """What the ledger's files may hold (`schema.yaml`)."""

    columns: dict[str, Column]
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
    """How a reported number was scored. `scored_as`: the named protocol of `experiments/protocols` that scores so."""

    name: str
    about: str
    fields: dict[str, Field]
    scored_as: str | None = None


@dataclass(frozen=True)
class EquivalentValues:
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
class Aids:
    """What `protocols.yaml` holds beside protocols."""

    same: tuple[EquivalentValues, ...] = ()
    effects: tuple[Effect, ...] = ()
    released_weights: tuple[str, ...] = ()  # recipes whose weights are the authors' own


@dataclass(frozen=True)
class Ledger:
    """Reported scores.

    `rows` has the schema's columns, `printed` (value ± std as in the source), `link` (the row's name), `file`, `line`.
    """

    rows: pd.DataFrame
    protocols: dict[str, Protocol]
    aids: Aids


def load(folder: Path | None = None) -> Ledger:
    """Read every `*.csv` of `folder` (default: the checkout's ledger) with its `schema.yaml` and `protocols.yaml`.

    Raises:
        HarnessError: an unknown column or value, a missing value, a number out of range or a repeated row, with file
            and line; a protocol that leaves a field out.
    """
    folder = folder if folder is not None else Checkout.find().reported
    schema = _load_schema(folder / "schema.yaml")
    protocols, aids = load_protocols(folder / "protocols.yaml")
    rows: list[dict[str, Any]] = []
    seen: dict[tuple[str, ...], str] = {}
    for path in sorted(folder.glob("*.csv")):
        for line, raw in _lines(path, schema.columns):
            where = f"{path}, line {line}"
            row = {
                name: checked_cell(where, name, column, raw[name], protocols) for name, column in schema.columns.items()
            }
            key = tuple(raw[name] for name in schema.key)
            if key in seen:
                raise HarnessError(
                    f"{where}: the same row as {seen[key]} ({', '.join(key)}); tell them apart by `variant`."
                )
            seen[key] = where
            row["printed"] = raw["value"] + (f"{PLUS_MINUS}{raw['std']}" if raw["std"] else "")
            row["link"] = "/".join((raw["table"], raw["model"], raw["variant"])).rstrip("/")
            _check_confirmation(where, row)
            rows.append(row | {"file": path.name, "line": line})
    if not rows:
        raise HarnessError(f"{folder}: no ledger (*.csv) here.")
    frame = pd.DataFrame(rows, columns=[*schema.columns, "printed", "link", "file", "line"])
    return Ledger(frame.astype({"resolution": "Int64"}), protocols, aids)


def _check_confirmation(where: str, row: Mapping[str, Any]) -> None:
    """Refuse a confirmation that lacks a part, or that a row has without being verified."""
    said = [name for name in CHECKED if row[name]]
    if said and (len(said) < len(CHECKED) or row["confidence"] != "verified"):
        raise HarnessError(f"{where}: `{said[0]}` is set; a checked row has {', '.join(CHECKED)} and is verified.")


def load_columns(folder: Path) -> dict[str, Column]:
    """Read the columns of a ledger, by name; see `load`."""
    return _load_schema(folder / "schema.yaml").columns


def _load_schema(path: Path) -> Schema:
    found = reader.read(Schema, reader.read_yaml(path), str(path))
    for name in found.key:
        if name not in found.columns:
            raise HarnessError(f"{path}: key: unknown column '{name}'.{nearest(name, found.columns)}")
    return found


def _lines(path: Path, columns: dict[str, Column]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a file with the number of their line."""
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            rows = csv.reader(handle, strict=True)
            header = next(rows, [])
            _check_header(path, header, columns)
            for cells in rows:
                where = f"{path}, line {rows.line_num}"
                if len(cells) != len(header):
                    raise HarnessError(
                        f"{where}: {len(cells)} cells under {len(header)} columns; quote a cell with a comma."
                    )
                yield rows.line_num, dict(zip(header, cells, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: not a readable csv in UTF-8 ({error}); correct the file.") from None


def _check_header(path: Path, header: list[str], columns: dict[str, Column]) -> None:
    for name in header:
        if name not in columns:
            raise HarnessError(f"{path}, line 1: unknown column '{name}'.{nearest(name, columns)}")
        if header.count(name) > 1:
            raise HarnessError(f"{path}, line 1: column '{name}' is there twice; remove one.")
    missing = [name for name in columns if name not in header]
    if missing:
        raise HarnessError(f"{path}, line 1: missing column {', '.join(missing)}.")


def checked_cell(where: str, name: str, column: Column, text: str, protocols: dict[str, Protocol]) -> Any:
    """Return the value of a cell: text, a number, or None for an empty number.

    Raises:
        HarnessError: a value that the column may not hold, naming `where`.
    """
    if not text:
        if column.required:
            raise HarnessError(f"{where}: `{name}` is empty.")
        return None if column.type in ("integer", "number") else ""
    if CONTROL.search(text):
        raise HarnessError(f"{where}: `{name}` holds a control character ({text!r}); remove it.")
    if column.type in ("integer", "number"):
        return _number(where, name, column, text)
    if column.type == "date" and not DATE.fullmatch(text):
        raise HarnessError(f"{where}: `{name}` is '{text}', expected YYYY-MM-DD.")
    valid = column.values if column.type == "choice" else protocols if column.type == "protocol" else (text,)
    if text not in valid:
        raise HarnessError(f"{where}: unknown {name} '{text}'.{nearest(text, valid)}")
    if column.type == "name" and "/" in text:
        raise HarnessError(f"{where}: `{name}` is '{text}'; '/' separates the parts of a link, write it otherwise.")
    return text


def _number(where: str, name: str, column: Column, text: str) -> int | float:
    number = float(text) if DECIMAL.fullmatch(text) else math.nan
    if not math.isfinite(number) or (column.type == "integer" and not text.lstrip("-").isdigit()):
        raise HarnessError(f"{where}: `{name}` is '{text}', expected {column.type}.")
    if column.minimum is not None and number < column.minimum:
        raise HarnessError(f"{where}: `{name}` is '{text}', expected at least {column.minimum:g}.")
    return int(text) if column.type == "integer" else number


def load_protocols(path: Path) -> tuple[dict[str, Protocol], Aids]:
    """Read the protocols of reported rows, differences that do not count, effects of presumptions, released weights.

    Raises:
        HarnessError: an unknown key or kind of field, a value out of range, or a protocol that leaves a field out.
    """
    entries = reader.read_yaml(path)
    named = {f: entries.pop(f) for f in Aids.__dataclass_fields__ if f in entries}
    aids = reader.read(Aids, named, str(path))
    for i, same in enumerate(aids.same):
        _check_field_name(f"{path}: same[{i}]", same.field)
    for i, effect in enumerate(aids.effects):
        _check_effect(f"{path}: effects[{i}]", effect)
    protocols = {}
    for name in entries:
        value = _resolved(name, entries, path)
        where = f"{path}: {name}"
        for key in value:
            if key not in (*FIELDS, "about", "scored_as"):
                raise HarnessError(f"{where}: unknown field '{key}'.{nearest(str(key), FIELDS)}")
        for key in (*FIELDS, "about"):
            if key not in value:
                raise HarnessError(f"{where}: says nothing about `{key}`; write {{unknown: why}} if nothing is known.")
        fields = {key: _field(value[key], key, f"{where}.{key}") for key in FIELDS}
        protocols[name] = Protocol(name, str(value["about"]), fields, _scored_as(value.get("scored_as"), where))
    return protocols, aids


def _scored_as(value: Any, where: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise HarnessError(f"{where}.scored_as: got {shown(value)}; name a protocol of experiments/protocols.")
    return value


def _resolved(name: str, entries: dict[str, Any], path: Path) -> dict[str, Any]:
    own = entries[name]
    if not isinstance(own, dict):
        raise HarnessError(f"{path}: {name}: expected a mapping of fields, got {own!r}.")
    if "based_on" not in own:
        return own
    base = own["based_on"]
    others = {k: v for k, v in entries.items() if k != name}  # without itself: a circle ends in "not there"
    if not isinstance(base, str) or base not in others:
        raise HarnessError(f"{path}: {name}: based_on '{base}', which is not there.{nearest(str(base), others)}")
    inherited = _resolved(base, others, path)
    return {**inherited, **{k: v for k, v in own.items() if k != "based_on"}}


def _field(value: Any, name: str, where: str) -> Field:
    field = None
    if isinstance(value, dict):
        if set(value) == {"stated"}:
            field = Field("stated", (value["stated"],), "")
        if set(value) == {"presumed", "because"} and isinstance(value["presumed"], list) and value["presumed"]:
            field = Field("presumed", tuple(value["presumed"]), str(value["because"] or ""))
        if set(value) == {"unknown"}:
            field = Field("unknown", (), str(value["unknown"] or ""))
    if field is None or (field.kind != "stated" and not field.because):
        raise HarnessError(
            f"{where}: got {shown(value)}; "
            "write {stated: value}, {presumed: [values], because: why} or {unknown: why}."
        )
    for each in field.values:
        if not isinstance(each, str | int) or (name.startswith("n_") and not (type(each) is int and each > 0)):
            raise HarnessError(f"{where}: {each!r} cannot be; write a word, true, false, or a count from 1.")
    return field


def _check_effect(where: str, effect: Effect) -> None:
    """Refuse an effect that could not be computed, or that would turn a score round."""
    _check_field_name(where, effect.field)
    if effect.metric not in score_record.METRICS:
        raise HarnessError(f"{where}: unknown metric '{effect.metric}'.{nearest(effect.metric, score_record.METRICS)}")
    if (effect.share is None) == (effect.per_image is None):
        raise HarnessError(f"{where}: write either `share` or `per_image`.")
    if effect.share is not None and len(effect.values) != 2:
        raise HarnessError(f"{where}: `share` goes from one value to another; write two `values`.")
    if effect.per_image is not None and not effect.field.startswith("n_"):
        raise HarnessError(f"{where}: `per_image` is for a count; '{effect.field}' is none.")
    low, high = effect.share or effect.per_image or (0.0, 0.0)
    if not (math.isfinite(low) and math.isfinite(high) and low <= high) or (effect.share and not -1 < low <= high < 1):
        raise HarnessError(
            f"{where}: bounds {low}, {high}: expected two finite numbers in order, a share within -1..1."
        )


def _check_field_name(where: str, name: str) -> None:
    if name not in FIELDS:
        raise HarnessError(f"{where}: unknown field '{name}'.{nearest(name, FIELDS)}")


def find(ledger: Ledger, link: str) -> pd.DataFrame:
    """Return the rows that a link `table/model/variant` names: one per metric.

    Raises:
        HarnessError: no such row; the message has the nearest one.
    """
    link = link.rstrip("/")
    rows = ledger.rows[ledger.rows["link"] == link]
    if rows.empty:
        raise HarnessError(f"no ledger row '{link}'.{nearest(link, set(ledger.rows['link']))}")
    return rows


def family(dataset: str) -> str:
    """Return the ledger's name of a packed data set: `cifar10-test` -> `cifar10`, `celeba64-plain` -> `celeba`."""
    return dataset.removeprefix("standin-").split("-")[0].removesuffix("64")


def reported_rows_for(ledger: Ledger, link: str, experiment: schema.Experiment) -> pd.DataFrame:
    """Return the rows that a link of an experiment names: those of its data set, if the link has rows of several."""
    rows = find(ledger, link)
    own = rows[rows["dataset"] == family(experiment.dataset)]
    return rows if own.empty else own


def columns(metric: str) -> tuple[str, ...]:
    """Return the columns of a table that say what was reported of a metric."""
    return tuple(f"{metric}_reported{what}" for what in ("", "_std", "_protocol", "_confidence"))


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a row under `columns`: value and std as printed (trailing zeros stay), protocol, confidence."""
    value, _, std = row["printed"].partition(PLUS_MINUS)
    return dict(zip(columns(row["metric"]), (value, std, row["protocol"], row["confidence"]), strict=True))


def short(protocol: Protocol) -> str:
    """Return a protocol in a few words, `50k/20k? vs 50k train`; `?` marks what is presumed, `—` what is unknown."""

    def words(name: str) -> str:
        field = protocol.fields[name]
        if field.kind == "unknown":
            return "—"
        values = [f"{v // 1000}k" if isinstance(v, int) and v % 1000 == 0 else str(v) for v in field.values]
        return "/".join(values) + ("?" if field.kind == "presumed" else "")

    return f"{words('n_fake')} vs {words('n_real')} {words('split')}"
