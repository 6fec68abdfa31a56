"""The services of this plugin, and its periodic work."""

from collections.abc import Sequence
from datetime import timedelta

from flatrun_core import PluginContext
from flatrun_core.ports.deployments import ROUTES
from flatrun_core.ports.scheduling import Timer
from flatrun_domains.following import FOLLOWER, Follower
from flatrun_domains.joins import JOINS, Joins
from flatrun_domains.proxying import PROXYING, Proxying
from flatrun_domains.publishing import PUBLISHER, Publisher
from flatrun_domains.registry import REGISTRY, Registry
from flatrun_domains.routes import RouteService
from flatrun_domains.service import SERVICE, Domains
from flatrun_domains.status import STATUSES, Statuses


def offer_all(ctx: PluginContext) -> None:
    """Every service of this plugin."""
    provide = ctx.services.provide
    provide(REGISTRY, lambda: Registry(ctx))
    provide(PUBLISHER, lambda: Publisher(ctx))
    provide(STATUSES, lambda: Statuses(ctx))
    provide(SERVICE, lambda: Domains(ctx))
    provide(PROXYING, lambda: Proxying(ctx))
    provide(JOINS, lambda: Joins(ctx))
    provide(FOLLOWER, lambda: Follower(ctx))
    provide(ROUTES, lambda: RouteService(ctx))


def timers(ctx: PluginContext) -> Sequence[Timer]:
    """What is edited by hand shows within half a minute."""
    return [Timer("domains.follow", timedelta(seconds=30), lambda: ctx.services.get(FOLLOWER).look())]
