"""What the two steps minimise: losses and regularisers as deterministic functions of images and draws."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from harness.config.schema import Recipe
from harness.training import losses
from harness.training.diffaugment import Draws
from harness.training.ranks import ONE, Ranks

Call = Callable[[torch.Tensor], torch.Tensor]
Apply = Callable[[torch.Tensor, Draws], torch.Tensor]
Terms = dict[str, torch.Tensor]

# Every number a step may report, in the order of the history's columns.
DISCRIMINATOR_TERMS = (
    "discriminator_loss",
    "real_logit",
    "fake_logit",
    "real_sign",
    "penalty",
    "drift",
    "discriminator_grad_norm",
)
GENERATOR_TERMS = ("generator_loss", "super_resolution", "generator_grad_norm")
TERMS = (*DISCRIMINATOR_TERMS, *GENERATOR_TERMS, "penalty_grad_norm", "path_length", "path_length_grad_norm", "ada_p")


class DiscriminatorDraws(NamedTuple):
    """Random numbers of a discriminator step: an augmentation per discriminator call, alpha [N] of the interpolates."""

    real: Draws
    fake: Draws
    mixed: Draws
    alpha: torch.Tensor


def discriminator_terms(
    discriminator: losses.Discriminator,
    recipe: Recipe,
    apply: Apply,
    reals: torch.Tensor,
    fakes: torch.Tensor,
    draws: DiscriminatorDraws,
    batched: bool = False,
    functional: bool = False,
    mean: losses.Mean = torch.mean,
    both: losses.Discriminator | None = None,
) -> Terms:
    """Loss of the discriminator and its parts.

    Args:
        discriminator: images [N, 3, R, R] -> logits [N, 1].
        recipe: objective, penalty and drift.
        apply: the augmentation.
        reals: float [N, 3, R, R] in [-1, 1].
        fakes: alike, without a graph.
        draws: drawn per discriminator call, so that each half keeps its own cutout even when `batched`.
        batched: one discriminator call on reals and fakes together, for discriminators that look at each image by
        itself.
        functional: take the penalty's gradient with `torch.func.grad`.
        mean: of the whole batch, of which reals and fakes may be a part.
        both: the discriminator on reals and fakes together, differentiable once; default: `discriminator`.

    Returns:
        `discriminator_loss` (to be minimised), `real_logit`, `fake_logit`, `real_sign`, and `penalty` and `drift`
        where the recipe has them.
    """
    augmented = apply(reals, draws.real), apply(fakes, draws.fake)
    if batched:
        real, fake = (both or discriminator)(torch.cat(augmented)).chunk(2)
    else:
        real, fake = discriminator(augmented[0]), discriminator(augmented[1])
    loss = losses.OBJECTIVES[recipe.objective].discriminator(real, fake)
    terms = {"real_logit": real.mean(), "fake_logit": fake.mean(), "real_sign": real.sign().mean()}
    if recipe.penalty.kind != "none" and recipe.penalty.every == 1:
        terms["penalty"] = penalty_term(discriminator, recipe, apply, reals, fakes, draws, functional)
        loss = loss + terms["penalty"]
    if recipe.drift.kind != "none":
        terms["drift"] = losses.drift(recipe.drift, real, mean)
        loss = loss + terms["drift"]
    return {"discriminator_loss": loss, **terms}


def penalty_term(
    discriminator: losses.Discriminator,
    recipe: Recipe,
    apply: Apply,
    reals: torch.Tensor,
    fakes: torch.Tensor,
    draws: DiscriminatorDraws,
    functional: bool = False,
) -> torch.Tensor:
    """The recipe's penalty, at interpolates (`gradient`) or at reals (`r1`), of the discriminator behind the
    augmentation.

    With `through_augment` off the gradient is taken with respect to the augmented image.
    """
    images = reals if recipe.penalty.kind == "r1" else losses.interpolate(reals, fakes, draws.alpha)
    if recipe.penalty.through_augment:
        gradient = losses.input_gradient(lambda x: discriminator(apply(x, draws.mixed)), images, functional)
    else:
        gradient = losses.input_gradient(discriminator, apply(images, draws.mixed), functional)
    return losses.penalty(recipe.penalty, gradient)


def generator_terms(
    generator: Call,
    discriminator: losses.Discriminator,
    recipe: Recipe,
    apply: Apply,
    latents: torch.Tensor,
    draws: Draws,
) -> Terms:
    """Adversarial loss of the generator for latents [N, latent_dim]: `generator_loss`."""
    fake = discriminator(apply(generator(latents), draws))
    return {"generator_loss": losses.OBJECTIVES[recipe.objective].generator(fake)}


def super_resolution_loss(generator: Any, reals: torch.Tensor) -> torch.Tensor:
    """Mean squared error between reals [N, 3, R, R] and their average-pooled copies after super-resolution."""
    low = F.adaptive_avg_pool2d(reals, generator.sides[generator.entry_stage])
    return F.mse_loss(generator.super_resolve(low), reals)


def path_length_loss(
    generator: Any, latents: torch.Tensor, mean: torch.Tensor, decay: float, ranks: Ranks = ONE
) -> torch.Tensor:
    """Squared deviation of |d(image . noise) / d(style)| from its moving average, which is updated in place.

    NVlabs/stylegan2-ada-pytorch@d72cc7d: noise N(0, 1) / side; the squares are summed over a style's channels and
    averaged over layers, where the generator has a style per layer ([N, layers, C]).
    """
    images, styles = generator.images_and_styles(latents)
    noise = ranks.randn_like(images) / (images.shape[2] * images.shape[3]) ** 0.5
    gradient = torch.autograd.grad((images * noise).sum(), styles, create_graph=True)[0]
    lengths = gradient.square().sum(-1).reshape(len(latents), -1).mean(1).sqrt()
    target = mean.lerp(ranks.mean(lengths), decay)
    mean.copy_(target.detach())
    return (lengths - target).square().mean()
