"""The services of this plugin and what each is built from, and its commands."""

from collections.abc import Sequence

from flatrun_core import PluginContext
from flatrun_core.ports.secrets import ENCRYPTION, SIGNING
from flatrun_core.ports.storage import DATABASE
from flatrun_users.account_offers import offer_accounts
from flatrun_users.authentication import AUTHENTICATION, Authentication
from flatrun_users.login import LOGINS, Logins
from flatrun_users.passwords import PASSWORDS, Passwords
from flatrun_users.sessions import SESSIONS, Sessions
from flatrun_users.settings import UsersSettings
from flatrun_users.throttle import THROTTLE, Throttle
from flatrun_users.totp import TOTP, Totp


def offer_all(ctx: PluginContext) -> None:
    """Every service of this plugin."""
    offer_authentication(ctx)
    offer_accounts(ctx)


def commands() -> Sequence[object]:
    """``flatrun users``; only the command line pays for loading it."""
    from flatrun_users.commands import users  # noqa: PLC0415

    return [users]


def offer_authentication(ctx: PluginContext) -> None:
    """What logins and tokens need."""
    get = ctx.services.get
    ctx.services.provide(PASSWORDS, Passwords)
    ctx.services.provide(
        SESSIONS, lambda: Sessions(get(DATABASE), get(SIGNING), lambda: ctx.settings(UsersSettings))
    )
    ctx.services.provide(THROTTLE, lambda: Throttle(get(DATABASE)))
    ctx.services.provide(
        TOTP,
        lambda: Totp(
            get(DATABASE),
            get(ENCRYPTION),
            get(THROTTLE),
            get(SESSIONS),
            lambda: ctx.settings(UsersSettings),
        ),
    )
    ctx.services.provide(AUTHENTICATION, lambda: Authentication(ctx))
    ctx.services.provide(LOGINS, lambda: Logins(ctx))
