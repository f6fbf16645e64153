"""The ledger's protocols held against the named ones that score so (`experiments/protocols`), field by field."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from tabulate import tabulate

from harness.comparison import reported
from harness.comparison.reported import Ledger
from harness.config import schema
from harness.config.protocols import ANY, SOURCED, Protocol, Reference
from harness.errors import HarnessError, nearest
from harness.records.score_record import compared_fields

# Compared fields that belong to the samples or to what is reported, not to a named protocol.
OF_SAMPLES = ("ema", "snapshot", "kid_subsets", "kid_subset_size")
SOURCE_OF = {"split": "references", "crop": "references", "n_real": "references", "resizer": "scorers"}  # else the same
Datasets = Mapping[str, Mapping[str, Any]]  # definitions of `experiments/datasets.yaml`, by name


def fields_of(metric: str) -> tuple[str, ...]:
    """Return the fields of a named protocol that decide scores of a metric."""
    return tuple(f for f in compared_fields(metric) if f in reported.FIELDS and f not in OF_SAMPLES)


def values_of(protocol: Protocol, reference: Reference, datasets: Datasets) -> dict[str, tuple[Any, ...]]:
    """Return the values that a named protocol has in the ledger's fields; a resizer for each scorer."""
    definition = datasets.get(str(reference.data), {})
    n_real = definition.get("count") if reference.n_real == "all" else reference.n_real
    one = {
        "split": definition.get("split"),
        "crop": definition.get("crop", "none"),
        "n_fake": protocol.n_fake,
        "n_real": n_real,
        "layer": protocol.layer,
        "inception": protocol.inception,
        "quantisation": protocol.quantisation,
        "is_splits": protocol.is_splits,
        "is_bias": protocol.is_bias,
    }
    return {key: (value,) for key, value in one.items()} | {"resizer": tuple(protocol.scorers.values())}


def differences(
    theirs: reported.Protocol, named: Protocol, dataset: str, metrics: Iterable[str], datasets: Datasets
) -> list[str]:
    """Return where a named protocol is not what the ledger says of a source, as sentences.

    A stated field must be equal; of a presumed one the likeliest value must; what is unknown must be marked as presumed
    in the named protocol.

    Args:
        dataset: of the samples, as the ledger names it.
        metrics: those reported; only the fields that decide them are compared.
    """
    lines = {key: named.reference(key) for key in named.references if key != ANY and reported.family(key) == dataset}
    lines = lines or {key: named.reference(key) for key in datasets if reported.family(key) == dataset == key}
    if not any(lines.values()):
        return [f"{named.name} says nothing of {dataset}"]
    found = []
    for key, reference in lines.items():
        assert reference is not None, "looked up above"
        values = values_of(named, reference, datasets)
        for field in dict.fromkeys(f for metric in metrics for f in fields_of(metric)):
            said, mine = theirs.fields[field], values[field]
            if said.kind == "unknown":
                if named.source(SOURCE_OF.get(field, field))[0] != "presumed":
                    found.append(f"{named.name}.{field} for {key} is stated, {theirs.name} does not know it")
            elif said.values[0] not in mine:
                found.append(f"{named.name}.{field} for {key} is {mine[0]}, {theirs.name} says {said.values[0]}")
    return found


def of_experiment(ledger: Ledger, experiment: schema.Experiment) -> list[str]:
    """Return the named protocols under which the reported rows of an experiment were scored."""
    rows = [row for link in experiment.reported for row in reported.find(ledger, link).to_dict("records")]
    rows = [row for row in rows if row["dataset"] == reported.family(experiment.dataset)]
    return list(dict.fromkeys(p for row in rows if (p := ledger.protocols[row["protocol"]].scored_as)))


def check_links(ledger: Ledger, known: Mapping[str, Protocol]) -> None:
    """Raise HarnessError, with the nearest name, if the ledger names a protocol that is not there."""
    for protocol in ledger.protocols.values():
        name = protocol.scored_as
        if name is not None and name not in known:
            raise HarnessError(
                f"results/reported/protocols.yaml: {protocol.name}.scored_as: no protocol '{name}'."
                f"{nearest(name, known)}"
            )


# ---------------------------------------------------------------- for people


def listing(known: Mapping[str, Protocol], datasets: Datasets) -> str:
    """Return all protocols as aligned text, a line each."""
    lines = [
        (
            protocol.name,
            protocol.version,
            f"{protocol.n_fake:,}",
            "; ".join(_references(protocol, datasets)),
            ", ".join(dict.fromkeys(protocol.scorers.values())),
            protocol.quantisation,
            f"{protocol.inception} {protocol.layer}",
            ", ".join(protocol.scorers),
        )
        for protocol in known.values()
    ]
    head = ("protocol", "version", "samples", "against", "resizer", "quantisation", "Inception", "scorers")
    return tabulate(lines, head, tablefmt="plain", disable_numparse=True)


def page(protocol: Protocol, datasets: Datasets) -> str:
    """Return one protocol with the source of every setting, as text."""
    lines = []
    for name in SOURCED:
        kind, text = protocol.source(name)
        lines.append((name, _shown(protocol, name, datasets), kind, text))
    head = f"{protocol.name}, version {protocol.version}: {protocol.about}"
    widths = [None, 44, None, 70]
    table = tabulate(lines, ("setting", "value", "", "source"), "plain", disable_numparse=True, maxcolwidths=widths)
    return f"{head}\n\n{table}"


def as_json(protocol: Protocol, datasets: Datasets) -> dict[str, Any]:
    """Return one protocol as plain values; every setting has `value` and `stated` or `presumed`."""
    value = dataclasses.asdict(protocol)
    settings = {}
    for name in SOURCED:
        kind, text = protocol.source(name)
        settings[name] = {"value": value[name], kind: text}
    return {key: value[key] for key in ("name", "version", "about")} | {
        "settings": settings,
        "against": _references(protocol, datasets),
    }


def _references(protocol: Protocol, datasets: Datasets) -> list[str]:
    return [
        f"{key}: {_count(line, datasets)} {_split(line, datasets)}" for key, line in sorted(protocol.references.items())
    ]


def _count(line: Reference, datasets: Datasets) -> str:
    count = datasets.get(str(line.data), {}).get("count") if line.n_real == "all" else line.n_real
    return f"{count:,}" if count is not None else "all"


def _split(line: Reference, datasets: Datasets) -> str:
    return str(datasets.get(line.data, {}).get("split", line.data)) if line.data else "of its training"


def _shown(protocol: Protocol, name: str, datasets: Datasets) -> str:
    if name == "references":
        return "; ".join(_references(protocol, datasets))
    value = getattr(protocol, name)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {one}" for key, one in value.items())
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
