"""TransGAN-bench: train, sample and score GANs under one protocol, and hold the scores against reported ones."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.records.results import Results
    from harness.records.train_record import TrainRecord


def train(
    experiment: str,
    seed: int = 0,
    *,
    scale: Path | str | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> "TrainRecord":
    """Train one experiment of a scale, as `harness train` does; see `harness.training.experiment.train`.

    Args:
        scale: a `params.yaml` or its folder; default: the nearest one at or above the working folder.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; default: `cpu`.
        threads: CPU threads; default: the scale's.

    Example:
        >>> import harness
        >>> record = harness.train("quick-cifar10-transgan", seed=0)
        >>> record.weights_sha256["last"]

    Raises:
        HarnessError: an unknown experiment, unfit data, a training that was stopped or diverged, or a full disk.
    """
    from harness.training import experiment as stage

    return stage.train(experiment, seed, scale=scale, device=device, threads=threads)


def load_results(path: Path | str = "results") -> "Results":
    """Read the measured scores of one scale (`results/quick`) or of all (`results`) as tidy data frames.

    Example:
        >>> import harness
        >>> results = harness.load_results("results/quick")
        >>> results.summary().query("metric == 'fid' and snapshot == 'last'")

    Raises:
        HarnessError: no scores there, or a broken file.
    """
    from harness.records import results

    return results.load(path)
