"""Protocols of tests, and the entries of a params.yaml that name them."""

from typing import Any

from harness.config import protocols
from harness.config.protocols import CHOOSER, VARIANTS
from harness.pipeline.planned_scores import together


def entry(**changes: Any) -> dict[str, Any]:
    """One entry of experiments/protocols: 10 samples against 20 stand-ins, 64 channels of a stand-in Inception."""
    return {
        "version": 1,
        "about": "a test",
        "scorers": {"tf": "tf1-bilinear", "torch": "tf1-bilinear", "clean": "clean-bicubic"},
        "kid": ["clean"],
        "n_fake": 10,
        "references": {"any": {"n_real": 20}},
        "inception": "stand-in",
        "layer": 64,
        "quantisation": "uint8, rounded",
        "is_splits": 10,
        "is_bias": False,
        "sources": {"every": "this test"},
    } | changes


def scored(dataset: str, name: str = "tiny", scorers: tuple[str, ...] = ("tf", "clean"), **changes: Any) -> Any:
    """What params.yaml says of a dump that is scored under one protocol; see `entry`."""
    protocol = protocols.read_all({name: (entry(**changes), "test")})[name]
    planned = [protocols.plan(protocol, dataset, scorer) for scorer in scorers]
    return {
        "n_fake": protocol.n_fake,
        "variants": [VARIANTS[protocol.quantisation]],
        "references": together({one.data for one in planned}),
        "scores": {one.scorer: {name: one.stamp} for one in planned},
    }


def chosen(dataset: str, name: str = "tiny", **changes: Any) -> dict[str, Any]:
    """What params.yaml says of a choice under a protocol; see `entry`."""
    planned = protocols.plan(protocols.read_all({name: (entry(**changes), "test")})[name], dataset, CHOOSER)
    return {"protocol": name, "stamp": planned.stamp, "references": planned.data}
