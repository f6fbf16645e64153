"""Everything a run carries from one iteration to the next, as named tensors."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from harness.config.schema import Optimiser, Recipe
from harness.networks.generator_file import load_strictly
from harness.training.ada import AdaPipe
from harness.training.ema import Average
from harness.training.history import Meter
from harness.training.image_stream import derive_seed
from harness.training.schedules import check_networks

if TYPE_CHECKING:
    from harness.config.experiments import Run

# Labels that the networks' seeds derive from. They stay as first chosen: another label is another initialisation,
# and every dump of samples made so far would change.
SEED_LABELS = {"generator": "generator", "discriminator": "critic"}

Build = Callable[[str, dict[str, Any], int], nn.Module]


def adam(module: nn.Module, spec: Optimiser, graphed: bool = False) -> torch.optim.Adam:
    """Adam over all parameters, one fused kernel for all tensors; `graphed` keeps what it reads on the device."""
    device = next(module.parameters()).device
    rate = torch.tensor(spec.lr, device=device) if graphed else spec.lr
    return torch.optim.Adam(
        module.parameters(), lr=rate, betas=spec.betas, eps=spec.eps, fused=True, capturable=graphed
    )


@torch.no_grad()
def batch_independent(discriminator: nn.Module, resolution: int) -> bool:
    """Whether one discriminator call on two batches equals two calls: measured in float64 on a copy, with random
    images.

    False for batch norm and minibatch standard deviation (a logit depends on the neighbours) and for spectral norm
    (each call iterates: buffers change).
    """
    probe = copy.deepcopy(discriminator).double().cpu().train()
    before = [b.clone() for b in probe.buffers()]
    images = torch.rand(4, 3, resolution, resolution, dtype=torch.double) * 2 - 1
    apart = torch.cat([probe(images[:2]), probe(images[2:])])
    together = probe(images)
    unchanged = all(torch.equal(a, b) for a, b in zip(before, probe.buffers(), strict=True))
    return unchanged and torch.allclose(apart, together, rtol=1e-9, atol=1e-12)


@dataclass
class State:
    """Networks, optimisers, the average, sums since the last log point, and what adaptive regularisers remember."""

    generator: nn.Module
    discriminator: nn.Module
    average: Average
    generator_optimiser: torch.optim.Adam
    discriminator_optimiser: torch.optim.Adam
    meter: Meter
    extra: dict[str, torch.Tensor]
    ada: AdaPipe | None = None

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors by name; nothing else decides how the run goes on."""
        out: dict[str, torch.Tensor] = {}
        for name, module in self._modules().items():
            out |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
        for name, optimiser in self._optimisers().items():
            for index, parameter in enumerate(optimiser.param_groups[0]["params"]):
                out |= {f"{name}/{index}/{key}": value for key, value in optimiser.state.get(parameter, {}).items()}
        out |= {f"meter/{key}": value for key, value in self.meter.sums.items()}
        return out | {f"extra/{key}": value for key, value in self.extra.items()}

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Set everything from `tensors()` of an equal run."""
        for name, module in self._modules().items():
            load_strictly(module, _under(tensors, name), f"checkpoint, {name}")
        for name, optimiser in self._optimisers().items():
            optimiser.state.clear()
            for key, value in _under(tensors, name).items():
                index, field = key.split("/")
                parameter = optimiser.param_groups[0]["params"][int(index)]
                like = parameter if value.shape == parameter.shape else value.to(parameter.device)
                optimiser.state[parameter][field] = torch.empty_like(like, dtype=value.dtype).copy_(value).detach()
        self.meter.sums = {k: v.to(self.meter.device) for k, v in _under(tensors, "meter").items()}
        for key, value in _under(tensors, "extra").items():
            self.extra[key].copy_(value)

    def _modules(self) -> dict[str, nn.Module]:
        modules = {"generator": self.generator, "discriminator": self.discriminator, "average": self.average.module}
        return modules | ({"ada": self.ada} if self.ada is not None else {})

    def _optimisers(self) -> dict[str, torch.optim.Adam]:
        return {
            "generator_optimiser": self.generator_optimiser,
            "discriminator_optimiser": self.discriminator_optimiser,
        }


def new_state(recipe: Recipe, generator: nn.Module, discriminator: nn.Module, device: str) -> State:
    """Fresh optimisers, average and regulariser memory around two networks that are on `device`.

    A discriminator that can skip what its head does not read is told to.
    """
    if hasattr(discriminator, "class_token_only"):
        discriminator.class_token_only()  # type: ignore[operator]
    extra = {}
    if recipe.path_length is not None:
        extra["path_length_mean"] = torch.zeros((), device=device)
    if recipe.augment.ada is not None:
        extra["real_signs"] = torch.zeros(2, device=device)  # sum and count since the last adjustment
    graphed = recipe.compile and device.startswith("cuda")
    return State(
        generator=generator,
        discriminator=discriminator,
        average=Average(generator, recipe.ema),
        generator_optimiser=adam(generator, recipe.generator_optimiser, graphed),
        discriminator_optimiser=adam(discriminator, recipe.discriminator_optimiser, graphed),
        meter=Meter(device),
        extra=extra,
        ada=AdaPipe().to(device) if recipe.augment.ada is not None else None,
    )


def build_networks(run: "Run", build: Build, device: str) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator in training mode, initialised from the run's seed.

    Networks made of `nn.Conv2d` get the channels-last memory layout; values do not depend on it beyond rounding.
    """
    networks = []
    for role, spec in (("generator", run.generator), ("discriminator", run.discriminator)):
        torch.manual_seed(derive_seed(run.seed, SEED_LABELS[role]))
        network = build(role, spec, run.resolution).to(device).train()
        if sum(isinstance(m, nn.Conv2d) for m in network.modules()) > 1:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        networks.append(network)
    check_networks(run.recipe, networks[0], networks[1], run.resolution)
    return networks[0], networks[1]


def _under(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}
