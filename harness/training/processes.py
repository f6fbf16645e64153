"""Processes of one machine that train as one: started, told to stop, and waited for, as torchrun does for several."""

import os
import sys
from collections.abc import Callable
from typing import Any

import torch.distributed as dist
import torch.multiprocessing as multiprocessing

from harness.errors import HarnessError
from harness.training.device import signals
from harness.training.ranks import RankLost

Failure = multiprocessing.ProcessExitedException | multiprocessing.ProcessRaisedException
LEAVE_SEC = 30.0  # that the others have when one has ended before them; then SIGTERM, and as much later SIGKILL
LOOK_SEC = 0.2  # between two looks at the processes, and for signals


def run(count: int, function: Callable[..., object], *arguments: Any, start_method: str = "spawn") -> None:
    """Call `function(*arguments)` in `count` new processes, which find one another by `ranks.joined`.

    SIGTERM, SIGINT and SIGHUP are passed on; if this process is killed, they get SIGINT. One that ends with an error
    ends the others.

    Args:
        count: of processes, on this machine.
        function: at the top level of a module.
        arguments: that can be pickled.
        start_method: `spawn`, or `fork` where no GPU is used.

    Raises:
        HarnessError: what the function raised in one of them.
        RankLost: one was killed, or crashed.
    """
    context = multiprocessing.get_context(start_method)
    errors = context.SimpleQueue()
    store = dist.TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False)  # the system chooses the port
    try:
        children = multiprocessing.start_processes(
            _child, (count, store.port, errors, function, arguments), count, join=False, start_method=start_method
        )
        with signals() as received:
            failed = _wait(children, received)
    finally:
        del store  # its thread ends here: a fork that inherits the object without the thread hangs when it drops it
    if failed is None:
        return
    if received and isinstance(failed, multiprocessing.ProcessExitedException) and failed.signal_name:
        os.kill(os.getpid(), received[0])  # they had not begun to train, so nothing was there to save
    raise _reason(errors, count, failed)


def _wait(children: multiprocessing.ProcessContext, received: list[int]) -> Failure | None:
    """Wait until all processes are gone, passing on signals; return how the first one that failed did so."""
    passed_on = 0
    try:
        while not children.join(LOOK_SEC, LEAVE_SEC):
            for process in children.processes:
                for number in received[passed_on:]:
                    if process.is_alive():
                        os.kill(process.pid, number)
            passed_on = len(received)
    except (multiprocessing.ProcessExitedException, multiprocessing.ProcessRaisedException) as error:
        return error
    finally:
        for process in children.processes:  # none is left, unless this wait was interrupted
            process.kill()
    return None


def _child(rank: int, count: int, port: int, errors: Any, function: Callable[..., object], arguments: Any) -> None:
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ |= {name: str(number) for name, number in numbers.items()} | {
        "MASTER_ADDR": "127.0.0.1",
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store is in the process that started this one
        "GLOO_SOCKET_IFNAME": "lo",  # works whatever the machine's name resolves to
    }
    try:
        function(*arguments)
    except HarnessError as error:
        errors.put((type(error), str(error), getattr(error, "nimg", None)))
        sys.exit(error.exit_code)


def _reason(errors: Any, count: int, first: Failure) -> HarnessError:
    """What the processes said; where they only missed one another, which of them was lost."""
    said: list[HarnessError] = []
    while not errors.empty():
        kind, message, nimg = errors.get()
        said.append(kind(message) if nimg is None else kind(message, nimg))
    own = [error for error in said if not isinstance(error, RankLost)]
    if own:
        return own[0]
    which = f"process {first.error_index} of {count}"
    if isinstance(first, multiprocessing.ProcessRaisedException):
        print(first, file=sys.stderr)
        return RankLost(f"{which} crashed; its traceback is above.")
    if first.signal_name:
        return RankLost(f"{which} was killed by {first.signal_name}; {said[0] if said else 'run again to go on.'}")
    return said[0] if said else RankLost(f"{which} left with code {first.exit_code}; run again to go on.")
