"""The resolver that is asked: the host's, or the one that the settings name."""

import ipaddress
from typing import Final

import dns.exception
import dns.resolver

DNS_PORT: Final = 53
HIGHEST_PORT: Final = 65535


def split_address(text: str) -> tuple[str, int]:
    """Address and port of ``192.0.2.53``, ``192.0.2.53:5353``, ``2001:db8::53`` or ``[2001:db8::53]:53``.

    Raises ``ValueError`` with a sentence for anything else.
    """
    address, port = text, str(DNS_PORT)
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        port = rest[1:] if rest.startswith(":") else port
        address = address if bracket and rest[:1] in ("", ":") else ""
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= HIGHEST_PORT):
        raise ValueError(f"{port!r} is no port between 1 and {HIGHEST_PORT}")
    try:
        return str(ipaddress.ip_address(address)), int(port)
    except ValueError:
        raise ValueError(f"{text!r} is no IP address, alone or with a port") from None


def resolver_at(text: str, lifetime: float) -> dns.resolver.Resolver:
    """A resolver that gives up after ``lifetime`` seconds; empty text means the host's.

    Raises ``ValueError`` for an address that is none and ``dns.exception.DNSException`` when the
    host names no resolver.
    """
    if not text:
        found = dns.resolver.Resolver()
    else:
        found = dns.resolver.Resolver(configure=False)
        address, found.port = split_address(text)
        found.nameservers = [address]
    found.lifetime = lifetime
    # A first packet that is lost must leave time for a second.
    found.timeout = lifetime / 2
    # Names are absolute here: the host's search list is for people.
    found.search = []
    found.domain = dns.name.root
    return found
