"""The score record: what it refuses, and that every field of a protocol is compared or named as irrelevant."""

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.files import write_json
from harness.records import results, score_record, seal
from harness.records.score_record import Protocol
from tests.records.score_trees import score


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = score(caveats=("JPEG",), fid_interval=(14.1, 14.5))
    score_record.write(tmp_path / "r.json", record)
    assert score_record.read(tmp_path / "r.json") == record


@pytest.mark.parametrize("field", dataclasses.fields(Protocol), ids=lambda field: field.name)
def test_every_field_is_compared_or_irrelevant_with_a_reason(field: dataclasses.Field[Any]) -> None:
    if field.metadata["metrics"]:
        assert set(field.metadata["metrics"]) <= set(score_record.METRICS)
    else:
        assert len(field.metadata["because"]) > 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"partial": False, "nimg": 5}, "5 of 80000000 planned"),
        ({"nimg": 11, "planned_nimg": 10}, "11 of 10"),
        ({"seed": None}, "run.seed is missing"),
        ({"fid": float("nan")}, "values.fid is nan"),
        ({"fid": None, "is_mean": None, "is_std": None}, "no score"),
        ({"fid_interval": (2.0, 1.0)}, "wrong order"),
        ({"inception_sha256": "12"}, "not a sha256"),
        ({"statistics_sha256": "12"}, "not a sha256"),
        ({"n_fake": 0}, "n_fake is 0"),
        ({"version": 0}, "protocol.version is 0"),
        ({"name": "../x"}, "must be a name"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        score(**change)


def test_an_unknown_scorer_is_refused() -> None:
    with pytest.raises(HarnessError, match=r"protocol\.scorer"):
        score("tfx")


def test_run_and_protocol_name_one_snapshot() -> None:
    whole = score()
    with pytest.raises(HarnessError, match=r"run\.snapshot is '100'"):
        dataclasses.replace(whole, run=dataclasses.replace(whole.run, snapshot="100", partial=True))


def test_a_broken_file_is_named_with_the_fix(tmp_path: Path) -> None:
    value = score().to_json()
    value["protocol"]["layr"] = value["protocol"].pop("layer")
    write_json(tmp_path / "r.json", seal.sealed(value))
    with pytest.raises(HarnessError, match=r"r\.json.*unknown key 'layr'.*'layer'.*run its stage again"):
        score_record.read(tmp_path / "r.json")


def test_a_value_edited_by_hand_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    score_record.write(path, score(fid=300.0))
    path.write_text(path.read_text().replace("300.0", "3.0"))
    with pytest.raises(HarnessError, match=r"r\.json: changed since it was written"):
        score_record.read(path)


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path, record = tmp_path / "r.json", score(caveats=("JPEG",))
    score_record.write(path, record)
    whole, rng, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(200):
        flipped = bytearray(whole)
        flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        try:
            assert score_record.read(path) == record
        except HarnessError:
            refused += 1
    assert refused > 150


def test_a_value_of_another_type_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="ema"):
        score_record.write(tmp_path / "r.json", score(ema="yes"))
    with pytest.raises(HarnessError, match="another type"):
        score_record.write(tmp_path / "r.json", score(seed="3"))
    assert not (tmp_path / "r.json").exists()


def test_a_list_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps([1]))
    with pytest.raises(HarnessError, match="not a record of this harness"):
        score_record.read(tmp_path / "r.json")
    value = score().to_json()
    write_json(tmp_path / "r.json", seal.sealed(value | {"run": None}))
    with pytest.raises(HarnessError, match=r"r\.json\.run: expected a mapping with keys scale, .* got None"):
        score_record.read(tmp_path / "r.json")


def test_the_protocol_id_depends_on_every_field_of_the_identity() -> None:
    base = score().protocol
    for name, value in base.identity().items():
        other = dataclasses.replace(base, **{name: 7 if isinstance(value, int) else "x"})
        assert other.protocol_id != base.protocol_id, name


@pytest.mark.parametrize("part", ["run", "protocol", "values", "content"])
def test_every_changed_field_is_refused_or_seen(part: str) -> None:
    """Refused as what cannot be, or another row and another seal; of a protocol's identity, another id."""
    extras = {"fid_infinity": 13.0, "inception_precision": 0.5, "inception_recall": 0.4}
    intervals = {"fid_interval": (14.0, 15.0), "is_interval": (8.0, 9.0), "kid_interval": (0.0, 1.0)}
    whole = score(**intervals, **extras, kid=0.1, kid_std=0.1)
    refused = set()
    for field in dataclasses.fields(getattr(whole, part)):
        together = {field.name: other(getattr(getattr(whole, part), field.name))}
        try:
            changed = dataclasses.replace(whole, **{part: dataclasses.replace(getattr(whole, part), **together)})
        except HarnessError:
            refused.add(field.name)
            continue
        before, after = (results.row(one, Path("r.json")) for one in (whole, changed))
        assert before != after, field.name
        assert changed.to_json()["sha256"] != whole.to_json()["sha256"], field.name
        if part == "protocol" and field.name not in ("caveats", "scorer_versions"):
            assert before["protocol_id"] != after["protocol_id"], field.name
    assert refused == REFUSED[part]


REFUSED = {
    "run": {"snapshot", "nimg", "planned_nimg"},
    "protocol": {"name", "snapshot", "real_pixels_sha256", "statistics_sha256", "scorer"},
    "values": set(),
    "content": {"real_pixels_sha256", "dump_sha256"},  # None here: another value is no sha256
}


def other(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, tuple):
        return (*value, "more") if not value or isinstance(value[0], str) else (value[0] - 1, value[1])
    if isinstance(value, str) and len(value) == 64:
        return value[::-1]
    return {"package": "1"} if isinstance(value, dict) else f"other {value}"
