"""Who a request is from, by what the proxy in front of the panel says of it."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from flatrun_core import Level, Unauthenticated
from flatrun_core.ports.auth import Actor, Credentials, Identity, PermissionCatalogue
from flatrun_proxy_login.settings import ROLES, ProxyLoginSettings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# A comma is in neither: two headers of one name arrive as one, joined by a comma and a space.
_USER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
_GROUP: Final = re.compile(r"[A-Za-z0-9/](?:[A-Za-z0-9._@+:/ -]{0,126}[A-Za-z0-9._@+:/-])?")
_OWN_PAGES: Final = ("", "same-origin", "none")


def identify(
    credentials: Credentials, settings: ProxyLoginSettings, catalogue: PermissionCatalogue
) -> Identity | None:
    """The identity that a trusted proxy vouches for.

    None for a request without the header, and for one with a credential of its own, which is another
    provider's to judge. Raises ``Unauthenticated`` for a header that counts for nothing.
    """
    user = _header(credentials, settings.header)
    if not user or credentials.scheme != "none":
        return None
    if not _is_trusted(credentials.peer, settings.trusted_proxies):
        raise Unauthenticated(
            f"{settings.header} is believed from the configured proxy only", code="UNTRUSTED_PROXY"
        )
    if not _USER.fullmatch(user):
        raise Unauthenticated(
            f"{settings.header} does not hold the name of one user", code="INVALID_PROXY_USER"
        )
    if _header(credentials, "Sec-Fetch-Site") not in _OWN_PAGES:
        # The browser sends the proxy's cookie along whatever page asks for it.
        raise Unauthenticated("Pages of other sites may not use this login", code="CROSS_SITE_REQUEST")
    return _identity(user, _groups(credentials, settings), settings, catalogue)


def _identity(
    user: str, groups: Sequence[str], settings: ProxyLoginSettings, catalogue: PermissionCatalogue
) -> Identity:
    role = _role(groups, settings)
    if not role:
        raise Unauthenticated(f"{user} is in no group that may use this panel", code="NO_ROLE")
    # The prefix keeps a user called "1" apart from the account with that number.
    actor = Actor("user", f"proxy:{user}", user)
    if role == "admin":
        return Identity(actor, role=role, permissions=None, unscoped=True)
    return Identity(
        actor,
        role=role,
        permissions=catalogue.of_role(role),
        grants=_grants(groups, settings.grants),
        # Access comes from the settings alone, so they could not reach what they create.
        may_create=False,
    )


def _role(groups: Sequence[str], settings: ProxyLoginSettings) -> str:
    held = [settings.roles[group] for group in groups if group in settings.roles]
    return max(held, key=ROLES.index, default=settings.default_role)


def _grants(groups: Sequence[str], grants: Mapping[str, Mapping[str, str]]) -> dict[str, Level]:
    found: dict[str, Level] = {}
    for group in groups:
        for deployment, name in grants.get(group, {}).items():
            found[deployment] = max(Level[name.upper()], found.get(deployment, Level.READ))
    return found


def _groups(credentials: Credentials, settings: ProxyLoginSettings) -> list[str]:
    text = _header(credentials, settings.groups_header)
    groups = text.split(",") if text else []
    if not all(_GROUP.fullmatch(group) for group in groups):
        raise Unauthenticated(
            f"{settings.groups_header} is no list of groups with single commas between them",
            code="INVALID_PROXY_USER",
        )
    return groups


def _header(credentials: Credentials, name: str) -> str:
    wanted = name.lower()
    return next((value for key, value in credentials.headers.items() if key.lower() == wanted), "")


def _is_trusted(peer: str, proxies: tuple[str, ...]) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    plain = getattr(address, "ipv4_mapped", None) or address
    return any(plain in network for network in _networks(proxies))


@lru_cache(maxsize=4)
def _networks(proxies: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text, strict=False) for text in proxies)
