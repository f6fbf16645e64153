"""Recipes of StyleGAN2 say what the public code and its papers say."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.config.experiments import definitions
from harness.training import ema


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> dict[str, Any]:
    """Numbers of the public code."""
    return json.loads((golden_dir / "golden_baselines.json").read_text())


def test_recipe_of_the_quoted_row() -> None:
    recipe = definitions().recipe("stylegan2-diffaug")
    assert (recipe.objective, recipe.discriminator_batch, recipe.generator_batch) == ("non-saturating", 32, 32)
    assert recipe.length_nimg == 25_000_000
    assert recipe.flip
    assert recipe.augment.policy == ("color", "cutout")
    assert (recipe.penalty.kind, recipe.penalty.every) == ("r1", 1)
    assert recipe.penalty.weight == 0.1 / 2
    assert not recipe.penalty.through_augment
    assert ema.decay(recipe.ema, 999_999, 32) == 0
    assert ema.decay(recipe.ema, 1_000_000, 32) == 0.5 ** (32 / 1_000_000)
    plain = definitions().recipe("stylegan2-diffaug", {"augment": {"policy": []}})
    assert plain.augment.policy == ()


@pytest.mark.parametrize("name", ["stylegan2-cifar-ada", "stylegan2-64-ada"])
def test_lazy_regularisation_rescales_adam(name: str) -> None:
    recipe = definitions().recipe(name)
    for optimiser, every in ((recipe.discriminator_optimiser, 16), (recipe.generator_optimiser, 4)):
        share = every / (every + 1)
        assert optimiser.lr == pytest.approx(0.0025 * share, rel=1e-12)
        assert optimiser.betas == (0, pytest.approx(0.99**share, rel=1e-12))
    assert recipe.penalty.every == 16
    assert recipe.penalty.through_augment


def test_recipes_of_the_ada_repository(golden: dict[str, Any]) -> None:
    cifar, auto = definitions().recipe("stylegan2-cifar-ada"), definitions().recipe("stylegan2-64-ada")
    assert (cifar.discriminator_batch, cifar.length_nimg, cifar.path_length) == (64, 100_000_000, None)
    assert cifar.penalty.weight == 0.01 / 2
    assert auto.penalty.weight == pytest.approx(0.0002 * 64**2 / 32 / 2, rel=1e-12)
    assert auto.path_length is not None
    assert (auto.path_length.weight, auto.path_length.every) == (2, 4)
    assert auto.ema.half_life_nimg == 10_000
    for key, expected in golden["ada_ema"].items():
        assert ema.decay(cifar.ema, int(key.removeprefix("nimg_")), 64) == pytest.approx(expected, rel=1e-12)
    ada = cifar.augment.ada
    assert ada == auto.augment.ada
    assert ada is not None
    step = ada.every * cifar.discriminator_batch / ada.speed_nimg
    assert (ada.target, step) == (0.6, golden["ada_step"]["p_increment_per_adjustment_batch64_interval4"])
