"""What follows from an attempt."""

from pathlib import Path

import pytest

from harness.cluster.outcomes import Then, outcome

ENDED = "ended by its supervisor"


@pytest.mark.parametrize(
    ("code", "why", "number", "then", "words"),
    [
        (0, "", 2, Then.RECORD, ""),
        (3, "", 2, Then.FAIL, "diverged"),
        (1, "", 2, Then.FAIL, "exit 1"),
        (137, "", 2, Then.FAIL, "SIGKILL"),
        (143, "", 2, Then.RETRY, "somebody else"),
        (143, ENDED, 2, Then.RETRY, ENDED),
        (0, "", 1, Then.RETRY, "without a result"),  # of an older attempt
    ],
)
def test_the_table(code: int, why: str, number: int, then: Then, words: str) -> None:
    found, said = outcome({"attempt": number, "code": code, "why": why}, 2, "", [])
    assert found is then
    assert words in said


def test_a_lost_worker_is_named_by_the_engine() -> None:
    assert outcome(None, 1, "WorkerCrashedError", []) == (Then.RETRY, "WorkerCrashedError")


def test_what_was_not_made_is_named(tmp_path: Path) -> None:
    then, why = outcome({"attempt": 1, "code": 0, "why": ""}, 1, "", [tmp_path, tmp_path / "missing"])
    assert then is Then.FAIL
    assert str(tmp_path / "missing") in why
