"""The panel's own database, as a storage backend opens it."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from flatrun_core.services import ServiceKey


class StorageBackend(Protocol):
    """Opens the database a URL names. Chosen by the URL's scheme, never by call order.

    ``flatrun_core.testing.storage_contract.StorageBackendContract`` is the suite a backend passes.
    """

    name: str
    schemes: tuple[str, ...]

    def open(self, url: str) -> Any:
        """A peewee ``Database``, not connected, ``autoconnect=False``.

        Raises ``StartupError`` for a URL that cannot be used; the text never repeats a password.
        With the mixin ``flatrun_core.storage.ConnectsInSession`` it connects at a session's first query.
        """

    def backup(self, url: str, target: Path) -> Path | None:
        """Copy the database before a migration; the copy's path, or None if the server keeps its own.

        ``target`` is the copy's file name; a relative one is beside the database.
        """

    def is_empty(self, database: Any) -> bool:
        """Whether no table exists yet, so that the first start may make them without being told."""

    def migration_lock(self, database: Any) -> AbstractContextManager[None]:
        """Hold off every other process that would migrate; ``StartupError`` when it takes over a minute."""

    def unavailable(self, error: BaseException) -> str | None:
        """Why the database cannot be used now ("the disk is full"); None when ``error`` is another thing."""


class PanelStore(Protocol):
    """The open database, for plugins.

    One use case is one ``atomic``, never held over Docker, a program or the network.
    """

    def session(self) -> AbstractContextManager[Any]:
        """A connection of this thread's own; re-entrant."""

    def atomic(self) -> AbstractContextManager[Any]:
        """A session with a transaction in it; nested ones are savepoints."""


DATABASE: ServiceKey[PanelStore] = ServiceKey("database", "core")
