"""What everybody may see and change of the own account."""

from dataclasses import dataclass

from flatrun_core import Forbidden, Invalid, PluginContext, ServiceKey
from flatrun_core.ports.auth import PERMISSIONS, Identity
from flatrun_core.ports.storage import DATABASE
from flatrun_users.accounts import Account, existing, shown
from flatrun_users.bounds import NOT_BY_KEY
from flatrun_users.caller import Caller, caller_of
from flatrun_users.grants import Access, readable_access
from flatrun_users.models import Grant
from flatrun_users.passwords import PASSWORDS, check_password
from flatrun_users.sessions import SESSIONS
from flatrun_users.throttle import THROTTLE


@dataclass(frozen=True, slots=True)
class Me:
    """The caller: his account if there is one, and what he may do."""

    user: Account | None
    permissions: tuple[str, ...]
    deployments: tuple[Access, ...]


class OwnAccount:
    """Looks after the caller's account. Safe to call from any thread."""

    def __init__(self, ctx: PluginContext) -> None:
        self._database = ctx.services.get(DATABASE)
        self._catalogue = ctx.services.get(PERMISSIONS)
        self._passwords = ctx.services.get(PASSWORDS)
        self._sessions = ctx.services.get(SESSIONS)
        self._throttle = ctx.services.get(THROTTLE)

    def show(self, identity: Identity) -> Me:
        """The caller; a key is shown, and counts, only the deployments that it may read."""
        caller = caller_of(identity)
        held = caller.rights.permissions
        permissions = tuple(sorted(self._catalogue.known() if held is None else held))
        if caller.user_id is None:
            return Me(None, permissions, ())
        with self._database.session():
            access = tuple(readable_access(identity, caller.user_id))
            return Me(shown(existing(caller.user_id), len(access)), permissions, access)

    def update(self, identity: Identity, email: str | None) -> Account:
        """Change the address, None to leave it; 403 for keys."""
        user_id = _person(caller_of(identity))
        with self._database.atomic():
            row = existing(user_id, lock=True)
            if email is not None and email != row.email:
                row.change(email=email)
            return shown(row, Grant.count_of(user_id))

    def change_password(self, identity: Identity, current: str, new: str, client_ip: str) -> None:
        """Set a new password and end the caller's other sessions; his keys stay.

        400 ``INVALID_CURRENT_PASSWORD`` or ``WEAK_PASSWORD``, 403 for keys, 429 after too many wrong
        ones: whoever found an open session shall not find the password by trying.
        """
        caller = caller_of(identity)
        user_id = _person(caller)
        check_password(new)
        with self._database.session():
            row = existing(user_id)
        with self._throttle.attempt(client_ip, row.username) as attempt:
            if not self._passwords.matches(row.password_hash, current):
                raise Invalid("The current password is not right", code="INVALID_CURRENT_PASSWORD")
            password_hash = self._passwords.hash(new)
            with self._database.atomic():
                locked = existing(user_id, lock=True)
                if locked.password_hash != row.password_hash:  # changed by somebody else meanwhile
                    raise Invalid("The current password is not right", code="INVALID_CURRENT_PASSWORD")
                locked.change(password_hash=password_hash)
                self._sessions.revoke_of_user(user_id, keep=caller.session_id)
                attempt.release()


def _person(caller: Caller) -> int:
    """The caller's account; 403 unless it is he himself, and not a key, who asks."""
    if caller.api_key_id is not None:
        raise Forbidden(NOT_BY_KEY)
    if caller.user_id is None:
        raise Forbidden("There is no account behind this credential")
    return caller.user_id


OWN_ACCOUNT: ServiceKey[OwnAccount] = ServiceKey("users.own_account", "users")
