"""A recipe's fields carry their ranges: the last allowed values are read, the first forbidden ones are refused."""

import dataclasses
import typing
from typing import Any

import pytest

from harness.config import reader, schema
from harness.config.ranges import Count, Name, Range, Seed, ShellWord
from harness.errors import HarnessError
from tests.config.test_reader import RECIPE

LIMITS = {  # field: (allowed values, forbidden values)
    "length_nimg": ([0, "8e7", 2**53], [-5, 2**53 + 1, 1.5, float("inf"), "1e999", "many", True, None]),
    "discriminator_batch": ([1], [0, -1]),
    "n_critic": ([1], [0]),
    "clip_grad_norm": ([None, 1e-9], [0, -1, "nan"]),
    "log_every_nimg": ([1], [0]),
    "snapshots_nimg": ([[1]], [[0], [-1], ["a"], 5, {"a": 1}]),
    "grids_nimg": ([[0]], [[-1]]),
    "objective": (["hinge"], ["hing", 1, None, ["hinge"]]),
    "flip": ([True, False], [1, "yes", None]),
    "generator_optimiser.lr": ([1e-9], [0, -1e-4, "nan", "inf", [1]]),
    "generator_optimiser.betas": ([[0, 0.999]], [[0, 1], [-0.1, 0.9], [0.9], "0.9", [0, "nan"]]),
    "generator_optimiser.eps": ([1e-30], [0, -1]),
    "generator_optimiser.decay": (["linear"], ["liner"]),
    "penalty.every": ([1, 16], [0, -1]),
    "penalty.weight": ([0, 10], [-1]),
    "penalty.target": ([1e-3, 750], [0, -1]),
    "drift.weight": ([0], [-1e-3]),
    "ema.decay": ([0, 0.9999], [1, 2, -0.1, 1e30]),
    "ema.ramp": ([None, 0, 0.05], [-1]),
    "ema.start_nimg": ([0], [-1]),
    "augment.policy": ([[], ["color"]], [["colour"], "color"]),
    "augment.translation": ([0, 1], [-0.1, 1.1]),
    "augment.cutout": ([0, 1], [-0.1, 1.1]),
    "augment.cutout_probability": ([0, 1], [-0.1, 2]),
    "augment.ada": ([None, {"target": 0.6}], [{"every": 0}, {"speed_nimg": 0}, {"target": 2}, 5]),
    "locality": ([None, {"schedule": [[0, 0]]}], [{"schedule": [[-1, 4]]}, {"schedule": [[4]]}, {"shape": "ring"}]),
    "cotraining": ([None, {"weight": 0}], [{"weight": -1}, {"until_nimg": -1}]),
    "path_length": ([None, {"every": 1}], [{"every": 0}, {"batch_shrink": 0}, {"decay": 2}]),
    "growth": ([None, {"stable_nimg": 0}], [{"fade_nimg": 0}, {"first_resolution": 0}, {"first_nimg": -1}]),
    "precision": (["bfloat16"], ["float16"]),
}
CASES = [(key, value, True) for key, (good, _) in LIMITS.items() for value in good]
CASES += [(key, value, False) for key, (_, bad) in LIMITS.items() for value in bad]


@pytest.mark.parametrize(("key", "value", "good"), CASES)
def test_a_field_reads_what_it_allows_and_names_what_it_does_not(key: str, value: Any, good: bool) -> None:
    change: Any = value
    for part in reversed(key.split(".")):
        change = {part: change}
    if good:
        reader.read(schema.Recipe, reader.merge(RECIPE, change), "here")
        return
    with pytest.raises(HarnessError, match=rf"^here\.{key}"):
        reader.read(schema.Recipe, reader.merge(RECIPE, change), "here")


def bare(kind: Any, where: str) -> set[str]:
    """Places in a type where a number or text may be anything: no range, no choices."""
    if typing.get_origin(kind) in (typing.Annotated, typing.Literal):
        return set()
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        return {place for name, part in hints.items() for place in bare(part, f"{where}.{name}")}
    inside = {place for part in typing.get_args(kind) for place in bare(part, where)}
    return inside | ({where} if kind in (int, float, str) else set())


def test_every_number_of_a_recipe_has_a_range() -> None:
    assert bare(schema.Recipe, "recipe") == {"recipe.source"}


@dataclasses.dataclass(frozen=True)
class Names:
    name: Name = "a"
    word: ShellWord = "a"
    seed: Seed = 0
    low: typing.Annotated[float, Range(low=1, above=True)] = 2.0
    counts: dict[Name, Count] = dataclasses.field(default_factory=dict)


@pytest.mark.parametrize("value", ["a", "cifar10-sngan_2", "A" * 100])
def test_names_are_paths_and_words(value: str) -> None:
    assert reader.check_name(value, "here") == reader.read(Names, {"name": value}, "here").name == value


@pytest.mark.parametrize(
    "value",
    ["", "cifar/sngan", "..", "a b", "-rf", "a;b", "$(a)", "a\n", "é", "a.b", "A" * 101, "a'", None, 5, ["a"]],
)
def test_what_is_no_path_or_word_is_no_name(value: Any) -> None:
    with pytest.raises(HarnessError, match=r"^here: the name"):
        reader.check_name(value, "here")
    with pytest.raises(HarnessError, match=r"^here\.name"):
        reader.read(Names, {"name": value}, "here")
    if not isinstance(value, list):
        with pytest.raises(HarnessError, match=r"^here\.counts: key"):
            reader.read(Names, {"counts": {value: 1}}, "here")


@pytest.mark.parametrize("value", ["stand-in; touch X;", "a b.pth", "-x", "~/a", "$HOME/a", "a\\b", "`a`", "a'", "*"])
def test_what_a_shell_would_change_is_no_word(value: str) -> None:
    with pytest.raises(HarnessError, match="must be one shell word"):
        reader.read(Names, {"word": value}, "here")


def test_a_bound_may_be_excluded() -> None:
    with pytest.raises(HarnessError, match=r"here\.low: 1 must be above 1"):
        reader.read(Names, {"low": 1}, "here")
    with pytest.raises(HarnessError, match=r"here\.seed: -1 must be at least 0"):
        reader.read(Names, {"seed": -1}, "here")


@pytest.mark.parametrize(("old", "new"), reader.RENAMED.items())
def test_an_old_key_is_refused_with_its_new_name(old: str, new: str) -> None:
    cls = schema.Recipe if new in schema.Recipe.__annotations__ else schema.Experiment
    with pytest.raises(HarnessError, match=f"here: '{old}' is called '{new}' now"):
        reader.read(cls, {**RECIPE, old: 1} if cls is schema.Recipe else {old: 1}, "here")
