"""Operations and parameters of networks, and of a training step."""

import dataclasses

import pytest
import torch
from torch import nn

from harness.config import experiments
from harness.networks import operations, registry
from harness.networks.operations import Count


def test_operations_and_parameters_are_counted_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """An m x n matrix on one vector takes m n multiplications."""

    def build(role: str, spec: dict, resolution: int, models: object) -> nn.Module:
        if role == "discriminator":
            return nn.Sequential(nn.Flatten(), nn.Linear(3 * resolution**2, 1))
        network = nn.Sequential(nn.Linear(10, 20), nn.Linear(20, 5))
        network.latent_dim = 10
        return network

    monkeypatch.setattr(registry, "build", build)
    assert operations.count("generator", {}, 32) == Count(10 * 20 + 20 + 105, 200 + 100, 10)
    assert operations.count("discriminator", {}, 32) == Count(3073, 3072)


def test_convolutions_count_except_grouped_ones() -> None:
    x = torch.empty(1, 4, 8, 8, device="meta")
    with torch.device("meta"):
        assert operations.macs(nn.Conv2d(4, 6, 3, padding=1), x) == 8 * 8 * 4 * 6 * 9
        assert operations.macs(nn.ConvTranspose2d(4, 6, 2, stride=2), x) == 8 * 8 * 4 * 6 * 4
        assert operations.macs(nn.Conv2d(4, 4, 3, groups=4), x) == 0


def test_training_operations_follow_the_recipe() -> None:
    generator, discriminator = Count(1, 5), Count(1, 50)
    recipe = dataclasses.replace(
        experiments.definitions().recipe("sngan"), n_critic=5, discriminator_batch=32, generator_batch=64
    )
    assert operations.training_flop(recipe, generator, discriminator) == pytest.approx(10 + 600 + 330 * 2 / 5)
    lazy = dataclasses.replace(recipe, penalty=dataclasses.replace(recipe.penalty, kind="r1", every=3))
    assert operations.training_flop(lazy, generator, discriminator) == pytest.approx(10 + 600 + 300 + 330 * 2 / 5)
