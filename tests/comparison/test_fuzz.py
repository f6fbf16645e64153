"""Damaged csv, YAML and JSON: a HarnessError or a sound result, never a traceback. Seeded: a failure repeats."""

import math
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.comparison import history, reported, verdicts
from harness.errors import HarnessError
from harness.records import score_record
from tests.comparison.test_history import SETTINGS, STAND_IN, frame
from tests.paths import ROOT
from tests.records.score_trees import score

TOKENS = ["nan", "-1", "1e999", "\x00", '"', "'", "\n", "\r\n", ",", ";", ":", "{", "[", "]", "- ", "é", "\ud7ff"]
TOKENS += ["9" * 400, "null", "true", "0x1", "\x1b[31m", "=cmd()", "{stated: [1]}", "\t", "#", "0", "", "&a ", "*a"]


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The same bytes with one to three of: a flipped bit, a cut, a slice twice, a token in the place of some bytes."""
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(data) + 1)
        length = rng.choice([0, 1, 3, 8, 40])
        kind = rng.randrange(4)
        if kind == 0 and place < len(data):
            data = data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
        elif kind == 1 and rng.random() < 0.2:
            data = data[:place]
        elif kind == 2:
            data = data[: place + length] + data[place:]
        else:
            data = data[:place] + rng.choice(TOKENS).encode() + data[place + length :]
    return data


def read_ledger(path: Path) -> None:
    ledger = reported.load(path.parent)
    assert all(math.isfinite(v) and v >= 0 for v in ledger.rows["value"])
    assert all(set(p.fields) == set(reported.FIELDS) for p in ledger.protocols.values())


def read_history(path: Path) -> None:
    known = history.read(path)
    assert all(math.isfinite(v) for v in known["value"])
    history.regressions(frame(STAND_IN), known, TOLERANCES)


def read_tolerances(path: Path) -> None:
    tolerances = verdicts.load(path)
    assert verdicts.training([30.0, 30.1, 30.2], 9.0, "fid", tolerances.training) in ("outside", "insufficient-runs")
    assert verdicts.status(("outside",), tolerances.statuses) == "fail"


def read_record(path: Path) -> None:
    assert score_record.read(path) == score()


TOLERANCES = verdicts.load(ROOT / "experiments" / "tolerances.yaml")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A ledger, a history, tolerances and a score record."""
    shutil.copytree(ROOT / "results" / "reported", tmp_path, dirs_exist_ok=True)
    small = (tmp_path / "transgan.csv").read_text().splitlines(keepends=True)[:12]
    for path in tmp_path.glob("*.csv"):
        path.unlink()
    (tmp_path / "transgan.csv").write_text("".join(small))
    shutil.copy(ROOT / "experiments" / "tolerances.yaml", tmp_path)
    (tmp_path / "own").mkdir()
    for setting, fid in SETTINGS.items():
        history.record(frame(STAND_IN | {"fid": fid}), tmp_path / "own" / "history.csv", setting)
    score_record.write(tmp_path / "own" / "tf.json", score())
    return tmp_path


CASES: list[tuple[str, Callable[[Path], None], int]] = [
    ("transgan.csv", read_ledger, 6),
    ("schema.yaml", read_ledger, 4),
    ("protocols.yaml", read_ledger, 4),
    ("tolerances.yaml", read_tolerances, 15),
    ("own/history.csv", read_history, 15),
    ("own/tf.json", read_record, 60),
]


@pytest.mark.parametrize("factor", [1, pytest.param(100, marks=pytest.mark.slow)], ids=["short", "long"])
@pytest.mark.parametrize(("name", "read", "times"), CASES, ids=[name for name, _, _ in CASES])
def test_damage_is_an_error_or_harmless(
    files: Path, name: str, read: Callable[[Path], None], times: int, factor: int
) -> None:
    path = files / name
    data = path.read_bytes()
    read(path)
    refusals = []
    for seed in range(times * factor):
        path.write_bytes(damaged(data, random.Random(seed)))
        try:
            read(path)
        except HarnessError as error:
            refusals.append(str(error))
    assert refusals
    assert all(str(path.parent) in refusal for refusal in refusals)
