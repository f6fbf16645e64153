"""What changes with the image count, and what a recipe may say."""

import dataclasses
import math

from torch import nn

from harness.config.reader import read
from harness.config.schema import Locality, Optimiser, Recipe
from harness.errors import HarnessError


def learning_rate(spec: Optimiser, nimg: int, planned_nimg: int) -> float:
    """Rate at image count `nimg`; a linear decay runs over the planned recipe, also where a scale cuts it short."""
    return spec.lr * (1 - nimg / planned_nimg) if spec.decay == "linear" else spec.lr


def half_width(spec: Locality, nimg: int) -> int | None:
    """Half-width of the attention mask at image count `nimg`; None after the schedule's end."""
    return next((width for until_nimg, width in spec.schedule if nimg < until_nimg), None)


def crossed(interval: int, previous: int, nimg: int) -> bool:
    """Whether a multiple of `interval` lies in (previous, nimg]."""
    return nimg // interval > previous // interval


def check_recipe(recipe: Recipe) -> None:
    """Refuse numbers that a recipe's fields do not allow, and combinations that the loop does not know.

    Raises:
        HarnessError: with the key, the value and what to write instead.
    """
    read(Recipe, dataclasses.asdict(recipe), "recipe")
    if recipe.generator_phase >= recipe.n_critic:
        raise HarnessError(f"recipe: generator_phase {recipe.generator_phase} is not in 0..{recipe.n_critic - 1}.")
    if recipe.simultaneous and (recipe.n_critic != 1 or recipe.generator_batch != recipe.discriminator_batch):
        raise HarnessError(
            "recipe: simultaneous updates share their fakes, so n_critic is 1 and the two batches are equal."
        )
    if recipe.compile and (recipe.augment.ada or recipe.growth):
        raise HarnessError("recipe: compile does not go with augment.ada or growth; set compile: false.")
    if recipe.locality is not None and list(recipe.locality.schedule) != sorted(recipe.locality.schedule):
        raise HarnessError(f"recipe: locality.schedule {list(recipe.locality.schedule)} is not ascending.")
    if recipe.ema.kind == "half-life" and recipe.ema.half_life_nimg == 0:
        raise HarnessError("recipe: ema.kind half-life needs half_life_nimg above 0.")
    if recipe.path_length is not None and recipe.path_length.batch_shrink > recipe.generator_batch:
        raise HarnessError(
            f"recipe: path_length.batch_shrink {recipe.path_length.batch_shrink} leaves no image of a generator_batch "
            f"of {recipe.generator_batch}."
        )


def path_length_batch(recipe: Recipe) -> int:
    """How many latents one path-length term is computed on; 0 without one."""
    spec = recipe.path_length
    return 0 if spec is None else max(recipe.generator_batch // spec.batch_shrink, 1)


def check_processes(recipe: Recipe, processes: int) -> None:
    """Refuse a recipe that `processes` processes cannot train as one does.

    Raises:
        HarnessError: a batch that does not split evenly, with the numbers that divide all of them; or `compile`.
    """
    batches = {
        "discriminator_batch": recipe.discriminator_batch,
        "generator_batch": recipe.generator_batch,
        "path_length": path_length_batch(recipe),
    }
    common = math.gcd(*batches.values())
    if common % processes:
        sizes = ", ".join(f"{name} {size}" for name, size in batches.items() if size)
        fit = ", ".join(str(n) for n in range(1, common + 1) if common % n == 0)
        raise HarnessError(f"recipe: {sizes} images do not split evenly over {processes} processes; take {fit}.")
    if processes > 1 and recipe.compile:
        raise HarnessError(f"recipe: compile does not go with {processes} processes; set compile: false, or take 1.")


HOOKS = (  # part of a recipe -> what it calls: (role, method)
    ("locality", "generator", "set_locality"),
    ("cotraining", "generator", "super_resolve"),
    ("growth", "generator", "set_lod"),
    ("growth", "discriminator", "set_lod"),
    ("path_length", "generator", "images_and_styles"),
)


def check_networks(recipe: Recipe, generator: nn.Module, discriminator: nn.Module, resolution: int) -> None:
    """Refuse a recipe that asks of the networks what they cannot do.

    Raises:
        HarnessError: names the part of the recipe.
    """
    networks = {"generator": generator, "discriminator": discriminator}
    for part, role, method in HOOKS:
        if getattr(recipe, part) is not None and not hasattr(networks[role], method):
            name = type(networks[role]).__name__
            raise HarnessError(f"recipe: {part} needs a {role} with `{method}`, which {name} lacks; set {part}: null.")
    if recipe.cotraining is not None and generator.entry_stage is None:
        raise HarnessError("recipe: cotraining needs the generator's option entry_stage, e.g. 1; or cotraining: null.")
    if recipe.growth is not None and recipe.growth.first_resolution > resolution:
        raise HarnessError(
            f"recipe: growth.first_resolution {recipe.growth.first_resolution} is above the images' {resolution} px."
        )
