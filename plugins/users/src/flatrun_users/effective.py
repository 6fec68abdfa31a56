"""What an account, or a key of it, may do: the rules of roles, lists and grants in one place.

A key can only narrow its owner: its permissions are the owner's and its own in common, its role
the lower of both, its deployments those of its list that the owner has.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from flatrun_core import Level
from flatrun_core.ports.auth import PermissionCatalogue

ADMIN: Final = "admin"
ROLES: Final = ("viewer", "operator", ADMIN)  # each may more than those before it


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What a key takes away; "" and empty collections take nothing."""

    role: str = ""
    permissions: tuple[str, ...] = ()
    deployments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rights:
    """What somebody may do; ``permissions`` None means all, ``unscoped`` every deployment."""

    role: str
    permissions: frozenset[str] | None
    unscoped: bool
    may_create: bool
    grants: Mapping[str, Level] = field(default_factory=dict)

    @property
    def is_admin(self) -> bool:
        """Whether this is an effective admin: of that role, with nothing taken away."""
        return self.role == ADMIN and self.permissions is None and self.unscoped


def lower_role(one: str, other: str) -> str:
    """The one of two roles that may less; a role that nobody knows may least."""
    return min(one, other, key=rank)


def rank(role: str) -> int:
    """A role's place in ``ROLES``, -1 for none of them."""
    return ROLES.index(role) if role in ROLES else -1


def of_account(
    catalogue: PermissionCatalogue, role: str, permissions: Iterable[str], grants: Mapping[str, Level]
) -> Rights:
    """The rights of an account: an own list replaces that of its role, and admins need none."""
    if role == ADMIN:
        return Rights(ADMIN, None, unscoped=True, may_create=True)
    own = frozenset(permissions)
    held = own & catalogue.known().keys() if own else catalogue.of_role(role)
    return Rights(role, held, unscoped=False, may_create=True, grants=grants)


def narrowed(catalogue: PermissionCatalogue, owner: Rights, key: Narrowing) -> Rights:
    """The rights of a key of that owner.

    ``deployments`` of an owner with access to all give the level admin on each of them; a name that
    the owner has no access to gives nothing.
    """
    permissions = owner.permissions
    if key.permissions:
        permissions = _common(permissions, frozenset(key.permissions))
    elif key.role and key.role != ADMIN:
        permissions = _common(permissions, catalogue.of_role(key.role))
    role = lower_role(owner.role, key.role) if key.role else owner.role
    if not key.deployments:
        return Rights(role, permissions, owner.unscoped, owner.may_create, owner.grants)
    named = set(key.deployments)
    held = dict.fromkeys(named, Level.ADMIN) if owner.unscoped else owner.grants
    grants = {name: level for name, level in held.items() if name in named}
    return Rights(role, permissions, unscoped=False, may_create=False, grants=grants)


def _common(held: frozenset[str] | None, wanted: frozenset[str]) -> frozenset[str]:
    return wanted if held is None else held & wanted
