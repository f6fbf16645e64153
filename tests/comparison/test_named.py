"""The ledger's protocols and the named ones say the same."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from harness.comparison import named, reported
from harness.comparison.protocols import comparisons
from harness.config import experiments, protocols
from harness.errors import HarnessError
from harness.records import results
from harness.records.score_record import ScoreRecord
from tests.paths import ROOT
from tests.records.score_trees import score

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


def lines(*records: ScoreRecord) -> pd.DataFrame:
    scores = results.frame([results.row(record, Path(f"{i}.json")) for i, record in enumerate(records)])
    return comparisons(scores, experiments.definitions(ROOT).experiments, LEDGER, DATASETS)


TEST = {"split": "test", "n_fake": 10_000, "n_real": 10_000, "real_pixels_sha256": "ab" * 32}


def test_a_row_is_judged_under_its_own_protocol() -> None:
    """StyleGAN2's rows against the test split, though every model is scored against train too."""
    style = {"experiment": "t2-stylegan2"}
    own = score(**style, **TEST, name="stylegan2-10k-test")
    both = lines(score(**style, name="train-50k"), own, score(experiment="t1-autogan-autogan", name="train-50k"))
    mine = both[(both["experiment"] == "t2-stylegan2") & (both["metric"] == "fid")]
    assert set(mine["protocol"]) == {"stylegan2-10k-test"}
    assert set(mine["blocking_fields"]) == {()}


def test_without_its_own_a_row_says_what_differs() -> None:
    """Under the protocol that most models share, not under whatever else there is."""
    style = {"experiment": "t2-stylegan2"}
    others = [score(experiment="t1-autogan-autogan", name="train-50k"), score(**style, name="mimicry-50k")]
    found = lines(score(**style, name="train-50k"), *others)
    mine = found[(found["experiment"] == "t2-stylegan2") & (found["metric"] == "fid")]
    assert set(mine["protocol"]) == {"train-50k"}
    assert all({"split", "n_fake", "n_real"} <= set(fields) for fields in mine["blocking_fields"])


def test_a_protocol_that_only_torch_serves_leaves_the_others_out() -> None:
    checkpoint = {"experiment": "stl10-transgan-l-checkpoint", "dataset": "stl10", "resolution": 48}
    checkpoint |= {"split": "train+unlabeled", "n_real": 105_000, "resize": "bilinear", "snapshot": "last", "nimg": 0}
    release = {"name": "transgan-release", "n_fake": 20_000, "quantisation": "float", "resizer": "torch-bilinear"}
    found = lines(score("torch", **checkpoint, **release), score(**checkpoint, name="autogan-50k"))
    mine = found[found["table"] == "released-checkpoint"]
    assert set(zip(mine["scorer"], mine["protocol"], mine["blocking_fields"], strict=True)) == {
        ("torch", "transgan-release", ())
    }
