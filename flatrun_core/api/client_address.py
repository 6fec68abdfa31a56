"""The address a request came from: the peer's, or what configured proxies say of it."""

import ipaddress
from collections.abc import Mapping, Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(values: Sequence[str]) -> tuple[Network, ...]:
    """Addresses and CIDR ranges as networks; host bits are allowed and dropped."""
    return tuple(ipaddress.ip_network(value, strict=False) for value in values)


def client_address(peer: str, headers: Mapping[str, str], trusted: Sequence[Network]) -> str:
    """The nearest address of the forwarded chain that no configured proxy owns.

    The header is read from the right and only as far as each hop is trusted; from a peer that is
    not configured it is not read at all.
    """
    if not _is_trusted(peer, trusted):
        return peer
    chain = [hop.strip() for hop in headers.get("X-Forwarded-For", "").split(",")]
    nearest = peer
    for hop in reversed(chain):
        if not _is_address(hop):
            break
        nearest = hop
        if not _is_trusted(hop, trusted):
            break
    return nearest


def _is_trusted(text: str, trusted: Sequence[Network]) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return any(mapped in network for network in trusted)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
