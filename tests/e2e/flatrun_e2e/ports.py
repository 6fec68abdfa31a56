"""Ports for servers under test."""

from __future__ import annotations

import os
import random
import socket

# Below the range from which the kernel takes ports for outgoing connections: a port in it may be
# gone again before the server under test gets to it.
FIRST, EACH_WORKER, WORKERS = 20000, 750, 16


class Ports:
    """Hands out free ports, none twice, and none of those of another pytest worker."""

    def __init__(self, worker: str | None = None) -> None:
        name = worker or os.environ.get("PYTEST_XDIST_WORKER", "gw0")
        number = int(name.removeprefix("gw")) % WORKERS
        start = FIRST + number * EACH_WORKER
        self._left = list(range(start, start + EACH_WORKER))
        random.shuffle(self._left)

    def next(self) -> int:
        """Return a port on which nothing listens, on any address of this machine."""
        while self._left:
            port = self._left.pop()
            if _free(port):
                return port
        raise RuntimeError(f"All {EACH_WORKER} ports of this worker are used up.")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True
