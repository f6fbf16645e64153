"""CUDA graphs: a whole training step, draws and optimiser included, becomes one launch; two streams within it."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import torch

Terms = dict[str, torch.Tensor]
WARMUPS = 3  # eager calls before the capture, so that compilation, autotuning and optimiser state are settled


class Graphed:
    """Calls `function(*tensors)` eagerly a few times (these are real steps), then captures it and replays.

    Inside the function nothing may depend on the host between calls but the tensors handed in and the seed of the
    default generator, which a replay reads anew. Everything else belongs in `key`; a new key, or another number of
    tensors, is captured afresh.
    """

    def __init__(self, function: Callable[..., Terms], key: Callable[[], Hashable]) -> None:
        """Wrap `function`; the tensors it returns are overwritten by the next call."""
        self.function, self.key_now = function, key
        self.calls: Counter[Hashable] = Counter()
        self.stream = torch.cuda.Stream()
        self.key: Hashable = None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: tuple[torch.Tensor, ...] = ()
        self.outputs: Terms = {}

    def __call__(self, *arguments: torch.Tensor | None) -> Terms:
        """Run one step; an argument that is None is left out."""
        tensors = [tensor for tensor in arguments if tensor is not None]
        key = (self.key_now(), len(tensors))
        self.calls[key] += 1
        if self.calls[key] <= WARMUPS:
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                outputs = self.function(*tensors)
            torch.cuda.current_stream().wait_stream(self.stream)
            return outputs
        if self.graph is None or key != self.key:
            self.graph, self.key = torch.cuda.CUDAGraph(), key
            self.inputs = tuple(tensor.clone() for tensor in tensors)
            with torch.cuda.graph(self.graph, stream=self.stream):  # the stream that autograd saw in the warm-up
                self.outputs = self.function(*self.inputs)
        for ours, theirs in zip(self.inputs, tensors, strict=True):
            ours.copy_(theirs)
        self.graph.replay()
        return self.outputs


class Aside:
    """Work that may run beside what follows it, and goes first: on a GPU in a stream of its own, elsewhere in turn.

    What one stream makes for the other must be kept until they have met: the allocator does not know of both.
    """

    def __init__(self, device: str) -> None:
        """Open the stream."""
        self.stream = torch.cuda.Stream(device, priority=-1) if device.startswith("cuda") else None

    @contextmanager
    def begin(self) -> Iterator[None]:
        """Run the block's work aside, after all that was asked for before."""
        if self.stream is None:
            yield
            return
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            yield

    def meet(self) -> None:
        """Let what follows wait for the work aside."""
        if self.stream is not None:
            torch.cuda.current_stream().wait_stream(self.stream)
