"""Whether a port of this host is free for a new deployment."""

import errno
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from flatrun_deployments.discovery import Folder
from flatrun_deployments.errors import deployment_exists, port_in_use

_ANY: Final = ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))  # noqa: S104 - that is what Docker binds


class Reservations:
    """Names and ports of the creations under way in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[str, int | None] = {}

    @contextmanager
    def hold(self, name: str, port: int | None) -> Iterator[None]:
        """Keep both for one creation; 409 ``DEPLOYMENT_EXISTS`` or ``PORT_IN_USE`` when another has them."""
        with self._lock:
            if name in self._taken:
                raise deployment_exists(name)
            if port is not None and port in self._taken.values():
                raise port_in_use(port, "a deployment that is being created")
            self._taken[name] = port
        try:
            yield
        finally:
            with self._lock:
                del self._taken[name]


def check_port(port: int, name: str, folders: Iterable[Folder]) -> None:
    """Raise 409 ``PORT_IN_USE`` when another deployment publishes the TCP port or the host has it bound."""
    for folder in folders:
        if folder.name != name and (port, "tcp") in folder.host_ports:
            raise port_in_use(port, f"the deployment '{folder.name}'")
    if is_bound(port):
        raise port_in_use(port, "another program on this host")


def is_bound(port: int) -> bool:
    """Whether a program listens on the TCP port, on any address of this host.

    Ports that this process may not bind count as free: the Engine may.
    """
    return any(_refused(family, address, port) for family, address in _ANY)


def _refused(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Without it a connection that closed a moment ago would look like a listener.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as exc:
        return exc.errno == errno.EADDRINUSE
    return False
