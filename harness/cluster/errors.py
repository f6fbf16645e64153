"""What `harness launch` refuses before it starts anything."""

from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import HarnessError


class Refused(HarnessError):
    """Nothing was started: something is missing, misspelt, too large for every node, or at work already."""

    exit_code = 2


@contextmanager
def before_start() -> Iterator[None]:
    """Turn any HarnessError of the block into `Refused`, which has an exit code of its own."""
    try:
        yield
    except Refused:
        raise
    except HarnessError as error:
        raise Refused(str(error)) from error
