"""Networks by name: the catalogue says where a model lives, this builds it."""

import importlib
import inspect
import typing
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from harness.config.experiments import Model, load_models, pick
from harness.config.reader import check_keys, convert
from harness.errors import HarnessError


def build(role: str, spec: dict[str, Any], resolution: int, models: dict[str, Model] | None = None) -> nn.Module:
    """Build one network with weights drawn from torch's global generator.

    Args:
        role: `generator` or `discriminator`.
        spec: `{model: name, **options}`; options are laid over the catalogue's.
        resolution: image side in pixels.

    Raises:
        HarnessError: unknown model, resolution or option (the nearest valid one is named), or an option of another
            type or value than the builder takes.
    """
    assert role in ("generator", "discriminator"), f"role is generator or discriminator, not {role}"
    options = dict(spec)
    name = options.pop("model", None)
    model: Model = pick(name, models if models is not None else load_models(), f"{role} model")
    if resolution not in model.resolutions:
        raise HarnessError(f"model '{name}' is defined at {list(model.resolutions)} px, not at {resolution} px.")
    where = f"{role} of model '{name}'"
    make = builder(model, role, where)
    kinds = typing.get_type_hints(make)
    options = {**getattr(model, role), **options}
    check_keys(options, inspect.signature(make).parameters.keys() - {"resolution"}, where)
    options = {key: convert(kinds.get(key, Any), value, f"{where}: {key}") for key, value in options.items()}
    try:
        network: nn.Module = make(resolution, **options)
    except (ValueError, TypeError, ArithmeticError, RuntimeError) as error:  # networks have no errors of the benchmark
        raise HarnessError(
            f"{where} at {resolution} px cannot be built with {options or 'no options'}: {error}"
        ) from error
    if not all(p.numel() for p in network.parameters()):
        raise HarnessError(f"{where} at {resolution} px has a layer without a channel with {options}.")
    return network


def builder(model: Model, role: str, where: str) -> Callable[..., nn.Module]:
    """Return the function that makes a model's networks of one role.

    Raises:
        HarnessError: the module cannot be imported, or has no such function.
    """
    try:
        module = importlib.import_module(model.module)
    except ImportError as error:
        raise HarnessError(f"{where}: module: '{model.module}' cannot be imported ({error}).") from None
    make = getattr(module, f"build_{role}", None)
    if not callable(make):
        raise HarnessError(f"{where}: module '{model.module}' has no function build_{role}.")
    return typing.cast(Callable[..., nn.Module], make)


class _ShapesOnly(TorchFunctionMode):
    """Leaves out initialisations whose `meta` versions would import torch's compiler: that takes seconds."""

    left_out = ("normal_", "erfinv_", "clamp_", "normalize")  # they keep the shape

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(function, "__name__", "") in self.left_out:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


def outline(role: str, spec: dict[str, Any], resolution: int, models: dict[str, Model] | None = None) -> nn.Module:
    """Build one network of shapes alone, on torch's `meta` device: it takes no memory and computes nothing.

    Raises:
        HarnessError: see `build`.
    """
    with torch.device("meta"), _ShapesOnly():
        return build(role, spec, resolution, models)


def parameters(network: nn.Module) -> int:
    """Number of parameters (buffers excluded)."""
    return sum(p.numel() for p in network.parameters())
