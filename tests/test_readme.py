"""What README, docs and workflows say is what is there."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from harness.cli import group
from tests import claims
from tests.paths import ROOT
from tests.tree import name, texts

README = (ROOT / "README.md").read_text()
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_ci_runs_the_readmes_test_line():
    assert re.search(r"^make test\b", README, re.MULTILINE)
    assert (ROOT / ".ci/run").read_text().rstrip().endswith("\nmake test")


@pytest.mark.parametrize("path", DOCS, ids=name)
def test_every_link_leads_to_a_file(path: Path):
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def command_lines(path: Path) -> Iterator[str]:
    """Yield the `harness ...` lines of a text: in code between backticks, and lines of their own."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")  # one line may go on below
    yield from re.findall(r"`(?:[A-Z_]+=\S+ )?(harness [a-z][^`\n]*)`", text)
    yield from re.findall(r"^ *(?:[A-Z_]+=\S+ |\S*/)?(harness [a-z]+ [^\n`|#]*)", text, re.MULTILINE)


def parse(line: str) -> None:
    """Fail unless the subcommand and the options of a line exist."""
    words = shlex.split(line.replace("'", ""))[1:]
    command: click.Command = group
    while isinstance(command, click.Group) and words:
        found = command.get_command(click.Context(command), words[0]) if not words[0].startswith("-") else None
        if found is None:
            break
        command, words = found, words[1:]
    options = {option for parameter in command.params for option in parameter.opts} | {"--help", "--version"}
    used = {word.split("=")[0].rstrip(".,;)]") for word in words if word.startswith("--")}
    assert command is not group or used, f"no such subcommand: {line}"
    assert used <= options, f"{line}: {used - options}"


@pytest.mark.parametrize("path", [path for path in texts() if path.suffix in (".md", ".yml", ".yaml")], ids=name)
def test_commands_and_their_options_exist(path: Path):
    for line in command_lines(path):
        parse(line)


def test_a_command_that_is_gone_would_be_noticed(tmp_path: Path):
    for wrong in ("harness nowhere x", "harness score --samplez x"):
        with pytest.raises((AssertionError, click.UsageError)):
            parse(wrong)
    (tmp_path / "x.md").write_text("```\nharness nowhere x\n```\nand `harness check --require x`.\n")
    assert list(command_lines(tmp_path / "x.md")) == ["harness check --require x", "harness nowhere x"]


@pytest.mark.parametrize("path", DOCS, ids=name)
def test_tests_that_docs_name_exist(path: Path):
    for file, function in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", path.read_text()):
        functions = {
            node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(node, ast.FunctionDef)
        }
        assert function in functions, f"{file} has no {function}"


@pytest.mark.parametrize("page", claims.SECTIONS)
def test_what_pages_say_of_runs_is_made_from_the_committed_ones(page: str):
    assert claims.again(page) == (ROOT / page).read_text(encoding="utf-8")
