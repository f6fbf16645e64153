"""The process and the device: threads, determinism, memory, signals."""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from harness.errors import HarnessError


def set_device(device: str, threads: int, deterministic: bool, precision: str) -> None:
    """Fix what the numbers depend on beside the recipe.

    `deterministic` makes a GPU run repeat bit for bit; a CPU run does so anyway at an equal number of threads. In
    float32 no TF32 is used: the faithful mode computes what it says.

    Raises:
        HarnessError: no such device.
    """
    torch.set_num_threads(threads)
    if not device.startswith("cuda"):
        return
    if not torch.cuda.is_available():
        raise HarnessError(f"device '{device}': torch sees no GPU here; use --device cpu.")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS when it starts; needed for determinism
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "float32"


def memory_mib(device: str) -> float:
    """Peak memory: of the device's allocator on a GPU, of this process on a CPU."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT instead of dying of them; the loop looks after each iteration."""
    received: list[int] = []
    try:
        old = {s: signal.signal(s, lambda number, _: received.append(number)) for s in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not the main thread: signals stay with whoever has them
        old = {}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
