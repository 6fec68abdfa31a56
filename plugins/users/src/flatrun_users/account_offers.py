"""The services of accounts, access and keys, and what each is built from."""

from flatrun_core import PluginContext
from flatrun_users.accounts import ACCOUNTS, Accounts
from flatrun_users.grants import GRANTS, Grants
from flatrun_users.host import HOST, HostAccounts
from flatrun_users.keys import KEYS, Keys
from flatrun_users.own_account import OWN_ACCOUNT, OwnAccount


def offer_accounts(ctx: PluginContext) -> None:
    """Accounts, access and keys."""
    ctx.services.provide(ACCOUNTS, lambda: Accounts(ctx))
    ctx.services.provide(OWN_ACCOUNT, lambda: OwnAccount(ctx))
    ctx.services.provide(GRANTS, lambda: Grants(ctx))
    ctx.services.provide(KEYS, lambda: Keys(ctx))
    ctx.services.provide(HOST, lambda: HostAccounts(ctx))
