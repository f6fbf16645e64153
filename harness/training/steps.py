"""One discriminator step, one generator step.

A discriminator step goes loop -> discriminator_step -> discriminator_gradients -> discriminator_terms -> penalty_term.
The losses are deterministic functions of images and draws.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from harness.config.schema import Recipe
from harness.errors import HarnessError
from harness.training import diffaugment, losses
from harness.training.cuda_graphs import Graphed
from harness.training.diffaugment import Draws
from harness.training.progressive_growing import blend_reals, lod_at
from harness.training.ranks import ONE, Ranks
from harness.training.schedules import path_length_batch
from harness.training.state import State, batch_independent
from harness.training.whole_batch import split

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
        both: the discriminator on reals and fakes together; default: `discriminator`.

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


def apply_gradients(optimiser: torch.optim.Optimizer, clip: float | None, ranks: Ranks = ONE) -> torch.Tensor:
    """Clip the total norm of the gradient of the whole batch, step, and return the norm before clipping.

    A scalar; the host does not wait for it.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    gradients = [p.grad for p in parameters if p.grad is not None]
    ranks.average_gradients(gradients)
    norm = torch.nn.utils.get_total_norm(gradients)
    if clip is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, clip, norm)
    optimiser.step()
    return norm


def in_precision(network: Call, device: str, precision: str) -> Call:
    """Let a network compute in `precision` (bfloat16 by autocast) and return the dtype it was given."""
    if precision == "float32":
        return network

    def call(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            return network(x).to(x.dtype)

    return call


class Steps:
    """The steps of one run. `*_gradients` leave gradients in the parameters; `apply_*` clip them and let Adam step.

    With several processes, batches, latents and draws are this process's part, and losses and norms the whole batch's.
    """

    def __init__(self, recipe: Recipe, state: State, resolution: int, device: str, ranks: Ranks = ONE) -> None:
        """Bind networks and recipe.

        With `recipe.compile` each loss goes through `torch.compile` as one graph (the discriminator's with its
        penalty), and on a GPU each whole step becomes one CUDA graph.

        Raises:
            HarnessError: `compile` with a penalty on a discriminator under spectral norm, or a network whose batch
                cannot be split over several processes.
        """
        spectral = any(name.endswith("weight_u") for name, _ in state.discriminator.named_buffers())
        if recipe.compile and spectral and recipe.penalty.kind != "none" and recipe.penalty.every == 1:
            # the power iteration writes to buffers, which torch.func.grad does not allow
            raise HarnessError("recipe: compile does not go with a penalty under spectral norm; set compile: false.")
        self.recipe, self.state, self.resolution, self.device, self.ranks = recipe, state, resolution, device, ranks
        self.latent_dim: int = state.generator.latent_dim  # type: ignore[assignment]
        self.discriminator = in_precision(state.discriminator, device, recipe.precision)
        self.generator = in_precision(state.generator, device, recipe.precision)
        self.half_width: int | None = None
        self.batched = batch_independent(state.discriminator, resolution)
        self._both: Call | None = None
        if ranks.count > 1:
            split(state.generator, (self.latent_dim,), ranks)
            self._normals = split(state.discriminator, (3, resolution, resolution), ranks)
            self._both = self._discriminate_both
        self._fakes = self.generator
        self._discriminator_terms, self._generator_terms = discriminator_terms, generator_terms
        if recipe.compile:
            self._discriminator_terms = torch.compile(discriminator_terms, fullgraph=True)
            self._generator_terms = torch.compile(generator_terms, fullgraph=True)
            self._fakes = torch.compile(self.generator)
            if device.startswith("cuda"):
                one, other = self.discriminator_step, self.generator_step
                self.discriminator_step = Graphed(one, lambda: self.half_width)  # type: ignore[assignment, method-assign]
                self.generator_step = Graphed(other, lambda: self.half_width)  # type: ignore[assignment, method-assign]

    def discriminator_step(self, reals: torch.Tensor, latents: torch.Tensor) -> Terms:
        """Update the discriminator on reals [N, 3, R, R] and on fakes of latents [N, L].

        With `simultaneous` updates it leaves gradients only, which `generator_step` applies.
        """
        terms = self.discriminator_gradients(reals, latents, self.discriminator_draws(len(reals)))
        return terms if self.recipe.simultaneous else terms | self.apply_discriminator()

    def generator_step(self, latents: torch.Tensor, reals: torch.Tensor | None = None) -> Terms:
        """Update the generator on latents [M, L], co-trained on `reals` [N, 3, R, R] if given.

        With `simultaneous` updates the discriminator too, by the gradients that `discriminator_step` left.
        """
        terms = self.generator_gradients(latents, self.draw(len(latents)), reals)
        if self.recipe.simultaneous:
            terms |= self.apply_discriminator()
        return terms | self.apply_generator()

    def set_rates(self, discriminator_lr: float, generator_lr: float) -> None:
        """Set both learning rates."""
        rates = {self.state.discriminator_optimiser: discriminator_lr, self.state.generator_optimiser: generator_lr}
        for optimiser, rate in rates.items():
            group = optimiser.param_groups[0]
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)  # read by a CUDA graph
            else:
                group["lr"] = rate

    def set_locality(self, shape: str, half_width: int | None) -> None:
        """Limit attention in the generator and in its average, which is looked at in between."""
        self.half_width = half_width
        for network in (self.state.generator, self.state.average.module):
            network.set_locality(shape, half_width)  # type: ignore[operator]

    def grow(self, nimg: int) -> float | None:
        """Set the level of detail at image count `nimg`; Adam forgets when a resolution enters or is complete."""
        spec = self.recipe.growth
        if spec is None:
            return None
        now, before = (lod_at(max(n, 0), spec, self.resolution) for n in (nimg, nimg - self.recipe.discriminator_batch))
        if math.floor(now) != math.floor(before) or math.ceil(now) != math.ceil(before):
            self.state.generator_optimiser.state.clear()
            self.state.discriminator_optimiser.state.clear()
        for network in (self.state.generator, self.state.discriminator, self.state.average.module):
            network.set_lod(now)  # type: ignore[operator]
        return now

    def prepare(self, reals: torch.Tensor, lod: float | None) -> torch.Tensor:
        """Real images as the present level of detail shows them."""
        return reals if lod is None else blend_reals(reals, lod)

    def apply(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """Augment images: DiffAugment by `draws`, then the adaptive pipe, which draws for itself."""
        images = diffaugment.apply(self.recipe.augment, images, draws)
        return images if self.state.ada is None else self.state.ada(images, ranks=self.ranks)

    def latents(self, count: int) -> torch.Tensor:
        """Draw N(0, I): [count, latent_dim]."""
        return self.ranks.randn(count, self.latent_dim, device=self.device)

    def draw(self, count: int) -> Draws:
        """Draw one discriminator call's augmentation; the last dimension counts images, a scalar is of the batch."""
        draws = diffaugment.draw(self.recipe.augment, count * self.ranks.count, self.resolution, self.device)
        return {name: self.ranks.part(draw, -1) if draw.ndim else draw for name, draw in draws.items()}

    def discriminator_draws(self, count: int) -> DiscriminatorDraws:
        """Draw a discriminator step's augmentation and interpolation."""
        draws = self.draw(count), self.draw(count), self.draw(count)
        alpha = torch.rand(count * self.ranks.count, device=self.device)
        return DiscriminatorDraws(*draws, alpha=self.ranks.part(alpha))

    def discriminator_gradients(self, reals: torch.Tensor, latents: torch.Tensor, draws: DiscriminatorDraws) -> Terms:
        """Take the gradients of the discriminator's loss on reals [N, 3, R, R] and fakes of latents [N, L]."""
        with torch.no_grad():
            fakes = self._fakes(latents)
        self.state.discriminator_optimiser.zero_grad()
        terms = self._discriminator_terms(
            self.discriminator,
            self.recipe,
            self.apply,
            reals,
            fakes,
            draws,
            self.batched,
            self.recipe.compile,
            self.ranks.mean,
            self._both,
        )
        terms["discriminator_loss"].backward()
        return self.ranks.reported(terms)

    def lazy_penalty(self, reals: torch.Tensor) -> Terms:
        """A penalty that acts every k-th step only, times k, with an Adam step of its own."""
        draws = self.discriminator_draws(len(reals))
        with torch.no_grad():
            fakes = self.generator(self.latents(len(reals))) if self.recipe.penalty.kind == "gradient" else reals
        self.state.discriminator_optimiser.zero_grad()
        term = penalty_term(self.discriminator, self.recipe, self.apply, reals, fakes, draws)
        (term * self.recipe.penalty.every).backward()
        norm = self.apply_discriminator()["discriminator_grad_norm"]
        return self.ranks.reported({"penalty": term}) | {"penalty_grad_norm": norm}

    def generator_gradients(self, latents: torch.Tensor, draws: Draws, reals: torch.Tensor | None = None) -> Terms:
        """Backward of the generator's loss through a frozen discriminator; with `reals`, co-trained on them."""
        self.state.discriminator.requires_grad_(False)
        self.state.generator_optimiser.zero_grad()
        terms = self._generator_terms(self.generator, self.discriminator, self.recipe, self.apply, latents, draws)
        loss = terms["generator_loss"]
        if reals is not None and self.recipe.cotraining is not None:
            terms["super_resolution"] = super_resolution_loss(self.state.generator, reals)
            loss = loss + self.recipe.cotraining.weight * terms["super_resolution"]
        loss.backward()
        self.state.discriminator.requires_grad_(True)
        return self.ranks.reported(terms)

    def path_length(self) -> Terms:
        """Path-length regularisation, every k-th generator step, times k, with an Adam step of its own."""
        spec = self.recipe.path_length
        assert spec is not None, "the recipe has no path-length regularisation"
        self.state.generator_optimiser.zero_grad()
        latents = self.latents(path_length_batch(self.recipe) // self.ranks.count)
        mean = self.state.extra["path_length_mean"]
        term = path_length_loss(self.state.generator, latents, mean, spec.decay, self.ranks)
        (term * spec.weight * spec.every).backward()
        norm = self.apply_generator()["generator_grad_norm"]
        return self.ranks.reported({"path_length": term}) | {"path_length_grad_norm": norm}

    def adapt_augmentation(self, terms: Terms, step: int) -> Terms:
        """Move the adaptive augmentation's probability every k-th step, by the mean sign of the real logits since.

        Returns the probability this step was augmented with: `ada_p`.
        """
        spec, pipe = self.recipe.augment.ada, self.state.ada
        if spec is None or pipe is None:
            return {}
        signs = self.state.extra["real_signs"]
        signs += torch.stack([terms["real_sign"], torch.ones_like(terms["real_sign"])])
        used = {"ada_p": pipe.p.clone()}
        if (step + 1) % spec.every == 0:
            images = spec.every * self.recipe.discriminator_batch
            pipe.update(float(signs[0] / signs[1]), images, spec.target, spec.speed_nimg)
            signs.zero_()
        return used

    def _discriminate_both(self, images: torch.Tensor) -> torch.Tensor:
        """Judge reals and fakes together, which are parts of two batches."""
        self._normals.batches = 2
        logits = self.discriminator(images)
        self._normals.batches = 1
        return logits

    def apply_discriminator(self) -> Terms:
        """Clip and step the discriminator: `discriminator_grad_norm` before clipping."""
        optimiser = self.state.discriminator_optimiser
        return {"discriminator_grad_norm": apply_gradients(optimiser, self.recipe.clip_grad_norm, self.ranks)}

    def apply_generator(self) -> Terms:
        """Clip and step the generator: `generator_grad_norm` before clipping."""
        optimiser = self.state.generator_optimiser
        return {"generator_grad_norm": apply_gradients(optimiser, self.recipe.clip_grad_norm, self.ranks)}
