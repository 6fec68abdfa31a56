"""Nobody gives more than he holds, and nobody takes over an account that may more than he.

Effective admins may everything. Others, who have ``users:write`` by a list of their own or by a key,
are held to what they may themselves; a key to what the key may.
"""

from collections.abc import Collection, Mapping
from typing import Final

from flatrun_core import Forbidden, Invalid, Level
from flatrun_core.ports.auth import PermissionCatalogue
from flatrun_users.effective import ADMIN, Rights, of_account, rank

ADMINS_ONLY: Final = "Only administrators may create or change administrators"
NOT_BY_KEY: Final = "API keys cannot change the account of their owner"


def covers(mine: Rights, other: Rights) -> bool:
    """Whether ``mine`` allow everything that ``other`` do."""
    if mine.is_admin:
        return True
    return (
        rank(other.role) <= rank(mine.role)
        and not missing(mine, other.permissions)
        and _reaches(mine, other)
        and (mine.may_create or not other.may_create)
    )


def missing(mine: Rights, permissions: Collection[str] | None) -> list[str]:
    """Which of these permissions are not held; None means all there are."""
    if mine.permissions is None:
        return []
    return ["all"] if permissions is None else sorted(set(permissions) - mine.permissions)


def level_on(rights: Rights, deployment: str) -> Level | None:
    """The level on a deployment, existing or not."""
    return Level.ADMIN if rights.unscoped else rights.grants.get(deployment)


def check_known(catalogue: PermissionCatalogue, permissions: Collection[str]) -> list[str]:
    """The names, each once; 400 ``UNKNOWN_PERMISSION``."""
    unknown = sorted(set(permissions) - catalogue.known().keys())
    if unknown:
        raise Invalid(f"There is no permission {', '.join(unknown[:5])}", code="UNKNOWN_PERMISSION")
    return list(dict.fromkeys(permissions))


def check_target(mine: Rights, role: str) -> None:
    """403 for an administrator's account, unless one is an administrator."""
    if role == ADMIN and not mine.is_admin:
        raise Forbidden(ADMINS_ONLY)


def check_takeover(mine: Rights, other: Rights) -> None:
    """403 for what would hand somebody else's account over: its password, name, factor or revival."""
    if not covers(mine, other):
        raise Forbidden("This account may do more than you may")


def check_gift(mine: Rights, before: Rights | None, after: Rights) -> None:
    """403 when an account gains a role or permissions that the giver lacks.

    ``before`` is None for a new account. What it gains counts with all the deployments it has: a
    permission works on each of them.
    """
    if mine.is_admin:
        return
    check_target(mine, after.role)
    gained = _gained(before, after)
    role = after.role if before is None or rank(after.role) > rank(before.role) else ""
    if before is not None and not gained and not role:
        return
    lacking = missing(mine, gained)
    if lacking:
        raise Forbidden(f"You cannot give what you do not hold: {', '.join(lacking[:5])}")
    gift = Rights(role, gained, unscoped=False, may_create=True, grants=after.grants)
    if not covers(mine, gift):
        raise Forbidden("You cannot give an account more than you may yourself")


def account_rights(
    catalogue: PermissionCatalogue, role: str, permissions: Collection[str], grants: Mapping[str, int]
) -> Rights:
    """The rights of an account as it is stored."""
    return of_account(catalogue, role, permissions, {name: Level(level) for name, level in grants.items()})


def _gained(before: Rights | None, after: Rights) -> frozenset[str]:
    held = before.permissions if before is not None else frozenset()
    return frozenset() if held is None else (after.permissions or frozenset()) - held


def _reaches(mine: Rights, other: Rights) -> bool:
    if mine.unscoped:
        return True
    return not other.unscoped and all(
        (level_on(mine, name) or 0) >= level for name, level in other.grants.items()
    )
