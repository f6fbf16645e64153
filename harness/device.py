"""The device that computes: its name is checked before anything is computed on it."""

import re

from harness.errors import HarnessError

NAMES = "cpu, cuda or cuda:N"


def is_device(name: str) -> bool:
    """Whether `name` is written as a device: cpu, cuda or cuda:N."""
    return re.fullmatch(r"cpu|cuda(:\d+)?", name) is not None


def check_device(name: str) -> str:
    """Return `name` if it is a device that this machine has.

    Raises:
        HarnessError: not a device, or torch sees no such GPU here.
    """
    if not is_device(name):
        raise HarnessError(f"device '{name}' is unknown; use {NAMES}.")
    if name != "cpu":
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(name.partition(":")[2] or 0) >= count:
            raise HarnessError(f"device '{name}': torch sees {count or 'no'} GPU(s) here; use --device cpu.")
    return name
