"""Typed keys and the registry of what plugins offer one another.

A Protocol cannot be a dictionary key under a type checker, so each port has a ``ServiceKey``.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from flatrun_core.errors import StartupError

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class ServiceKey(Generic[T]):
    """The name of a service; ``provider`` is the plugin, or ``core``, expected to offer it."""

    name: str
    provider: str


class Services:
    """Factories by key, each built once, on first use or when the registry freezes.

    Building happens before the first request, under a re-entrant lock because a factory may ask
    for another service; after ``freeze`` the registry is only read.
    """

    def __init__(self) -> None:
        self._factories: dict[ServiceKey[Any], tuple[str, Callable[[], Any]]] = {}
        self._built: dict[ServiceKey[Any], Any] = {}
        self._building: list[ServiceKey[Any]] = []
        self._lock = threading.RLock()
        self._frozen = False

    def provide(self, key: ServiceKey[T], factory: Callable[[], T], *, plugin: str = "core") -> None:
        """Offer a service; a second offer for one key is a start-up error naming both sides."""
        if self._frozen:
            raise StartupError(f"service '{key.name}' was offered after start-up by '{plugin}'")
        if key in self._factories:
            raise StartupError(
                f"service '{key.name}' is offered by both '{self._factories[key][0]}' and '{plugin}'"
            )
        self._factories[key] = (plugin, factory)

    def get(self, key: ServiceKey[T]) -> T:
        """The service; unknown keys raise and name the plugin that should have offered it."""
        if key in self._built:
            return cast(T, self._built[key])
        with self._lock:
            if key not in self._built:
                self._build(key)
        return cast(T, self._built[key])

    def find(self, key: ServiceKey[T]) -> T | None:
        """The service, or None when no active plugin offers it."""
        return self.get(key) if key in self._factories else None

    def offered_by(self, plugin: str) -> list[str]:
        """Names of the services one plugin offers, sorted."""
        return sorted(key.name for key, (owner, _) in self._factories.items() if owner == plugin)

    def build_all(self) -> tuple[str, Exception] | None:
        """Build every service; the plugin whose factory failed and why, or None."""
        for key, (plugin, _) in list(self._factories.items()):
            try:
                self.get(key)
            except Exception as exc:  # noqa: BLE001 - a plugin's factory may raise anything
                return plugin, exc
        return None

    def freeze(self) -> None:
        """From here on the registry is read only."""
        self._frozen = True

    def _build(self, key: ServiceKey[Any]) -> None:
        if key not in self._factories:
            raise LookupError(f"no active plugin offers '{key.name}' (expected from '{key.provider}')")
        if key in self._building:
            chain = " -> ".join(k.name for k in [*self._building, key])
            raise StartupError(f"services need one another in a circle: {chain}")
        self._building.append(key)
        try:
            self._built[key] = self._factories[key][1]()
        finally:
            self._building.pop()
