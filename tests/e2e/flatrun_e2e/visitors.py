"""Visitors with addresses of their own: a wire from a network namespace to the proxy's container.

A request to a port that is published on loopback reaches the proxy from the bridge's address,
whoever sent it. These come over a second interface of the container, so the proxy sees each of
them as it is, and nothing leaves the wire.
"""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

# Documentation ranges: addresses that no real network has, and that are not private either.
NETWORK, PROXY = "198.51.100.0/24", "198.51.100.1"
FIRST, SECOND = "198.51.100.2", "198.51.100.3"


class Visitors:
    """Everybody at the other end of the wire."""

    def __init__(self, pid: int, addresses: Sequence[str] = (FIRST, SECOND)) -> None:
        self._pid, self._addresses = pid, addresses
        mark = secrets.token_hex(4)
        self._namespace, self._near, self._far = f"e2e-{mark}", f"v{mark}", f"e{mark}"

    def plug(self) -> None:
        """Lay the wire; the container's end goes with the container."""
        inside = ["nsenter", "-t", str(self._pid), "-n", "ip"]
        outside = ["ip", "-n", self._namespace]
        _must("ip", "netns", "add", self._namespace)
        wire = ["type", "veth", "peer", "name", self._far, "netns", str(self._pid)]
        _must("ip", "link", "add", self._near, "netns", self._namespace, *wire)
        _must(*inside, "addr", "add", f"{PROXY}/24", "dev", self._far)
        _must(*inside, "link", "set", self._far, "up")
        for address in self._addresses:
            _must(*outside, "addr", "add", f"{address}/24", "dev", self._near)
        _must(*outside, "link", "set", self._near, "up")

    def curl(self, address: str, url: str, *options: str) -> str:
        """Fetch a URL as the visitor of an address, whatever its host; return what curl writes."""
        host = url.split("/")[2]
        there = ["--connect-to", f"{host}::{PROXY}:", "--interface", address, "--noproxy", "*"]
        command = ["ip", "netns", "exec", self._namespace, "curl", "-sS", "--max-time", "30", *there]
        return _must(*command, *options, url)

    def unplug(self) -> None:
        """Remove the namespace, and the wire with it."""
        _must("ip", "netns", "del", self._namespace)


@contextmanager
def visitors_of(pid: int) -> Iterator[Visitors]:
    """Lay a wire to the container whose first process is `pid`."""
    made = Visitors(pid)
    try:
        made.plug()
        yield made
    finally:
        made.unplug()


def _must(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}: {done.stderr}{done.stdout}")
    return done.stdout
