"""Any value in any field of a recipe or a scale is read as the field's type says, or refused in a sentence."""

import copy
import random
from typing import Any

import pytest

from harness.config import reader, schema
from harness.errors import HarnessError
from tests.config.test_reader import PARAMS, RECIPE

PARTS = {"penalty": {"kind": "r1"}, "ema": {"kind": "fixed"}, "locality": {"schedule": [[8, 1]]}, "growth": {}}
STARTS: dict[Any, dict[str, Any]] = {schema.Recipe: {**RECIPE, **PARTS}, schema.Params: PARAMS}
VALUES = [None, True, 0, -1, 1, 10**400, -0.0, 1e308, float("nan"), float("inf"), "", "x", "1e-4", "nan", "1e999"]
VALUES += ["a b", "../..", "$(x)", "\n", [], [[]], [1, "a"], {}, {"a": {}}, {"kind": []}, (1, 2), b"x", object()]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested mappings and lists."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inside for place in places(part, (*path, key)))]


def mutated(start: dict[str, Any], draw: random.Random) -> Any:
    """`start` with one to three places replaced, or with keys that do not belong there."""
    value: Any = copy.deepcopy(start)
    for _ in range(draw.randrange(1, 4)):
        *parts, last = draw.choice(places(value)[1:] or [("x",)])
        inside = value
        for part in parts:
            inside = inside[part]
        inside[last] = copy.deepcopy(draw.choice(VALUES))
        if isinstance(inside, dict) and draw.random() < 0.1:
            inside[draw.choice(["critic", "", "x", 5, None, ("a",)])] = copy.deepcopy(draw.choice(VALUES))
    return value


@pytest.mark.parametrize("seeds", [range(1000), pytest.param(range(1000, 300_000), marks=pytest.mark.slow)])
@pytest.mark.parametrize("cls", STARTS)
def test_a_value_is_read_or_refused(cls: Any, seeds: range) -> None:
    read = refused = 0
    for seed in seeds:
        try:
            reader.read(cls, mutated(STARTS[cls], random.Random(seed)), "here")
            read += 1
        except HarnessError:
            refused += 1
    assert read > 0
    assert refused > len(seeds) / 2
