"""The project's own files, and what their code imports and names."""

import ast
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.paths import ROOT

CODE = ("harness", "models", "baselines", "tests")
TEXT = ("experiments", "docs", ".github", ".ci", "data", "results/reported")
SUFFIXES = {".py", ".yaml", ".yml", ".md", ".j2", ".toml", ".txt", ".cff", ""}


def modules(*folders: str) -> list[Path]:
    """Return the Python files of some folders (default: of all code), in order."""
    return sorted(path for folder in folders or CODE for path in (ROOT / folder).rglob("*.py"))


def texts() -> list[Path]:
    """Return every file that a person wrote: code, YAML, templates and docs; no data and no results."""
    found = [path for path in ROOT.iterdir() if not path.name.startswith(".") and path.name != "LICENSE"]
    for folder in (*CODE, *TEXT):
        found += (ROOT / folder).rglob("*")
    return sorted(path for path in found if path.is_file() and path.suffix in SUFFIXES and "golden" not in path.parts)


@functools.cache
def committed(pattern: str) -> list[Path]:
    """Return the files under results/ that git knows and that match a pattern; in a tarball, all that match."""
    found = sorted((ROOT / "results").rglob(pattern))
    done = subprocess.run(["git", "ls-files", "-z", "results"], cwd=ROOT, capture_output=True, text=True, check=False)
    known = {ROOT / file for file in done.stdout.split("\0") if file}
    return [path for path in found if path in known] if known else found


def name(path: Path) -> str:
    """Return a path as the project writes it."""
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree(path: Path) -> ast.Module:
    """Return the parsed file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path, top_level_only: bool = False) -> Iterator[str]:
    """Yield the dotted name of every import of a file, `from a import b` as `a.b`."""
    nodes = tree(path).body if top_level_only else ast.walk(tree(path))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def outside(path: Path, top_level_only: bool = False) -> set[str]:
    """Return the top-level packages that a file imports."""
    return {dotted.split(".")[0] for dotted in imports(path, top_level_only)}


def identifiers(path: Path) -> Iterator[str]:
    """Yield every name that a file defines or uses: variables, arguments, attributes, functions, classes."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg
