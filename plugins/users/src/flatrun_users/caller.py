"""Who makes a request, as this plugin knows them."""

from dataclasses import dataclass
from typing import Final

from flatrun_core.ports.auth import Identity
from flatrun_users.effective import Rights

CLAIM: Final = "users"


@dataclass(frozen=True, slots=True)
class Caller:
    """The account, key and session behind an identity; all None for one of another provider.

    ``must_enrol`` tells of a session that may do nothing but set up its second factor.
    """

    rights: Rights
    user_id: int | None = None
    api_key_id: int | None = None
    session_id: int | None = None
    must_enrol: bool = False


def caller_of(identity: Identity) -> Caller:
    """What authentication put into the identity; of another provider's, its rights alone."""
    found: Caller | None = identity.claims.get(CLAIM)
    if found is not None:
        return found
    return Caller(
        Rights(
            identity.role, identity.permissions, identity.unscoped, identity.may_create, dict(identity.grants)
        )
    )
