"""The bench of several processes."""

import pytest

from harness.bench import processes, train
from harness.errors import HarnessError

TINY = train.Size(
    {"width": 32, "depths": (1, 1), "latent_dim": 8}, {"width": 16, "depth": 1}, 8, 4, 4, n_critic=1, repeats=1
)


def test_one_and_two_processes_compute_the_same_losses() -> None:
    found = processes.measure(TINY, "cpu", 2, 2, start_method="fork")
    assert found["loss_difference"] <= found["tolerance"]
    assert found["efficiency"] == found["speedup"] == found["one"]["cycle_sec"] / found["several"]["cycle_sec"]
    report = found | {"machine": "m", "device": "cpu", "threads": 2, "size": {**vars(TINY)}}
    assert "| 2 processes " in processes.markdown(report)


def test_threads_that_do_not_split_are_refused() -> None:
    with pytest.raises(HarnessError, match="3 threads do not split evenly over 2 processes"):
        processes.measure(TINY, "cpu", 2, 3)
