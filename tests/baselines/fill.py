"""How golden_baselines.json (its `fill_rule`) fills the baselines: role, stage and branch give every tensor."""

import math
import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests import fill as golden
from tests.fill import statistics, values

RELATIVE = 1e-8  # tolerance of float64 numbers, as the file states
ABSOLUTE = 1e-12  # for numbers that cancel to nearly zero

# layer name -> role, stage, branch
RESNET_GENERATOR = {
    "linear": "1 0 0",
    r"blocks\.(\d)\.conv1": r"2 \1 0",
    r"blocks\.(\d)\.conv2": r"3 \1 0",
    r"blocks\.(\d)\.shortcut": r"4 \1 0",
    "to_rgb": "5 0 0",
    r"blocks\.(\d)\.norm1": r"6 \1 0",
    r"blocks\.(\d)\.norm2": r"7 \1 0",
    "norm": "8 0 0",
}
RESNET_DISCRIMINATOR = {
    r"blocks\.(\d)\.conv1": r"11 \1 0",
    r"blocks\.(\d)\.conv2": r"12 \1 0",
    r"blocks\.(\d)\.shortcut": r"13 \1 0",
    "head": "14 0 0",
}


def latent(n: int, dim: int, role: int = 51) -> Tensor:
    """Return latents [n, dim] of unit variance."""
    return golden.latent(n, dim, role)


def image(n: int, side: int, role: int = 52) -> Tensor:
    """Return images [n, 3, side, side] in [-1, 1)."""
    return golden.image(n, side, role)


Place = tuple[int, int, int]  # role, s, b


def place_of(name: str, places: Mapping[str, str]) -> Place:
    """Look up `layer name pattern -> "role s b"`; `\\1`, `\\2` in the text are groups of the pattern."""
    for pattern, text in places.items():
        match = re.fullmatch(pattern, name)
        if match:
            role, s, b = (int(part) for part in match.expand(text).split())
            return role, s, b
    raise AssertionError(f"no role for layer {name}")


@torch.no_grad()
def fill(net: nn.Module, places: Mapping[str, str], full: bool) -> nn.Module:
    """Fill every layer of `net` in place by its role; returns it in float64 and eval mode."""
    net.double()
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            role, s, b = place_of(name, places)
            weight = layer.weight_orig if hasattr(layer, "weight_orig") else layer.weight
            shape = tuple(weight.shape)
            weight.copy_(values(shape, role, s, b) * 2 / math.sqrt(math.prod(shape[1:])))
            if layer.bias is not None:
                layer.bias.copy_(_full(full, tuple(layer.bias.shape), role + 100, s, b))
            if hasattr(layer, "weight_u"):
                u = values((shape[0],), role + 600, s, b)
                layer.weight_u.copy_(torch.ones(1) if shape[0] == 1 else u / u.norm())
        elif isinstance(layer, nn.BatchNorm2d):
            role, s, b = place_of(name, places)
            shape = (layer.num_features,)
            layer.weight.copy_(1 + _full(full, shape, role + 200, s, b))
            layer.bias.copy_(_full(full, shape, role + 300, s, b))
            layer.running_mean.copy_(_full(full, shape, role + 400, s, b))
            layer.running_var.copy_(1 + 2 * _full(full, shape, role + 500, s, b))
        else:
            assert not list(layer.parameters(recurse=False)), f"{name}: a layer the fill rule does not know"
    return net.eval()


def _full(full: bool, shape: tuple[int, ...], role: int, s: int, b: int) -> Tensor:
    return 0.5 * values(shape, role, s, b) if full else torch.zeros(shape, dtype=torch.float64)


def assert_close(measured: Any, expected: Any) -> None:
    """Compare nested numbers with the golden file's float64 tolerance."""
    if isinstance(expected, Mapping):
        for key, value in expected.items():
            assert_close(measured[key], value)
    elif isinstance(expected, list):
        assert len(measured) == len(expected)
        for m, e in zip(measured, expected, strict=True):
            assert_close(m, e)
    else:
        assert measured == pytest.approx(expected, rel=RELATIVE, abs=ABSOLUTE)


class Watch:
    """Collect the output statistics of named submodules during the next forward passes."""

    def __init__(self, net: nn.Module, names: Mapping[str, str]) -> None:
        self.seen: dict[str, dict[str, Any]] = {}
        for label, path in names.items():
            net.get_submodule(path).register_forward_hook(self._hook(label))

    def _hook(self, label: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            self.seen[label] = statistics(output[1] if isinstance(output, tuple) else output)

        return hook
