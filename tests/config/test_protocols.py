"""Named protocols: what is read, what is refused with the remedy, and what a stage depends on."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config import protocols
from harness.errors import HarnessError
from tests.paths import ROOT

ENTRY: dict[str, Any] = {
    "version": 1,
    "about": "a test",
    "scorers": {"tf": "tf1-bilinear", "clean": "clean-bicubic"},
    "kid": ["clean"],
    "n_fake": 64,
    "references": {"cifar10": {"n_real": "all"}, "any": {"n_real": 128}, "b": {"data": "b-test", "n_real": 10}},
    "inception": "stand-in",
    "layer": 2048,
    "quantisation": "uint8, rounded",
    "is_splits": 10,
    "is_bias": False,
    "sources": {"every": "this test"},
}


def load(root: Path, **entries: dict[str, Any]) -> dict[str, protocols.Protocol]:
    """Read protocols of a checkout that has only these."""
    (root / "experiments/protocols").mkdir(parents=True, exist_ok=True)
    (root / "experiments/datasets.yaml").write_text("{}\n")
    (root / "experiments/protocols/a.yaml").write_text(yaml.safe_dump(entries))
    return protocols.load(root)


def test_what_one_scorer_computes(tmp_path: Path) -> None:
    protocol = load(tmp_path, p=ENTRY)["p"]
    tf, clean = (protocols.plan(protocol, "cifar10", scorer) for scorer in ("tf", "clean"))
    assert (tf.resizer, tf.kid, tf.data, tf.n_real) == ("tf1-bilinear", False, "cifar10", None)
    assert (clean.resizer, clean.kid, clean.n_fake) == ("clean-bicubic", True, 64)
    assert protocols.plan(protocol, "b", "tf").data == "b-test"
    assert protocols.plan(protocol, "other", "tf").data == "other"
    with pytest.raises(HarnessError, match=r"unknown scorer of protocol 'p': 'torch'"):
        protocols.plan(protocol, "cifar10", "torch")
    silent = dataclasses.replace(protocol, references={"b": protocol.references["b"]})
    with pytest.raises(HarnessError, match="says nothing of data set 'cifar10'"):
        protocols.plan(silent, "cifar10", "tf")


def test_whatever_decides_a_score_changes_the_stamp() -> None:
    planned = protocols.plan(protocols.load(ROOT)["quick"], "standin-cifar10", "tf")
    for field in dataclasses.fields(planned):
        value = getattr(planned, field.name)
        other = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else f"{value}x"
        assert dataclasses.replace(planned, **{field.name: other}).stamp != planned.stamp, field.name


def test_texts_do_not_change_the_stamp(tmp_path: Path) -> None:
    before = protocols.plan(load(tmp_path, p=ENTRY)["p"], "b", "tf")
    changes = {"about": "other words", "sources": {"every": "another page"}}
    assert protocols.plan(load(tmp_path, p=ENTRY | changes)["p"], "b", "tf").stamp == before.stamp


def test_based_on(tmp_path: Path) -> None:
    changes = {"based_on": "p", "n_fake": 10, "references": {"b": {"n_real": 5}}, "presumed": {"is_bias": "a guess"}}
    found = load(tmp_path, p=ENTRY, q=changes)["q"]
    assert (found.n_fake, list(found.references), found.version) == (10, ["b"], 1)
    assert found.source("is_bias") == ("presumed", "a guess")
    assert found.source("n_fake") == ("stated", "this test")


SAID = {name: "a page" for name in protocols.SOURCED}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"p": ENTRY | {"n_fakes": 5}}, "unknown key 'n_fakes'. Did you mean 'n_fake'"),
        ({"p": ENTRY | {"n_fake": 1}}, r"p\.n_fake: 1 must be at least 2"),
        ({"p": ENTRY | {"quantisation": "uint8 rounded"}}, "Did you mean 'uint8, rounded'"),
        ({"p": ENTRY | {"scorers": {"tensorflow": "tf1-bilinear"}}}, "'tensorflow' is unknown"),
        ({"p": ENTRY | {"scorers": {"tf": "clean-bicubic"}, "kid": []}}, r"scorers\.tf: no resizer 'clean-bicubic'"),
        ({"p": ENTRY | {"scorers": {}}}, "at least one scorer"),
        ({"p": ENTRY | {"kid": ["torch"]}}, r"kid: 'torch'"),
        ({"p": ENTRY | {"references": {"b": {"n_real": "every"}}}}, "must be `all` or a count from 2"),
        ({"p": ENTRY | {"layer": 768, "is_bias": True}}, "only at layer 2048"),
        (
            {"p": ENTRY | {"sources": {k: v for k, v in SAID.items() if k != "kid"}}},
            "nothing of where `kid` comes from",
        ),
        ({"p": ENTRY | {"sources": SAID | {"layers": ""}}}, "no field 'layers'. Did you mean 'layer'"),
        ({"p": ENTRY | {"name": "q"}}, "delete `name`"),
        ({"p": {"based_on": "q"}, "q": {"based_on": "p"}}, "in a circle: p -> q -> p"),
        ({"p": ENTRY, "q": {"based_on": "pp"}}, "'pp'. Did you mean 'p'|Valid: p"),
        ({"p": ENTRY | {"sources": SAID}, "q": {"based_on": "p", "n_fake": 3}}, "changes `n_fake` of 'p'"),
        ({"p q": ENTRY}, "the name 'p q'"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, entries: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        load(tmp_path, **entries)
