"""One discriminator step, one generator step: gradients of the terms of `training.terms`, clipped, and Adam.

A discriminator step goes loop -> discriminator_step -> discriminator_gradients -> terms.discriminator_terms ->
terms.penalty_term.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch

from harness.config.schema import Penalty, Recipe
from harness.errors import HarnessError
from harness.training import diffaugment
from harness.training.cuda_graphs import Aside, Graphed
from harness.training.diffaugment import Draws
from harness.training.progressive_growing import blend_reals, lod_at
from harness.training.ranks import ONE, Ranks
from harness.training.schedules import path_length_batch
from harness.training.state import State, batch_independent
from harness.training.terms import (
    Call,
    DiscriminatorDraws,
    Terms,
    discriminator_terms,
    generator_terms,
    path_length_loss,
    penalty_term,
    super_resolution_loss,
)
from harness.training.whole_batch import split


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


def laid_out_as(parameter: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Return the gradient in its parameter's memory layout: fused Adam pairs their elements in memory order.

    `backward` sees to that itself; `torch.autograd.grad` of compiled code does not.
    """
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def in_precision(network: Call, device: str, precision: str) -> Call:
    """Let a network compute in `precision` (bfloat16 by autocast) and return the dtype it was given."""
    if precision == "float32":
        return network

    def call(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            return network(x).to(x.dtype)

    return call


def compiled(function: Callable[..., Any], device: str) -> Callable[..., Any]:
    """Compile a function as one graph; on a GPU small kernels that do not depend on each other are made one."""
    on_card = device.startswith("cuda")
    return torch.compile(function, fullgraph=True, options={"combo_kernels": True} if on_card else None)


class Steps:
    """The steps of one run. `*_gradients` leave gradients in the parameters; `apply_*` clip them and let Adam step.

    With several processes, batches, latents and draws are this process's part, and losses and norms the whole batch's.
    """

    def __init__(self, recipe: Recipe, state: State, resolution: int, device: str, ranks: Ranks = ONE) -> None:
        """Bind networks and recipe.

        With `recipe.compile` each loss, and the penalty, goes through `torch.compile` as one graph, and on a GPU each
        whole step becomes one CUDA graph.

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
        once = state.discriminator
        if device.startswith("cuda") and hasattr(once, "differentiable_once"):
            once = once.differentiable_once()  # type: ignore[operator]
        self.discriminator = in_precision(state.discriminator, device, recipe.precision)
        self.judge = in_precision(once, device, recipe.precision)  # the same where no second derivative is needed
        self.generator = in_precision(state.generator, device, recipe.precision)
        self.half_width: int | None = None
        self.batched = batch_independent(state.discriminator, resolution)
        self._both: Call = self.judge
        if ranks.count > 1:
            split(state.generator, (self.latent_dim,), ranks)
            self._normals = split(once, (3, resolution, resolution), ranks)
            if once is not state.discriminator:
                split(state.discriminator, (3, resolution, resolution), ranks)
            self._both = self._judge_both
        self._fakes = self.generator
        self._discriminator_terms, self._generator_terms = discriminator_terms, generator_terms
        self._penalty_term = penalty_term
        self._without_penalty = dataclasses.replace(recipe, penalty=Penalty())
        self._aside: Aside | None = None
        if recipe.compile:
            self._discriminator_terms = compiled(discriminator_terms, device)
            self._penalty_term = compiled(penalty_term, device)
            self._generator_terms = compiled(generator_terms, device)
            self._fakes = compiled(self.generator, device)
            if recipe.penalty.kind != "none" and recipe.penalty.every == 1:
                self._aside = Aside(device)
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
        if self._aside is None:
            terms = self._terms_of(self.recipe, reals, fakes, draws)
            terms["discriminator_loss"].backward()
        else:
            terms = self._side_by_side(self._aside, reals, fakes, draws)
        return self.ranks.reported(terms)

    def _side_by_side(self, aside: Aside, reals: torch.Tensor, fakes: torch.Tensor, draws: DiscriminatorDraws) -> Terms:
        """The same with the penalty's gradients taken aside: neither they nor the loss's fill a GPU."""
        parameters = list(self.state.discriminator.parameters())
        with aside.begin():
            penalty = self._penalty_term(self.discriminator, self.recipe, self.apply, reals, fakes, draws, True)
            others = torch.autograd.grad(penalty, parameters, materialize_grads=True)
            penalty = penalty.detach()
        terms = self._terms_of(self._without_penalty, reals, fakes, draws)
        found = torch.autograd.grad(terms["discriminator_loss"], parameters, materialize_grads=True)
        gradients = [laid_out_as(parameter, gradient) for parameter, gradient in zip(parameters, found, strict=True)]
        aside.meet()
        torch._foreach_add_(gradients, others)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        return terms | {"discriminator_loss": terms["discriminator_loss"] + penalty, "penalty": penalty}

    def _terms_of(self, recipe: Recipe, reals: torch.Tensor, fakes: torch.Tensor, draws: DiscriminatorDraws) -> Terms:
        return self._discriminator_terms(
            self.discriminator,
            recipe,
            self.apply,
            reals,
            fakes,
            draws,
            self.batched,
            recipe.compile,
            self.ranks.mean,
            self._both,
        )

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
        terms = self._generator_terms(self.generator, self.judge, self.recipe, self.apply, latents, draws)
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

    def _judge_both(self, images: torch.Tensor) -> torch.Tensor:
        """Judge reals and fakes together, which are parts of two batches."""
        self._normals.batches = 2
        logits = self.judge(images)
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
