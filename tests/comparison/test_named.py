"""The ledger's protocols and the named ones say the same."""

import dataclasses

import pytest

from harness.comparison import named, reported
from harness.config import experiments, protocols
from harness.errors import HarnessError
from tests.paths import ROOT

LEDGER = reported.load(ROOT / "results/reported")
KNOWN = protocols.load(ROOT)
DATASETS = experiments.load_datasets(ROOT)
POINTING = sorted(name for name, protocol in LEDGER.protocols.items() if protocol.scored_as)


def differences(name: str, **changes: object) -> list[str]:
    theirs = LEDGER.protocols[name]
    mine = dataclasses.replace(KNOWN[str(theirs.scored_as)], **changes)  # type: ignore[arg-type]
    rows = LEDGER.rows[LEDGER.rows["protocol"] == name]
    return [
        sentence
        for dataset, part in rows.groupby("dataset")
        for sentence in named.differences(theirs, mine, str(dataset), part["metric"].unique(), DATASETS)
    ]


@pytest.mark.parametrize("name", POINTING)
def test_the_ledger_and_the_named_protocol_agree_field_by_field(name: str) -> None:
    assert differences(name) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_fake", 49_999),
        ("layer", 768),
        ("inception", "trunk"),
        ("quantisation", "float"),
        ("is_splits", 5),
        ("is_bias", True),
        ("scorers", {"torch": "torch-bilinear"}),
        ("references", {"cifar10": protocols.Reference(50_000, "cifar10-test")}),
        ("references", {"cifar10": protocols.Reference(49_999, "cifar10")}),
    ],
)
def test_a_field_that_differs_is_named(field: str, value: object) -> None:
    found = differences("autogan-cifar10", **{field: value})
    key = {"scorers": "resizer"}.get(field, field)
    assert any(key in sentence or "split" in sentence or "n_real" in sentence for sentence in found), found


def test_what_no_source_states_must_be_marked_as_presumed() -> None:
    assert differences("diffaug-stylegan2-cifar10", presumed={}, sources={"every": "a page"}) == [
        "stylegan2-10k-test.is_bias for cifar10 is stated, diffaug-stylegan2-cifar10 does not know it"
    ]


def test_every_protocol_that_is_known_completely_has_a_name() -> None:
    """Of a source that leaves no field open, some entry of experiments/protocols scores so."""
    for (name, metric), _ in LEDGER.rows.groupby(["protocol", "metric"]):
        protocol = LEDGER.protocols[name]
        whole = all(protocol.fields[field].kind == "stated" for field in named.fields_of(metric))
        assert protocol.scored_as or not whole or protocol.fields["snapshot"].values == ("real",), name


def test_a_name_that_is_not_there_is_refused() -> None:
    named.check_links(LEDGER, KNOWN)
    known = {name: protocol for name, protocol in KNOWN.items() if name != "autogan-50k"}
    with pytest.raises(HarnessError, match="scored_as: no protocol 'autogan-50k'"):
        named.check_links(LEDGER, known)
