"""The score record: what it refuses, and that every field of a protocol is compared or named as irrelevant."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.files import write_json
from harness.records import score_record
from harness.records.score_record import Content, Protocol, Run, ScoreRecord, Values

SHA = "ab" * 32


def protocol(**changes: Any) -> Protocol:
    """A CIFAR-10 protocol of 50,000 against 50,000."""
    plain: dict[str, Any] = {
        "name": "test",
        "version": 1,
        "n_fake": 50_000,
        "resolution": 32,
        "quantisation": "uint8, rounded",
        "ema": True,
        "snapshot": "last",
        "selection": None,
        "dataset": "cifar10",
        "split": "train",
        "crop": "none",
        "resize": "none",
        "n_real": 50_000,
        "real_pixels_sha256": SHA,
        "reference": "images",
        "stand_in_data": False,
        "scorer": "tf",
        "resizer": "tf1-bilinear",
        "inception": "official",
        "inception_sha256": SHA,
        "stand_in_inception": False,
        "layer": 2048,
        "is_splits": 10,
        "is_bias": False,
        "kid_subsets": None,
        "kid_subset_size": None,
        "scorer_versions": {},
        "declared": (),
        "caveats": (),
    }
    return Protocol(**(plain | changes))


def record(run: dict[str, Any] | None = None, values: dict[str, Any] | None = None, **changes: Any) -> ScoreRecord:
    """A whole run's record; `changes` are laid over its protocol."""
    whole = {"scale": "s", "experiment": "e", "seed": 0, "snapshot": "last", "nimg": 10, "planned_nimg": 10}
    return ScoreRecord(
        run=Run(**(whole | {"partial": False} | (run or {}))),
        protocol=protocol(**changes),
        values=Values(**({"fid": 12.4, "is_mean": 8.6, "is_std": 0.1} | (values or {}))),
        content=Content(SHA, SHA, changes.get("real_pixels_sha256", SHA)),
        diagnostics={},
        provenance={},
    )


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    score_record.write(tmp_path / "r.json", record())
    assert score_record.read(tmp_path / "r.json") == record()


@pytest.mark.parametrize("field", dataclasses.fields(Protocol), ids=lambda field: field.name)
def test_every_field_is_compared_or_irrelevant_with_a_reason(field: dataclasses.Field[Any]) -> None:
    if field.metadata["metrics"]:
        assert set(field.metadata["metrics"]) <= set(score_record.METRICS)
    else:
        assert len(field.metadata["because"]) > 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"run": {"partial": False, "nimg": 5}}, "5 of 10 planned"),
        ({"run": {"nimg": 11}}, "11 of 10"),
        ({"run": {"seed": None}}, "run.seed is missing"),
        ({"run": {"snapshot": "100"}}, "run.snapshot"),
        ({"values": {"fid": float("nan")}}, "values.fid is nan"),
        ({"values": {"fid": None, "is_mean": None, "is_std": None}}, "no score"),
        ({"values": {"fid_interval": (2.0, 1.0)}}, "wrong order"),
        ({"scorer": "tfx"}, "protocol.scorer"),
        ({"inception_sha256": "12"}, "not a sha256"),
        ({"n_fake": 0}, "n_fake is 0"),
        ({"version": 0}, "version 0"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        record(**change)


def test_a_broken_file_is_named_with_the_fix(tmp_path: Path) -> None:
    value = record().to_json()
    value["protocol"]["layr"] = value["protocol"].pop("layer")
    write_json(tmp_path / "r.json", value)
    with pytest.raises(HarnessError, match=r"r\.json.*unknown key 'layr'.*'layer'.*run its stage again"):
        score_record.read(tmp_path / "r.json")


def test_the_protocol_id_depends_on_every_field_of_the_identity() -> None:
    base = protocol()
    for name, value in base.identity().items():
        other = dataclasses.replace(base, **{name: 7 if isinstance(value, int) else "x"})
        assert other.protocol_id != base.protocol_id, name
