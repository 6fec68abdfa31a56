"""Work given to threads, until the interpreter ends."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from flatrun_certificates.errors import Stopped

T = TypeVar("T")


def submit(pool: ThreadPoolExecutor, work: Callable[..., T], *args: object) -> "Future[T]":
    """As the pool's own; ``Stopped`` where the interpreter ends, after which no pool takes work."""
    try:
        return pool.submit(work, *args)
    except RuntimeError as error:
        # The same kind of error tells that no thread can be started.
        if "shutdown" in str(error):
            raise Stopped from None
        raise
