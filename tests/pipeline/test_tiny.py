"""Every subcommand of the pipeline once, in this process, on the tiny scale."""

import re
from pathlib import Path

import pytest

from harness.cli import group


def run(*arguments: str) -> None:
    """Run one subcommand; a non-zero exit is an error."""
    code = group.main(list(arguments), standalone_mode=False)
    assert not isinstance(code, int) or code == 0, f"{arguments}: exit {code}"


def test_from_plan_to_report(tiny_scale: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_scale)
    monkeypatch.setenv("HARNESS_CACHE", str(tiny_scale / ".cache"))
    run("plan")
    run("references", "tiny")
    for experiment in "ef":
        run("train", experiment)
        run("sample", experiment)
        run("score-dump", experiment, "--scorer", "torch")
    run("tables")
    run("check", "--write")
    run("report")
    assert "STAND-IN" in (tiny_scale / "out/report/index.html").read_text()


def test_a_limit_that_changes_nothing_is_told(
    tiny_scale: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tiny_scale)
    for limit, told in (("8", False), ("1000", True), ("null", False)):
        path = tiny_scale / "params.yaml"
        path.write_text(re.sub(r"^limit_nimg: .*$", f"limit_nimg: {limit}", path.read_text(), flags=re.MULTILINE))
        run("plan")
        assert ("cuts nothing short: no recipe has more than 16 images" in capsys.readouterr().err) == told
