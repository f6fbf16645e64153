"""The device that computes: its name is checked before anything is computed on it."""

import re

from harness.errors import HarnessError

NAMES = "auto, cpu, cuda or cuda:N"
PATTERN = r"auto|cpu|cuda(:\d+)?"


def is_device(name: str) -> bool:
    """Whether `name` is written as a device: auto, cpu, cuda or cuda:N."""
    return re.fullmatch(PATTERN, name, re.ASCII) is not None


def check_device(name: str) -> str:
    """Return the device that `name` stands for on this machine; `auto` is cuda where torch sees a GPU, else cpu.

    Raises:
        HarnessError: not a device, or torch sees no such GPU here.
    """
    if not is_device(name):
        raise HarnessError(f"device '{name}' is unknown; use {NAMES}.")
    if name == "cpu":
        return name
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if count else "cpu"
    if int(name.partition(":")[2] or 0) >= count:
        raise HarnessError(f"device '{name}': torch sees {count or 'no'} GPU(s) here; use --device cpu.")
    return name
