"""A training's record is validated, and weights are opened by it."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.errors import HarnessError
from harness.files import write_json
from harness.networks.generator_file import save_generator
from harness.paths import ScaleFolder
from harness.records import choice_record, seal, train_record
from harness.records.choice_record import Candidate, ChoiceRecord
from harness.records.train_record import Cost, TrainedRun, TrainRecord
from tests.records import score_trees

RUN = TrainedRun("test", "e", 0, "cifar10", 32, {"model": "m"}, {"model": "m"}, {"trainer": 1}, planned_nimg=100)


def sound(**changes: Any) -> dict[str, Any]:
    """A sealed record as JSON, with changes."""
    record = TrainRecord(
        run=RUN,
        recipe={"length_nimg": 60},
        digest="0" * 16,
        nimg=64,
        partial=True,
        weights_sha256={"last": "ab" * 32},
        history_sha256="cd" * 32,
        cost=Cost(64, 2.0, 32.0, 100.0),
        provenance={"device": "cpu"},
    )
    return seal.sealed(dataclasses.asdict(record) | changes)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    entries = {key: value for key, value in sound().items() if key != seal.KEY}
    record = TrainRecord(**{**entries, "run": RUN, "cost": Cost(64, 2.0)})
    train_record.write(tmp_path / "train.json", record)
    assert train_record.read(tmp_path / "train.json") == record


WRONG = {
    "schema": (1, "schema is 1"),
    "weights_sha256": ({"60": "ab" * 32}, "names no `last`"),
    "history_sha256": ("abc", "history_sha256 is 'abc', not a sha256"),
    "nimg": (40, "nimg is 40, recipe.length_nimg 60: not finished"),
    "partial": (False, "partial is False with 60 of 100"),
    "digest": (None, "has both or neither"),
    "origin": ({"checkpoint_sha256": "0"}, "has both or neither"),
    "cost": ({"images": -1, "wall_sec": 1.0}, "cost.images -1"),
    "runs": ({}, "unknown key 'runs'. Did you mean 'run'"),
    "provenance": (None, "expected a mapping"),
}


@pytest.mark.parametrize("key", WRONG)
def test_a_record_that_cannot_be_is_refused(key: str, tmp_path: Path) -> None:
    value, message = WRONG[key]
    write_json(tmp_path / "train.json", sound(**{key: value}))
    with pytest.raises(HarnessError, match=r"train\.json") as caught:
        train_record.read(tmp_path / "train.json")
    assert message in str(caught.value)


def test_an_edited_record_is_refused_and_one_without_a_seal(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    write_json(path, sound() | {"nimg": 72})
    with pytest.raises(HarnessError, match=r"train\.json: changed since it was written.*run its training again"):
        train_record.read(path)
    unsealed = {key: value for key, value in sound().items() if key != seal.KEY}
    write_json(path, unsealed)
    with pytest.raises(HarnessError, match=r"train\.json: has no seal .*run its training again"):
        train_record.read(path)


@pytest.mark.parametrize("text", ["null", "[]", "{}", "{", '{"schema": 2}'])
def test_another_json_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(HarnessError, match=r"train\.json"):
        train_record.read(tmp_path / "train.json")


@pytest.fixture
def folder(tmp_path: Path) -> ScaleFolder:
    """A training with one snapshot and a choice."""
    folder = ScaleFolder(tmp_path)
    metadata = {"experiment": "e", "seed": "0", "digest": "0" * 16}
    torch.manual_seed(0)
    hashes = {
        name: save_generator(folder.weights("e", 0, name), torch.nn.Linear(3, 2), 64, metadata)
        for name in ("60", "last", "best")
    }
    candidates = (Candidate("60", 64, 2.0, hashes["60"]), Candidate("last", 64, 3.0, hashes["last"]))
    choice_record.write(folder.choice("e", 0), ChoiceRecord("60", hashes.pop("best"), "lowest", candidates, {}, {}))
    write_json(folder.train_record("e", 0), sound(weights_sha256=hashes))
    return folder


@pytest.mark.parametrize("snapshot", ["60", "last", "best"])
def test_weights_are_opened_by_their_record(snapshot: str, folder: ScaleFolder) -> None:
    weights = train_record.open_snapshot(folder, "e", 0, snapshot)
    assert weights.nimg == 64
    other = folder.weights("e", 0, "last" if snapshot != "last" else "60")
    folder.weights("e", 0, snapshot).write_bytes(other.read_bytes())
    with pytest.raises(HarnessError, match=r"has sha256 .* but its record says"):
        train_record.open_snapshot(folder, "e", 0, snapshot)


def test_weights_of_another_seed_are_refused_even_with_their_record(folder: ScaleFolder) -> None:
    for one, other in (
        (folder.weights("e", 0, "last"), folder.weights("e", 1, "last")),
        (folder.train_record("e", 0), folder.train_record("e", 1)),
    ):
        other.parent.mkdir(parents=True)
        other.write_bytes(one.read_bytes())
    with pytest.raises(HarnessError, match=r"is the record of e, seed 0; run `harness train e --seed 1`"):
        train_record.open_snapshot(folder, "e", 1, "last")
    score_trees.edit(folder.train_record("e", 1), run=dataclasses.asdict(RUN) | {"seed": 1})
    with pytest.raises(HarnessError, match="says seed '0', expected '1'"):
        train_record.open_snapshot(folder, "e", 1, "last")


def test_weights_of_another_length_are_refused(folder: ScaleFolder) -> None:
    score_trees.edit(folder.train_record("e", 0), nimg=72)
    with pytest.raises(HarnessError, match="says nimg '64', expected '72'"):
        train_record.open_snapshot(folder, "e", 0, "last")


def test_weights_of_another_digest_are_refused(folder: ScaleFolder) -> None:
    score_trees.edit(folder.train_record("e", 0), digest="1" * 16)
    with pytest.raises(HarnessError, match="says digest"):
        train_record.open_snapshot(folder, "e", 0, "last")


def test_what_is_not_there_is_named(folder: ScaleFolder) -> None:
    with pytest.raises(HarnessError, match=r"best.safetensors: no such weights; run `harness choose`"):
        train_record.open_snapshot(folder, "e", 7, "best")
    weights = folder.weights("e", 0, "30")
    weights.write_bytes(folder.weights("e", 0, "last").read_bytes())
    with pytest.raises(HarnessError, match="names no sha256 of snapshot '30'"):
        train_record.open_snapshot(folder, "e", 0, "30")
    write_json(folder.choice("e", 0), ["not a mapping"])
    with pytest.raises(HarnessError, match=r"choice\.json: not a record"):
        train_record.open_snapshot(folder, "e", 0, "best")
    folder.train_record("e", 0).unlink()
    with pytest.raises(HarnessError, match=r"train\.json: no such file"):
        train_record.open_snapshot(folder, "e", 0, "last")
