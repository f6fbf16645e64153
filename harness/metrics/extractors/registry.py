"""Scorers by name; only the libraries of the one that is opened are imported."""

from harness.metrics.extractors.base import Extractor, Setup, resizer_of


def open_extractor(scorer: str, setup: Setup, resizer: str | None = None) -> Extractor:
    """Open a scorer: `tf`, `torch` or `clean`, behind its own resizer or another one of `base.RESIZERS`.

    Raises:
        HarnessError: unknown scorer, resizer or device, missing library or unfit weights.
    """
    resizer = resizer_of(scorer, resizer)
    if scorer == "tf":
        from harness.metrics.extractors import tensorflow

        return tensorflow.open_extractor(setup)
    if scorer == "torch":
        from harness.metrics.extractors import torch

        return torch.open_extractor(setup, resizer)
    from harness.metrics.extractors import clean_fid

    return clean_fid.open_extractor(setup, resizer)
