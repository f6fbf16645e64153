"""Several processes that train as one, each on its rows of every batch; one process is the same code without them.

Every process draws the random numbers of the whole batch and takes its rows; what depends on more than one image goes
through `total`, the sum over all processes, which can be differentiated any number of times. The loss is the mean of
the processes' losses, so a gradient is the mean of theirs.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from harness.errors import HarnessError

TIMEOUT_SEC = 600.0  # a collective that takes longer ends the run; it includes waiting for a checkpoint to be written
LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # set by torchrun, and by `training.processes`
T = TypeVar("T")


class RankLost(HarnessError):
    """Another process of this training died, or did not answer in time."""


@dataclass(frozen=True)
class Ranks:
    """Which process this is, of how many; alone, every method does nothing or what torch does."""

    rank: int = 0
    count: int = 1

    @property
    def writes(self) -> bool:
        """Whether this process writes files and messages; one does."""
        return self.rank == 0

    # ---------------------------------------------------------------- rows of a batch

    def part(self, rows: Tensor, dim: int = 0) -> Tensor:
        """This process's rows of all rows along `dim`, whose number divides by `count`."""
        if self.count == 1:
            return rows
        own = rows.shape[dim] // self.count
        return rows.narrow(dim, self.rank * own, own)

    def gather(self, rows: Tensor) -> Tensor:
        """All rows [count * N, ...] of every process's [N, ...], in order; differentiable."""
        if self.count == 1:
            return rows
        before = rows.new_zeros(self.rank * len(rows), *rows.shape[1:])
        after = rows.new_zeros((self.count - 1 - self.rank) * len(rows), *rows.shape[1:])
        return self.total(torch.cat([before, rows, after]))

    def randn(self, rows: int, *shape: int, **options: Any) -> Tensor:
        """`torch.randn(rows, *shape, **options)` of the whole batch, of which this process has `rows` rows."""
        return self.part(torch.randn(rows * self.count, *shape, **options))

    def randn_like(self, rows: Tensor) -> Tensor:
        """`torch.randn_like` of the whole batch, of which this process has `rows`."""
        return self.part(torch.randn_like(torch.cat([rows.detach()] * self.count) if self.count > 1 else rows))

    # ---------------------------------------------------------------- numbers of all processes

    def total(self, x: Tensor) -> Tensor:
        """Sum over the processes, elementwise; differentiable any number of times."""
        if self.count == 1:
            return x
        summed: Tensor = _Total.apply(x)
        return summed

    def mean(self, x: Tensor) -> Tensor:
        """Mean of all elements of every process's `x`; differentiable."""
        return x.mean() if self.count == 1 else self.total(x.mean()) / self.count

    def reported(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean over the processes of scalars, without their graph."""
        values = {name: value.detach() for name, value in terms.items()}
        if self.count == 1:
            return values
        means = self.total(torch.stack([value.double() for value in values.values()])) / self.count
        return {name: mean.to(value.dtype) for (name, value), mean in zip(values.items(), means, strict=True)}

    def average_gradients(self, gradients: list[Tensor]) -> None:
        """Replace gradients by their mean over the processes, in one buffer."""
        if self.count == 1:
            return
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        _all_reduce(flat)
        flat /= self.count
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    # ---------------------------------------------------------------- agreement, over the CPU

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers."""
        if self.count == 1:
            return number
        numbers = torch.tensor(number)
        _all_reduce(numbers, dist.ReduceOp.MAX)
        return int(numbers)

    def from_writer(self, value: T) -> T:
        """What the writing process has for `value`."""
        if self.count == 1:
            return value
        held = [value]
        with _answered():
            dist.broadcast_object_list(held, device=torch.device("cpu"))
        return held[0]

    def check_equal(self, tensors: dict[str, Tensor]) -> None:
        """Compare tensors, bit for bit.

        Raises:
            HarnessError: they are not the same in all processes; the first that differs is named.
        """
        if self.count == 1:
            return
        sums: list[dict[str, str]] = [{}] * self.count
        with _answered():
            dist.all_gather_object(sums, {name: _sha256(tensor) for name, tensor in tensors.items()})
        for rank, theirs in enumerate(sums):
            other = next((name for name, value in sums[0].items() if theirs.get(name) != value), None)
            if other is not None:
                raise HarnessError(
                    f"process {rank} of {self.count} holds another {other} than process 0: they no longer train as "
                    "one; use machines and cards of one kind, or one process."
                )


ONE = Ranks()


class _Total(torch.autograd.Function):
    """Sum over the processes. What is minimised is the sum of all losses, so the derivative is the sum again."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        out = x.detach().clone(memory_format=torch.contiguous_format)
        _all_reduce(out)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed: Tensor = _Total.apply(gradient)
        return summed


def _all_reduce(x: Tensor, operation: Any = dist.ReduceOp.SUM) -> None:
    with _answered():
        dist.all_reduce(x, operation)


@contextmanager
def _answered() -> Iterator[None]:
    """Turn the failure of a collective into a sentence.

    Raises:
        RankLost: a process is gone, or did not answer within the time given to `joined`.
    """
    try:
        yield
    except RuntimeError as error:
        why = str(error).strip().splitlines()[0][:200]
        raise RankLost(f"another process of this training is gone, or did not answer in time ({why}).") from error


def _sha256(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.detach().cpu().contiguous().numpy().tobytes()).hexdigest()


def launched() -> int:
    """How many processes train as one with this one, by the environment that torchrun sets; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in LAUNCHED) else 1


def speaks() -> bool:
    """Whether this process says on stdout what all of them did."""
    return launched() == 1 or os.environ["RANK"] == "0"


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the other processes, if there are any.

    Tensors of a GPU go through NCCL where each process has a card of its own (device `cuda`), through gloo where they
    share one (`cuda:N`).

    Raises:
        RankLost: the others are not there within `TIMEOUT_SEC`.
    """
    if launched() == 1:
        yield ONE
        return
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    with _answered():
        dist.init_process_group(backend, init_method="env://", timeout=timedelta(seconds=TIMEOUT_SEC))
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def own_device(device: str) -> str:
    """The device of this process: with several, `cuda` is a card each, and any other name the same for all."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and launched() > 1 else device


def check_cards(device: str, processes: int) -> None:
    """Refuse more processes with a card each than this machine has cards.

    Raises:
        HarnessError: with what to do instead.
    """
    cards = torch.cuda.device_count() if device == "cuda" else processes
    if processes > cards:
        raise HarnessError(
            f"{processes} processes with a GPU each, but torch sees {cards} here; use --processes {cards}, or --device "
            "cuda:0 to let them share one."
        )
