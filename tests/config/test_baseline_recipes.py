"""Recipes of the convolutional baselines: arithmetic of their lengths, and the numbers that the comparisons turn on."""

from pathlib import Path

import pytest
import yaml

from harness.config import experiments, schema
from tests.paths import ROOT

FOLDER = ROOT / "experiments" / "recipes"
FILES = ("sngan", "wgan_gp", "autogan", "adversarialnas", "dcgan")

GENERATOR_STEPS = {  # as the repositories count them
    "sngan": 50_000,
    "sngan-collections": 100_000,
    "sngan-mimicry": 100_000,
    "sngan-pytorch": 50_000,
    "wgan-gp": 100_000,
    "wgan-gp-collections": 100_000,
    "wgan-gp-original": 100_000,
    "wgan-gp-mimicry": 100_000,
    "wgan-gp-diffaug": 100_000,
    "autogan": 320 * 782 / 5,
    "autogan-diffaug": 320 * 782 / 5,
    "autogan-stl": 153 * 1_641 / 5,
    "adversarialnas": 150_000,
    "adversarialnas-whole-batch": 150_000,
    "adversarialnas-stl": 600 * 821 / 5,
    "dcgan": 100_000,
    "dcgan-mimicry": 100_000,
    "dcgan-ttur": 225_000,
}


def names(file: str) -> list[str]:
    """Return the recipes of one file."""
    return list(yaml.safe_load(Path(FOLDER / f"{file}.yaml").read_text()))


def test_every_recipe_is_checked() -> None:
    assert {name for file in FILES for name in names(file)} == set(GENERATOR_STEPS)


@pytest.mark.parametrize("name", GENERATOR_STEPS)
def test_length_in_images(name: str) -> None:
    recipe = experiments.definitions().recipe(name)
    assert recipe.length_nimg / recipe.discriminator_batch / recipe.n_critic == GENERATOR_STEPS[name]
    assert 0 <= recipe.generator_phase < recipe.n_critic
    due = [*recipe.snapshots_nimg, *recipe.grids_nimg]
    assert all(0 < nimg <= recipe.length_nimg and nimg % recipe.discriminator_batch == 0 for nimg in due)


@pytest.mark.parametrize("file", FILES)
def test_every_recipe_names_its_own_source(file: str) -> None:
    entries = yaml.safe_load(Path(FOLDER / f"{file}.yaml").read_text())
    assert all(len(entry.get("source", "")) > 20 for entry in entries.values())


def test_published_differences_are_in_the_recipes() -> None:
    recipe = experiments.definitions().recipe
    assert recipe("sngan").discriminator_optimiser == schema.Optimiser(2e-4, (0.0, 0.9), decay="linear")
    assert recipe("sngan-pytorch").discriminator_optimiser.decay == "constant"
    assert recipe("sngan-pytorch").ema == recipe("autogan").ema == schema.Ema("fixed", decay=0.999)
    assert (recipe("sngan").dequantise, recipe("sngan-mimicry").dequantise) == ("sn-gan", "none")
    assert recipe("wgan-gp").penalty == schema.Penalty("gradient", weight=10.0, target=1.0)
    assert (recipe("wgan-gp").flip, recipe("wgan-gp-collections").flip) == (False, True)
    assert (recipe("adversarialnas").discriminator_batch, recipe("adversarialnas-whole-batch").discriminator_batch) == (
        20,
        40,
    )
    assert (recipe("autogan").generator_phase, recipe("wgan-gp").generator_phase) == (0, 4)
    assert (recipe("wgan-gp-mimicry").generator_batch, recipe("wgan-gp").generator_batch) == (64, 128)
