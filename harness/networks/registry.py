"""Networks by name: the catalogue says where a model lives, this builds it."""

import importlib
import inspect
from typing import Any

from torch import nn

from harness.config.experiments import Model, load_models, pick
from harness.errors import HarnessError, nearest


def build(role: str, spec: dict[str, Any], resolution: int, models: dict[str, Model] | None = None) -> nn.Module:
    """Build one network with weights drawn from torch's global generator.

    Args:
        role: `generator` or `discriminator`.
        spec: `{model: name, **options}`; options are laid over the catalogue's.
        resolution: image side in pixels.

    Raises:
        HarnessError: unknown model, resolution or option (the nearest valid one is named).
    """
    assert role in ("generator", "discriminator"), f"role is generator or discriminator, not {role}"
    options = dict(spec)
    name = options.pop("model")
    model: Model = pick(name, models if models is not None else load_models(), "model")
    if resolution not in model.resolutions:
        raise HarnessError(f"model '{name}' is defined at {list(model.resolutions)} px, not at {resolution} px.")
    builder = getattr(importlib.import_module(model.module), f"build_{role}")
    options = {**getattr(model, role), **options}
    valid = set(inspect.signature(builder).parameters) - {"resolution"}
    for option in options:
        if option not in valid:
            raise HarnessError(f"{role} of model '{name}': unknown option '{option}'.{nearest(option, valid)}")
    try:
        network: nn.Module = builder(resolution, **options)
    except ValueError as error:  # networks know nothing of the benchmark's errors
        raise HarnessError(f"{role} of model '{name}' at {resolution} px: {error}") from None
    return network


def parameters(network: nn.Module) -> int:
    """Number of parameters (buffers excluded)."""
    return sum(p.numel() for p in network.parameters())
