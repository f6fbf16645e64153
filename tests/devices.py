"""The devices that a test runs on: `pytest -m gpu` runs what needs a card, and nothing else."""

import pytest
import torch

GPU = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
)
CUDA = pytest.param("cuda", marks=GPU)
DEVICES = ("cpu", CUDA)
