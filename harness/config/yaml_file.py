"""YAML files within limits: one meaning for every key, plain values only, no more of them than memory holds.

And how this project writes such files.
"""

import math
from pathlib import Path
from typing import Any

import yaml

from harness.errors import HarnessError

BYTES = 16 * 2**20  # of a file; the largest of ours has a tenth of a megabyte
VALUES = 1_000_000  # once every alias is written out
DEPTH = 50
PREFIX = "tag:yaml.org,2002:"
PLAIN = {PREFIX + name for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge")}


class Refused(yaml.YAMLError):
    """A YAML document that is valid, and not what this project reads."""

    def __init__(self, place: yaml.Node | yaml.Event, why: str) -> None:
        assert place.start_mark is not None, "a place in a file"
        super().__init__(f"line {place.start_mark.line + 1}: {why}")


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml's parser, where it is there
    """Checks the parsed document before a value is made from it."""

    def get_single_node(self) -> yaml.Node | None:
        """Parse the document and check it; see `count`."""
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            count(node, {})
        return node


class Dumper(yaml.SafeDumper):
    """Writes a value out in full wherever it stands: `&id001` says nothing to people."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always: an anchor is never made."""
        return True


def text(value: Any) -> str:
    """Return a plain value as YAML: keys in their order, the innermost mappings and lists on one line, no anchors."""
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, default_flow_style=None, width=10_000)


def check_depth(text: str) -> None:
    """Refuse deep nesting before the document is put together, which libyaml's parser does on the stack.

    Raises:
        Refused: more than DEPTH levels.
    """
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise Refused(event, f"nested deeper than {DEPTH} levels")


def count(node: yaml.Node, known: dict[int, int]) -> int:
    """Return the number of values in a node with every alias written out, and check the keys on the way.

    Args:
        known: counts of nodes by identity; 0 marks those that are being counted.

    Raises:
        Refused: two equal keys, a key that is not text, a tag of its own, a value that holds itself, too many values.
    """
    if id(node) in known:
        if not known[id(node)]:
            raise Refused(node, "this value holds itself")
        return known[id(node)]
    if node.tag not in PLAIN:
        raise Refused(node, f"{node.tag.removeprefix(PREFIX)} values are not read; put text in quotes")
    if node.tag == PREFIX + "float" and not finite(node.value):
        raise Refused(node, f"{node.value} is not a finite number")
    known[id(node)] = 0
    children = list(node.value) if isinstance(node, yaml.SequenceNode) else []
    if isinstance(node, yaml.MappingNode):
        check_keys(node)
        children = [child for pair in node.value for child in pair]
    total = 1 + sum(count(child, known) for child in children)
    if total > VALUES:
        raise Refused(node, f"more than {VALUES:,} values once its aliases are written out")
    known[id(node)] = total
    return total


def finite(text: str) -> bool:
    """Whether the text of a YAML float is a finite number; `1:30.5` (base 60) is one."""
    text = text.lower().replace("_", "").lstrip("+-")
    return text not in (".inf", ".nan") and (":" in text or math.isfinite(float(text)))


def check_keys(node: yaml.MappingNode) -> None:
    """Refuse keys that are not text, and the second of two equal ones.

    Raises:
        Refused: names the key.
    """
    seen: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag not in (PREFIX + "str", PREFIX + "merge"):
            name = f" '{key.value}'" if isinstance(key, yaml.ScalarNode) else ""
            raise Refused(key, f"the key{name} is not text; put it in quotes")
        if key.value in seen:
            raise Refused(key, f"the key '{key.value}' stands twice, first in line {seen[key.value]}; delete one")
        seen[key.value] = key.start_mark.line + 1


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping of plain values.

    Raises:
        HarnessError: no readable file of UTF-8 text, invalid YAML, not a mapping, or something that `count` refuses;
            the message names file and line.
    """
    try:
        with open(path, "rb") as handle:
            data = handle.read(BYTES + 1)
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such file.") from None
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read as a file ({error.strerror or error}).") from None
    if len(data) > BYTES:
        raise HarnessError(f"{path}: larger than {BYTES:,} bytes; no file of this project is.")
    try:
        text = data.decode()
        check_depth(text)
        value = yaml.load(text, Loader=Loader)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise HarnessError(f"{path}, line {line}: not UTF-8 text; save it as UTF-8.") from None
    except Refused as error:
        raise HarnessError(f"{path}, {error}.") from None
    except (yaml.YAMLError, ValueError, LookupError, OverflowError, RecursionError) as error:
        raise HarnessError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(value, dict):
        raise HarnessError(f"{path}: expected a mapping of names, got {type(value).__name__}.")
    return value
