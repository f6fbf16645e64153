"""TransGAN-bench: train, sample and score GANs under one protocol, and hold the scores against reported ones."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.records.results import Results


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
