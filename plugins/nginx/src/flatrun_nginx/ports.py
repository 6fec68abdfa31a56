"""Whether something else on this host has a port that nginx is to have."""

import errno
import socket
from typing import Final

_ANY: Final = ("", "0.0.0.0", "::")  # noqa: S104 - compared; bound for a moment, and never listened on


def is_taken(address: str, port: int) -> bool:
    """Whether a port of an address cannot be had; False where this process may not try.

    An empty address stands for all, of IPv4 and of IPv6. An address of another host is not tried.
    """
    if address in _ANY:
        return _fails(socket.AF_INET, "", port) or _fails(socket.AF_INET6, "::", port)
    return _fails(socket.AF_INET6 if ":" in address else socket.AF_INET, address, port)


def overlap(one: str, other: str) -> bool:
    """Whether two addresses of this host share their ports; an empty one stands for all."""
    return one in _ANY or other in _ANY or one == other


def _fails(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((address, port))
    except OSError as exc:
        return exc.errno == errno.EADDRINUSE
    return False
