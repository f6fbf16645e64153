"""Everything a run carries from one iteration to the next, as named tensors."""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from harness.config import Optimiser
from harness.training.checkpoint import load_strictly
from harness.training.ema import Average
from harness.training.history import Meter


def adam(module: nn.Module, spec: Optimiser) -> torch.optim.Adam:
    """Adam over all parameters, one fused kernel for all tensors."""
    return torch.optim.Adam(module.parameters(), lr=spec.lr, betas=spec.betas, eps=spec.eps, fused=True)


def learning_rate(spec: Optimiser, nimg: int, planned_nimg: int) -> float:
    """Rate at image count `nimg`; the linear decay runs over the whole planned recipe, also when a scale cuts the run short."""
    return spec.lr * (1 - nimg / planned_nimg) if spec.decay == "linear" else spec.lr


@torch.no_grad()
def batch_independent(critic: nn.Module, resolution: int) -> bool:
    """Whether one critic call on two batches equals two calls: measured in float64 on a copy, with random images.

    False for batch norm and minibatch standard deviation (an image's logit depends on its neighbours) and for spectral norm
    (each call iterates: buffers change).
    """
    probe = copy.deepcopy(critic).double().cpu().train()
    before = [b.clone() for b in probe.buffers()]
    images = torch.randn(4, 3, resolution, resolution, dtype=torch.double)
    apart = torch.cat([probe(images[:2]), probe(images[2:])])
    together = probe(images)
    unchanged = all(torch.equal(a, b) for a, b in zip(before, probe.buffers(), strict=True))
    return unchanged and torch.allclose(apart, together, rtol=1e-9, atol=1e-12)


@dataclass
class State:
    """Networks, their optimisers, the average, sums since the last log point, and the state of adaptive regularisers."""

    generator: nn.Module
    critic: nn.Module
    average: Average
    generator_optimiser: torch.optim.Adam
    critic_optimiser: torch.optim.Adam
    meter: Meter
    extra: dict[str, torch.Tensor]

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors by name; nothing else decides how the run goes on."""
        out = {}
        for name, module in self._modules().items():
            out |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
        for name, optimiser in self._optimisers().items():
            for index, parameter in enumerate(optimiser.param_groups[0]["params"]):
                out |= {f"{name}/{index}/{key}": value for key, value in optimiser.state[parameter].items()}
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
                like = parameter if value.shape == parameter.shape else value.to(self.meter.device)
                optimiser.state[parameter][field] = torch.empty_like(like, dtype=value.dtype).copy_(value)
        self.meter.sums = {k: v.to(self.meter.device) for k, v in _under(tensors, "meter").items()}
        for key, value in _under(tensors, "extra").items():
            self.extra[key].copy_(value)

    def _modules(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "critic": self.critic, "average": self.average.module}

    def _optimisers(self) -> dict[str, torch.optim.Adam]:
        return {"generator_optimiser": self.generator_optimiser, "critic_optimiser": self.critic_optimiser}


def _under(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}
