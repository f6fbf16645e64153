"""What the README says is what is there."""

import re

from harness.cli import SUBCOMMANDS
from tests import claims
from tests.paths import ROOT

README = (ROOT / "README.md").read_text()


def test_ci_runs_the_readmes_test_line():
    assert re.search(r"^make test\b", README, re.MULTILINE)
    assert (ROOT / ".ci/run").read_text().rstrip().endswith("\nmake test")


def test_every_link_leads_to_a_file():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_command_exists():
    for name in re.findall(r"^harness ([a-z]+)", README, re.MULTILINE):
        assert name in SUBCOMMANDS


def test_the_tables_are_made_from_the_committed_runs():
    assert claims.readme(README) == README
