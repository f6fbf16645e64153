"""The training bench's count of operations."""

import json
from pathlib import Path

import pytest

from harness.bench import train


def test_time_of_overlapping_kernels_counts_once() -> None:
    assert train.covered([(5.0, 9.0), (0.0, 2.0), (1.0, 3.0), (6.0, 7.0)]) == 7.0
    assert train.covered([]) == 0.0


def test_operations_per_image_follow_from_the_official_counts(golden_dir: Path) -> None:
    counts = json.loads((golden_dir / "golden.json").read_text())["params_and_macs"]["cifar10"]
    generator, discriminator = 2 * counts["S"]["macs_total"], 2 * counts["D"]["macs_total"]
    # a discriminator step: a fake; forward and backward on real and fake; the penalty and its backward
    step = generator + 6 * discriminator + 9 * discriminator
    generator_step = 3 * (generator + discriminator) * 64 / 32 / 5
    assert train.flop_per_real_image(train.Size()) == pytest.approx(step + generator_step)
