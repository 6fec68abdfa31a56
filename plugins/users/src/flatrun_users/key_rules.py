"""What a new key may be: never more than whoever makes it, and whoever it is for."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from flatrun_core import Forbidden
from flatrun_core.ports.auth import PermissionCatalogue
from flatrun_users.bounds import covers, missing
from flatrun_users.effective import ADMIN, ROLES, Narrowing, Rights, narrowed, rank

TOO_MUCH: Final = "An API key cannot do more than whoever makes it"
_NOTHING: Final = Narrowing()


@dataclass(frozen=True, slots=True)
class Maker:
    """Who makes a key: what he may, what he passes on, and when that ends (None: never)."""

    rights: Rights
    narrowing: Narrowing = _NOTHING
    expires_at: datetime | None = None


def maker_with_key(rights: Rights, row: Any) -> Maker:
    """A key that makes another one."""
    own = Narrowing(row.role, tuple(row.permissions), tuple(row.deployments))
    return Maker(rights, own, row.expires_at)


def maker_without_account(rights: Rights) -> Maker:
    """Whoever has no account of his own: the key is another's, so all that he lacks is written down."""
    if rights.is_admin:
        return Maker(rights)
    role = rights.role if rights.role in ROLES and rights.role != ADMIN else ""
    permissions = () if rights.permissions is None else tuple(sorted(rights.permissions))
    deployments = () if rights.unscoped else tuple(sorted(rights.grants))
    return Maker(rights, Narrowing(role, permissions, deployments))


def narrowing(catalogue: PermissionCatalogue, maker: Maker, owner: Rights, wanted: Narrowing) -> Narrowing:
    """What is written down of a key.

    403 ``ROLE_TOO_HIGH``, or ``PERMISSION_DENIED`` for a permission that maker or owner lack and for
    anything else in which the key would exceed its maker.
    """
    for bound in (maker.rights, owner):
        if rank(wanted.role) > rank(bound.role):
            raise Forbidden(f"The role {wanted.role} is above yours", code="ROLE_TOO_HIGH")
        lacking = missing(bound, wanted.permissions)
        if lacking:
            raise Forbidden(f"You cannot give what you do not hold: {', '.join(lacking[:5])}")
    found = Narrowing(
        wanted.role or maker.narrowing.role,
        wanted.permissions or _inherited(catalogue, maker.narrowing, wanted.role),
        wanted.deployments or maker.narrowing.deployments,
    )
    if not covers(maker.rights, narrowed(catalogue, owner, found)):
        raise Forbidden(TOO_MUCH)
    return found


def expiry(maker: Maker, moment: datetime, seconds: int | None) -> datetime | None:
    """When the key ends: as asked, else with its maker; 403 when that would be after its maker."""
    if seconds is None:
        return maker.expires_at
    wanted = moment + timedelta(seconds=seconds)
    if maker.expires_at is not None and wanted > maker.expires_at:
        raise Forbidden("An API key cannot outlive the key that makes it")
    return wanted


def _inherited(catalogue: PermissionCatalogue, own: Narrowing, role: str) -> tuple[str, ...]:
    """The maker's list, which would go before the list of the role that was asked for."""
    if not own.permissions or not role or role == ADMIN:
        return own.permissions
    left = tuple(name for name in own.permissions if name in catalogue.of_role(role))
    if not left:
        raise Forbidden(f"Nothing that you may do belongs to the role {role}")
    return left
