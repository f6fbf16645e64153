"""Suggestions."""

import pytest

from harness.errors import nearest

DATA = ("cifar10", "cifar10-test", "stl10", "standin-cifar10", "standin-stl10")


@pytest.mark.parametrize(
    ("typed", "meant"), [("cifar", "cifar10"), ("standin-cifar", "standin-cifar10"), ("stl", "stl10")]
)
def test_the_nearest_name_is_offered(typed: str, meant: str) -> None:
    assert nearest(typed, DATA) == f" Did you mean '{meant}'?"


def test_a_stand_in_is_offered_to_who_began_to_type_one_only() -> None:
    assert "Did you mean" not in nearest("cifar10", ("standin-cifar10", "stl10-unlabeled"))
    assert "Did you mean" not in nearest("cifar10-sngan", ("quick-cifar10-sngan",))
    assert nearest("quik-cifar10-sngan", ("quick-cifar10-sngan",)) == " Did you mean 'quick-cifar10-sngan'?"


def test_without_a_near_one_all_are_listed() -> None:
    assert nearest("zzz", ("b", "a")) == " Valid: a, b."
