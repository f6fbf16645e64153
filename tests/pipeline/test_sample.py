"""A dump is drawn from a snapshot of the planned training, and says so."""

import json
from pathlib import Path

import pytest
import yaml

from harness.config.experiments import find_scale
from harness.config.reader import merge
from harness.errors import HarnessError
from harness.files import sha256_file
from harness.pipeline.sample import sample
from harness.training.experiment import train


def test_only_the_planned_training_is_sampled(tiny_scale: Path) -> None:
    scale = find_scale(tiny_scale)
    train("f", scale=scale)
    record = sample(scale, scale.run("f", 0), n=3)
    assert json.loads(scale.folder.sample_record("f", 0, "last").read_text())["samples_sha256"] == record.samples_sha256
    assert record.weights_sha256 == sha256_file(scale.folder.weights("f", 0, "last"))
    with pytest.raises(HarnessError, match="no snapshot 'bset'; the recipe keeps last, best, 8"):
        sample(scale, scale.run("f", 0), "bset")

    path = tiny_scale / "experiments/tables/tiny.yaml"
    changed = {"f": {"changes": {"discriminator_optimiser": {"lr": 0.5}}}}
    path.write_text(yaml.safe_dump(merge(yaml.safe_load(path.read_text()), changed)))
    scale = find_scale(tiny_scale)
    with pytest.raises(
        HarnessError, match=r"planned otherwise since then \(recipe\.discriminator_optimiser\.lr: 0\.001"
    ):
        sample(scale, scale.run("f", 0), n=3)
