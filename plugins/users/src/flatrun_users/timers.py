"""Periodic work: what counts no more is deleted."""

from collections.abc import Sequence
from datetime import timedelta

from flatrun_core import PluginContext
from flatrun_core.ports.scheduling import Timer
from flatrun_users.sessions import SESSIONS
from flatrun_users.throttle import THROTTLE


def timers(ctx: PluginContext) -> Sequence[Timer]:
    """Sessions that are over, once a day; failed logins that are forgiven, every ten minutes."""
    get = ctx.services.get
    return [
        Timer("users.forget_sessions", timedelta(days=1), lambda: get(SESSIONS).forget()),
        Timer("users.forget_attempts", timedelta(minutes=10), lambda: get(THROTTLE).forget()),
    ]
