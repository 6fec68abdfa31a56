"""The second factor: codes of an authenticator (TOTP, RFC 6238, by pyotp) and recovery codes.

The secret is kept encrypted, recovery codes as hashes. A code of an authenticator counts for its 30
seconds and those before and after, and once: the time of the last one that was taken is kept, and
only a later one is taken again. A recovery code counts once.

A secret that is not yet confirmed belongs to the session that asked for it, so whoever else has a
session of the account can neither replace nor confirm it. Confirming ends every other session: from
then on each session of an account with a second factor gave a code of it, at its login or here.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pyotp

from flatrun_core import Conflict, Invalid, NotFound, ServiceKey, Unauthenticated
from flatrun_core.ports.secrets import Encryption
from flatrun_core.ports.storage import PanelStore
from flatrun_users.caller import Caller
from flatrun_users.models import LoginSession, RecoveryCode, User
from flatrun_users.sessions import Sessions
from flatrun_users.settings import UsersSettings
from flatrun_users.throttle import Throttle

PURPOSE: Final = "users.totp"
ISSUER: Final = "Flatrun"
RECOVERY_CODES: Final = 10
_STEP: Final = 30  # seconds
_RECOVERY_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_RECOVERY_LENGTH: Final = 16  # 80 bits
_TOTP_SHAPE: Final = re.compile(r"[0-9]{6}")
_RECOVERY_SHAPE: Final = re.compile(r"[a-z2-7]{16}")


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator is set up with; shown once."""

    secret: str = field(repr=False)
    otpauth_uri: str = field(repr=False)


class Totp:
    """Sets up, checks and takes away second factors. Safe to call from any thread."""

    def __init__(
        self,
        database: PanelStore,
        encryption: Encryption,
        throttle: Throttle,
        sessions: Sessions,
        settings: Callable[[], UsersSettings],
    ) -> None:
        self._database = database
        self._encryption = encryption
        self._throttle = throttle
        self._sessions = sessions
        self._settings = settings

    def enrol(self, caller: Caller) -> Enrolment:
        """A new secret, without effect until this session confirms it; it replaces one that it did not.

        400 ``ACCOUNT_REQUIRED`` without an account of one's own, 409 ``TOTP_ENABLED``.
        """
        with self._database.atomic():
            user = _locked_user(caller)
            if user.totp_confirmed_at is not None:
                raise Conflict("The second factor is set up already; disable it first", code="TOTP_ENABLED")
            secret = pyotp.random_base32()
            _session(caller).keep_pending(self._encryption.encrypt(PURPOSE, secret))
        uri = pyotp.TOTP(secret).provisioning_uri(name=user.username, issuer_name=ISSUER)
        return Enrolment(secret, uri)

    def confirm(self, caller: Caller, code: str, client_ip: str) -> list[str]:
        """Begin to ask for the second factor, and answer the recovery codes, which are shown only here.

        Ends every other session of the account; its keys stay.
        409 ``TOTP_ENABLED`` and ``TOTP_NOT_STARTED``; 400 ``INVALID_CODE``, which counts as a failed login.
        """
        with self._database.session():
            user = _found(User.one(_account_id(caller)))
            _begun(user, _session(caller))
        codes = [_new_recovery_code() for _ in range(RECOVERY_CODES)]
        with (
            self._throttle.attempt(client_ip, user.username) as attempt,
            self._database.atomic(),
        ):
            user = _locked_user(caller)
            session = _session(caller)
            secret = _begun(user, session)
            step = next(self._steps_of(secret, _plain(code)), None)
            if step is None:
                raise _wrong_code()
            User.begin_totp(user.id, secret, step)
            RecoveryCode.put(user.id, map(_recovery_hash, codes))
            session.keep_pending(None)
            self._sessions.revoke_of_user(user.id, keep=session.id)
            attempt.release()
        return codes

    def disable(self, caller: Caller, code: str, client_ip: str) -> None:
        """Ask for the second factor no more; the code may be a recovery code.

        409 ``TOTP_NOT_ENABLED``, and ``TOTP_REQUIRED_BY_ROLE`` when the role demands one; 400
        ``INVALID_CODE``, which counts as a failed login.
        """
        user = self._user(caller)
        self._refuse_unless_optional(user)
        with (
            self._throttle.attempt(client_ip, user.username) as attempt,
            self._database.atomic(),
        ):
            user = _locked_user(caller)
            self._refuse_unless_optional(user)
            if not self.accept(user, code):
                raise _wrong_code()
            self.reset(user.id)
            attempt.release()

    def accept(self, user: Any, code: str) -> bool:
        """Whether the code counts now for this row; from here on it does not. In the caller's transaction."""
        plain = _plain(code)
        if _RECOVERY_SHAPE.fullmatch(plain):
            return RecoveryCode.use(user.id, _recovery_hash(plain))
        return self._take_step(user, plain)

    def reset(self, user_id: int) -> bool:
        """Take away the second factor, in the caller's transaction; whether there was any."""
        RecoveryCode.put(user_id, ())
        return User.forget_totp(user_id)

    def _take_step(self, user: Any, code: str) -> bool:
        return any(User.take_totp_step(user.id, step) for step in self._steps_of(user.totp_secret, code))

    def _steps_of(self, encrypted: str, code: str) -> Iterator[int]:
        """The times near now that this is the code of."""
        if not _TOTP_SHAPE.fullmatch(code):
            return
        totp = pyotp.TOTP(self._encryption.decrypt(PURPOSE, encrypted))
        current = int(time.time()) // _STEP
        for step in (current, current - 1, current + 1):
            if secrets.compare_digest(totp.generate_otp(step), code):
                yield step

    def _user(self, caller: Caller) -> Any:
        with self._database.session():
            return _found(User.one(_account_id(caller)))

    def _refuse_unless_optional(self, user: Any) -> None:
        if user.totp_confirmed_at is None:
            raise Conflict("The second factor is not set up", code="TOTP_NOT_ENABLED")
        if user.role in self._settings().totp_required_roles:
            raise Conflict(
                "Your role needs the second factor; it cannot be disabled", code="TOTP_REQUIRED_BY_ROLE"
            )


def _account_id(caller: Caller) -> int:
    if caller.user_id is None or caller.api_key_id is not None or caller.session_id is None:
        raise Invalid(
            "Only a user who logged in with a password has a second factor", code="ACCOUNT_REQUIRED"
        )
    return caller.user_id


def _locked_user(caller: Caller) -> Any:
    return _found(User.one(_account_id(caller), lock=True))


def _found(user: Any) -> Any:
    if user is None:
        raise NotFound("User not found", code="USER_NOT_FOUND")
    return user


def _session(caller: Caller) -> Any:
    """The caller's session, to be asked for after the account was locked; 401 when it ended meanwhile."""
    found = None if caller.session_id is None else LoginSession.alive(caller.session_id)
    if found is None:
        raise Unauthenticated("Invalid or expired token", code="INVALID_TOKEN")
    return found


def _begun(user: Any, session: Any) -> str:
    """The encrypted secret that waits to be confirmed."""
    if user.totp_confirmed_at is not None:
        raise Conflict("The second factor is set up already", code="TOTP_ENABLED")
    if session.totp_pending is None:
        raise Conflict(
            "There is nothing to confirm; begin with POST /api/users/me/totp", code="TOTP_NOT_STARTED"
        )
    return str(session.totp_pending)


def _wrong_code() -> Invalid:
    # Not 401, at which clients forget their token.
    return Invalid("The code is wrong, was used before, or is too old", code="INVALID_CODE")


def _plain(code: str) -> str:
    """A code as it is compared: people type the spaces and hyphens that they are shown."""
    return code.replace(" ", "").replace("-", "").lower()


def _new_recovery_code() -> str:
    text = "".join(secrets.choice(_RECOVERY_ALPHABET) for _ in range(_RECOVERY_LENGTH))
    return "-".join(text[start : start + 4] for start in range(0, _RECOVERY_LENGTH, 4))


def _recovery_hash(code: str) -> str:
    return hashlib.sha256(_plain(code).encode()).hexdigest()


TOTP: ServiceKey[Totp] = ServiceKey("users.totp", "users")
