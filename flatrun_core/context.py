"""What a plugin says of itself and what the core hands to it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from flask import current_app, g

from flatrun_core.errors import StartupError
from flatrun_core.ports.auth import Actor, Identity
from flatrun_core.services import ServiceKey, Services

if TYPE_CHECKING:
    from flatrun_core.hooks import PluginHooks

T = TypeVar("T")

PLUGIN_TYPES = ("deployment", "widget", "service", "integration", "dns")


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """A plugin's identity, as ``PLUGIN`` in its ``plugin.py``.

    ``requires`` names plugins without which this one is unavailable and orders the start; ``uses``
    names those it can use when present and orders nothing. ``sections``, ``prefixes`` and
    ``permissions`` name what it keeps beside its slug: settings groups, URL prefixes below
    ``/api/``, permission prefixes.
    """

    slug: str
    hook_api: int
    display_name: str = ""
    type: str = "service"
    category: str = ""
    requires: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    migrations: str = "migrations"


class PluginContext:
    """A plugin's own view of the panel: its settings, the services, its hooks and its log."""

    def __init__(
        self, info: PluginInfo, services: Services, settings: Callable[[type[Any]], Any], hooks: "PluginHooks"
    ) -> None:
        self.info = info
        self.services = _PluginServices(services, info.slug)
        self.hooks = hooks
        self.log = logging.getLogger(f"flatrun.{info.slug}")
        self._settings = settings

    def settings(self, kind: type[T]) -> T:
        """The current immutable snapshot of the group whose schema loads ``kind``."""
        snapshot: T = self._settings(kind)
        return snapshot


class _PluginServices:
    """The registry with the plugin's name filled in."""

    def __init__(self, services: Services, slug: str) -> None:
        self._services = services
        self._slug = slug

    def provide(self, key: ServiceKey[T], factory: Callable[[], T]) -> None:
        """Offer a service, built lazily once before the first request; the factory does no I/O."""
        self._services.provide(key, factory, plugin=self._slug)

    def get(self, key: ServiceKey[T]) -> T:
        """A service of the core or of a plugin named in ``requires``."""
        return self._services.get(key)

    def find(self, key: ServiceKey[T]) -> T | None:
        """A service of a plugin named in ``uses``, or None; ask at the moment of use, keep nothing."""
        return self._services.find(key)


def service(key: ServiceKey[T]) -> T:
    """The service, from the current application; for views only."""
    services: Services = current_app.extensions["flatrun"].services
    return services.get(key)


def identity() -> Identity:
    """Who makes the current request; for views only, and only where the view is not public."""
    found: Identity | None = g.get("flatrun_identity")
    if found is None:
        raise StartupError("this view asked for an identity but is declared @public or @internal")
    return found


def identify() -> Identity:
    """Who makes the current request, for views that are public; 401 without a valid credential."""
    found: Identity = current_app.extensions["flatrun_pipeline"].identify()
    return found


def client_ip() -> str:
    """The address of whoever makes the current request; for views only.

    A forwarded header counts only from a peer in ``api.trusted_proxies``.
    """
    address: str = g.flatrun_client_ip
    return address


def record_facts(*, actor: Actor | None = None, resource_id: str = "", **metadata: Any) -> None:
    """Tell the record more of the current request; for views only, and as often as there is something.

    ``actor`` is for public views that learn who acts; ``resource_id`` names what was made.
    ``metadata`` holds no secrets; nothing looks for them there.
    """
    if actor is not None:
        g.flatrun_actor = actor
    if resource_id:
        g.flatrun_resource_id = resource_id
    g.flatrun_facts = {**g.get("flatrun_facts", {}), **metadata}
