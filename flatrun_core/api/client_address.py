"""The address a request came from: the peer's, or what configured proxies say of it."""

import functools
import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Final

# In the WSGI environment of a request that came by the panel's own socket, where only the configured
# proxy is. Names of headers begin otherwise there, so no client can set it.
BY_SOCKET: Final = "flatrun.by_socket"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_WITH_PORT = re.compile(r"\[(?P<v6>[^\[\]]*)\](?::[0-9]{1,5})?|(?P<v4>[0-9.]+):[0-9]{1,5}")


def parse_networks(values: Sequence[str]) -> tuple[Network, ...]:
    """Addresses and CIDR ranges as networks; host bits are allowed and dropped."""
    return tuple(ipaddress.ip_network(value, strict=False) for value in values)


def client_address(
    peer: str, headers: Mapping[str, str], trusted: Sequence[Network], *, by_socket: bool = False
) -> str:
    """The nearest address of the forwarded chain that no configured proxy owns, in its usual form.

    The header is read from the right and only as far as each hop is trusted; from a peer that is
    not configured it is not read at all. ``by_socket`` says that the peer is the proxy itself. A hop
    may carry a port, as some proxies send it. A peer without an address is given back as it is when
    it is not believed, or says nothing.
    """
    nearest = _address(peer)
    if by_socket or (nearest is not None and _is_trusted(nearest, trusted)):
        for hop in reversed(headers.get("X-Forwarded-For", "").split(",")):
            address = _address(_without_port(hop.strip()))
            if address is None:
                break
            nearest = address
            if not _is_trusted(nearest, trusted):
                break
    return peer if nearest is None else str(nearest)


@functools.lru_cache(maxsize=1024)
def _address(text: str) -> Address | None:
    """An address; that of IPv4 where it is written as one of IPv6, so that nobody is two."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _without_port(hop: str) -> str:
    """``192.0.2.1:4711`` and ``[2001:db8::1]:4711`` without what is not the address."""
    found = _WITH_PORT.fullmatch(hop)
    return (found["v6"] or found["v4"]) if found else hop


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)
