"""What changes with the image count, and what a recipe may say."""

from collections.abc import Collection

from harness.config.schema import Locality, Optimiser, Recipe
from harness.errors import HarnessError, nearest
from harness.training import diffaugment, losses
from harness.training.image_stream import DEQUANTISE


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
    """Refuse names, numbers and combinations that the loop does not know.

    Raises:
        HarnessError: with the key, the value and what to write instead.
    """
    names: dict[str, tuple[str, Collection[str]]] = {
        "objective": (recipe.objective, losses.OBJECTIVES),
        "penalty.kind": (recipe.penalty.kind, ("none", "gradient", "r1")),
        "drift.kind": (recipe.drift.kind, ("none", "squared-mean", "mean-square")),
        "ema.kind": (recipe.ema.kind, ("none", "fixed", "half-life")),
        "dequantise": (recipe.dequantise, DEQUANTISE),
        "precision": (recipe.precision, ("float32", "bfloat16")),
        "discriminator_optimiser.decay": (recipe.discriminator_optimiser.decay, ("constant", "linear")),
        "generator_optimiser.decay": (recipe.generator_optimiser.decay, ("constant", "linear")),
    }
    for key, (name, valid) in names.items():
        if name not in valid:
            raise HarnessError(f"recipe: {key} '{name}' is unknown.{nearest(name, valid)}")
    diffaugment.check_policy(recipe.augment)
    counts = ("discriminator_batch", "generator_batch", "n_critic", "log_every_nimg", "checkpoint_every_nimg")
    for key in counts:
        if getattr(recipe, key) < 1:
            raise HarnessError(f"recipe: {key} is {getattr(recipe, key)}; it must be at least 1.")
    if not 0 <= recipe.generator_phase < recipe.n_critic:
        raise HarnessError(f"recipe: generator_phase {recipe.generator_phase} is not in 0..{recipe.n_critic - 1}.")
    if recipe.simultaneous and (recipe.n_critic != 1 or recipe.generator_batch != recipe.discriminator_batch):
        raise HarnessError(
            "recipe: simultaneous updates share their fakes, so n_critic is 1 and the two batches are equal."
        )
    if recipe.compile and (recipe.augment.ada or recipe.growth):
        raise HarnessError("recipe: compile does not go with diffaugment.ada or growth; set compile: false.")
    if recipe.locality is not None and list(recipe.locality.schedule) != sorted(recipe.locality.schedule):
        raise HarnessError(f"recipe: locality.schedule {list(recipe.locality.schedule)} is not ascending.")
