"""Scorers by name; only the libraries of the one that is opened are imported."""

from harness.errors import HarnessError, nearest
from harness.metrics.extractors.base import SCORERS, Extractor, Setup


def open_extractor(scorer: str, setup: Setup) -> Extractor:
    """Open a scorer: `tf`, `torch` or `clean`.

    Raises:
        HarnessError: unknown scorer or device, missing library or unfit weights.
    """
    if scorer == "tf":
        from harness.metrics.extractors import tensorflow

        return tensorflow.open_extractor(setup)
    if scorer == "torch":
        from harness.metrics.extractors import torch

        return torch.open_extractor(setup)
    if scorer == "clean":
        from harness.metrics.extractors import clean_fid

        return clean_fid.open_extractor(setup)
    raise HarnessError(f"--scorer {scorer}: unknown.{nearest(scorer, SCORERS)}")
