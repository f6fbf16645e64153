"""Weights as one file: equal weights are equal bytes, and another network's are refused."""

from pathlib import Path

import pytest
import torch

from harness.errors import HarnessError
from harness.networks import generator_file
from tests.training import tiny


def test_equal_weights_are_equal_files(tmp_path: Path) -> None:
    """A pipeline that hashes weights must not take them for new ones."""
    run = {"experiment": "e", "seed": "0", "digest": "d", "selection": "none"}
    module, paths = torch.nn.Linear(3, 2), [tmp_path / f"{i}.safetensors" for i in range(10)]
    assert len({generator_file.save_generator(path, module, 7, run) for path in paths}) == 1
    other = torch.nn.Linear(3, 2)
    assert tiny.load_generator(other, paths[0]) == 7
    assert torch.equal(other.weight, module.weight)
    assert generator_file.open_weights(paths[0]).metadata == {"nimg": "7", **run}


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    tiny.fit(tiny.run(length_nimg=0, snapshots_nimg=()), tmp_path)
    path = tmp_path / "out" / "weights" / "last.safetensors"
    with pytest.raises(HarnessError, match=r"Missing: .*project.*Unexpected: .*layers"):
        tiny.load_generator(tiny.build("generator", {"model": "transgan"}, 8), path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(HarnessError, match="not readable"):
        tiny.load_generator(tiny.build("generator", {"model": "mlp"}, 8), path)
    with pytest.raises(HarnessError, match="no such weights"):
        tiny.load_generator(tiny.build("generator", {"model": "mlp"}, 8), tmp_path / "none.safetensors")
