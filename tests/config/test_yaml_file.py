"""A YAML file has one meaning and takes no more memory than its limits allow, or it is refused in one sentence."""

import random
import time
from pathlib import Path

import pytest
import yaml

from harness.config import yaml_file
from harness.config.yaml_file import read_yaml
from harness.errors import HarnessError

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: {c: 1, d: 2, c: 3}\n", ["line 2", "'c' stands twice, first in line 2"]),
        ("a: 1\n\na: 1\n", ["line 3", "'a' stands twice, first in line 1"]),
        (LAUGHS, ["more than 1,000,000 values"]),
        ("a: &a {k: 1}\nb: &b {<<: [*a, *a]}\n" + "c: &c [*c]\n", ["line 3", "holds itself"]),
        ("a: " + "[" * 60 + "]" * 60, ["nested deeper than 50"]),
        ("[" * 100_000, ["nested deeper than 50"]),
        ("- " * 100_000, ["nested deeper than 50"]),
        ("5: x\n", ["line 1", "the key '5' is not text"]),
        ("on: x\n", ["the key 'on' is not text"]),
        ("? [a]\n: x\n", ["line 1", "the key is not text"]),
        ("a: .nan\n", ["line 1", ".nan is not a finite number"]),
        ("a: [1, -.INF]\n", ["-.INF is not a finite number"]),
        ("a: 1.0e+999\n", ["not a finite number"]),
        ("a: 2020-01-01\n", ["line 1", "timestamp values are not read"]),
        ("a: !!binary aGk=\n", ["binary values are not read"]),
        ("a: !!python/object/apply:os.system [ls]\n", ["are not read"]),
        ("a: !!int abc\n", ["not valid YAML"]),
        ("a: !!bool abc\n", ["not valid YAML"]),
        (f"a: {'9' * 5000}\n", ["not valid YAML"]),
        ("a: [1,\n", ["not valid YAML"]),
        ("a: 1\n--- \nb: 2\n", ["not valid YAML"]),
        ("- 1\n", ["expected a mapping of names, got list"]),
        ("", ["expected a mapping of names, got NoneType"]),
    ],
)
def test_what_has_no_one_meaning_is_refused(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(HarnessError) as error:
        read_yaml(path)
    for word in [str(path), *words]:
        assert word in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.yaml"
    with pytest.raises(HarnessError, match=r"x\.yaml: no such file"):
        read_yaml(path)
    with pytest.raises(HarnessError, match="cannot be read as a file"):
        read_yaml(tmp_path)
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(HarnessError, match=r"x\.yaml, line 2: not UTF-8 text"):
        read_yaml(path)
    monkeypatch.setattr(yaml_file, "BYTES", 10)
    path.write_text("a: 1234567\n")
    with pytest.raises(HarnessError, match="larger than 10 bytes"):
        read_yaml(path)


def test_aliases_and_merges_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: &a {k: 1, l: 1.5e-3}\nb: {<<: *a, k: 2}\nc: [*a, *a]\nd: 1_000\ne: 1:30.5\n")
    part = {"k": 1, "l": 1.5e-3}
    assert read_yaml(path) == {"a": part, "b": {**part, "k": 2}, "c": [part, part], "d": 1000, "e": 90.5}


def test_what_is_written_has_no_anchors_and_is_read_as_it_was(tmp_path: Path) -> None:
    part = {"k": [1, 2], "on": "yes"}
    value = {"b": part, "a": [part, part, None], "c": part["k"]}
    path = tmp_path / "x.yaml"
    path.write_text(yaml_file.text(value))
    assert not set("&*") & set(path.read_text())
    assert read_yaml(path) == value
    assert list(read_yaml(path)) == ["b", "a", "c"]


def test_libyaml_reads_where_it_is_there() -> None:
    assert issubclass(yaml_file.Loader, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    assert hasattr(yaml, "CSafeLoader"), "the tested environment has libyaml"


def test_laughs_take_no_time(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(LAUGHS)
    started = time.perf_counter()
    with pytest.raises(HarnessError):
        read_yaml(path)
    assert time.perf_counter() - started < 1


PIECES = [
    "a",
    "b: ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "&x ",
    "*x",
    "!!",
    "<<: ",
    "\n",
    "\n  ",
    '"',
    "'",
    "# ",
    "? ",
    "|\n",
]
PIECES += [
    "1e9",
    ".inf",
    "null",
    "\t",
    "\0",
    "é",
    "\\u0000",
    "%YAML 1.1\n",
    "---\n",
    "...",
    "~",
    "0x1f",
    "1:2",
    "!!set ",
]


def strange(seed: int) -> bytes:
    """A short file near YAML: pieces of it in any order, sometimes with a flipped bit."""
    draw = random.Random(seed)
    data = bytearray("".join(draw.choices(PIECES, k=draw.randrange(1, 25))).encode())
    if draw.random() < 0.3:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def outcome(path: Path) -> dict | HarnessError:
    """What reading gives; any other exception is a fault."""
    try:
        return read_yaml(path)
    except HarnessError as error:
        return error


@pytest.mark.parametrize("seeds", [range(500), pytest.param(range(500, 200_000), marks=pytest.mark.slow)])
def test_any_bytes_are_a_plain_mapping_or_refused(tmp_path: Path, seeds: range) -> None:
    path, read = tmp_path / "x.yaml", 0
    for seed in seeds:
        path.write_bytes(strange(seed))
        value = outcome(path)
        if isinstance(value, HarnessError):
            assert str(path) in str(value), seed
        else:
            read += 1
            assert value == yaml.load(path.read_bytes().decode(), Loader=yaml.CSafeLoader), seed
    assert read > len(seeds) / 100, "some of them are read"
