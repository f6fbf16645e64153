"""What is installed is what was tested, and every way of installing asks for the same."""

import importlib.metadata
import re
import tomllib

from packaging.requirements import Requirement

from tests.paths import ROOT


def pinned() -> dict[str, Requirement]:
    """The lines of constraints.txt that apply to this machine, by name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {one.name: one for one in found if one.marker is None or one.marker.evaluate()}


def canonical(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def test_versions_that_are_installed_are_those_of_the_constraints() -> None:
    installed = {canonical(one.metadata["Name"]): one.version for one in importlib.metadata.distributions()}
    other = {
        package: f"{installed[package]}, constraints.txt has {requirement.specifier}"
        for package, requirement in pinned().items()
        if package in installed and not requirement.specifier.contains(installed[package].split("+")[0])
    }
    assert other == {}


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {canonical(one.name) for one in map(Requirement, asked) if one.marker is None or one.marker.evaluate()}
    assert names - pinned().keys() == set()


def test_the_image_is_made_by_the_makefile() -> None:
    steps = (ROOT / "Dockerfile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    used = re.findall(r"^RUN make (\w+)$", steps, re.MULTILINE) + re.findall(r'"make", "(\w+)"', steps)
    assert used == ["install", "repro"]
    assert set(used) <= set(targets[1].split())
