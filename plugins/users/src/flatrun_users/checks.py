"""What ``flatrun doctor`` looks at: whether anybody can keep the accounts."""

import os
from collections.abc import Sequence
from typing import Final

from flatrun_core import AuthSettings, Check, Finding, PluginContext
from flatrun_core.ports.storage import DATABASE
from flatrun_users.bootstrap import USERNAME, VARIABLE, BootstrapError, given_password
from flatrun_users.effective import ADMIN
from flatrun_users.models import User

_RESET: Final = f"flatrun users reset-password {USERNAME}"
_BY_START: Final = f"set {VARIABLE} to 8 to 256 characters and start the panel again, or run `{_RESET}`"


def checks(ctx: PluginContext) -> Sequence[Check]:
    """One, by one or two small queries."""
    return [Check("administrator", "Administrator", lambda: administrator(ctx))]


def administrator(ctx: PluginContext) -> Finding:
    """Whether an administrator is active; a panel that was never started may have none yet."""
    with ctx.services.get(DATABASE).session():
        admins = len(User.active_of_role(ADMIN))
        empty = User.select(User.id).first() is None
    if admins:
        return Finding("ok", f"{admins} active")
    if not ctx.settings(AuthSettings).enabled:
        return Finding("ok", "none is needed, as authentication is off")
    if not empty:
        remedy = f"`{_RESET} --activate --admin` makes one"
        return Finding("error", "there is no active administrator", remedy)
    try:
        given_password(os.environ)
    except BootstrapError as exc:
        return Finding("error", f"there is no active administrator, and none can be made: {exc}", _BY_START)
    return Finding(
        "warning",
        "there is no active administrator: the first start makes one, and says in its log if it could not",
        f"start the panel; if it runs already, {_BY_START}",
    )
