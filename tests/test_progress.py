"""A bar on a terminal, lines in a log, nothing where there is nothing to tell."""

import io

import pytest

from harness import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """tqdm's clock, which a test sets."""
    now = [1000.0]
    monkeypatch.setattr(progress.Bar, "_time", staticmethod(lambda: now[0]), raising=False)
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    return now


def run(file: io.StringIO, clock: list[float], sec: float) -> str:
    with progress.Bar(total=1000, unit="image", desc="cifar10", file=file, disable=False) as bar:
        for _ in range(10):
            clock[0] += sec / 10
            bar.update(100)
    return file.getvalue()


def test_a_log_gets_whole_lines_now_and_then(clock: list[float]) -> None:
    text = run(io.StringIO(), clock, sec=100)
    lines = text.splitlines()
    assert "\r" not in text
    assert 2 <= len(lines) <= 4
    assert lines[0] == "cifar10: 300 of 1000 images, 10.00image/s, 01:10 left"


def test_what_is_soon_done_leaves_no_line_in_a_log(clock: list[float]) -> None:
    assert run(io.StringIO(), clock, sec=20) == ""


def test_a_terminal_gets_a_bar_with_speed_and_time_left(clock: list[float]) -> None:
    text = run(Terminal(), clock, sec=10)
    assert "\r" in text
    assert "image/s" in text
    assert "<" in text  # elapsed<left
