"""The process and the device: threads, determinism, memory, signals."""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from harness.device import check_device


def set_device(device: str, threads: int, deterministic: bool, precision: str) -> None:
    """Fix what the numbers depend on beside the recipe.

    `deterministic` makes a GPU run repeat bit for bit; a CPU run does so anyway at an equal number of threads. In
    float32 no TF32 is used: the faithful mode computes what it says.

    Raises:
        HarnessError: not a device, or not one of this machine.
    """
    check_device(device)
    torch.set_num_threads(threads)
    if device == "cpu":
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS when it starts; needed for determinism
    torch.use_deterministic_algorithms(deterministic)
    # A card runs backward passes on a thread of its own, which numbers the nodes of a penalty's graph apart. The
    # numbers decide in which order gradients are summed, so a resumed process would round otherwise than a whole one.
    torch.autograd.set_multithreading_enabled(not deterministic)
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "float32"


def memory_mib(device: str) -> float:
    """Peak memory: of the device's allocator on a GPU, of this process on a CPU."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def signals() -> Iterator[list[int]]:
    """Collect SIGTERM, SIGINT and SIGHUP, which end a process by default; the loop looks after each iteration.

    An ignored SIGHUP stays ignored: `nohup` asks for that.
    """
    received: list[int] = []
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    stops = (signal.SIGTERM, signal.SIGINT, *hangup)
    try:
        old = {stop: signal.signal(stop, lambda number, _: received.append(number)) for stop in stops}
    except ValueError:  # not the main thread: signals stay with whoever has them
        old = {}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
