"""What the plugin does, without HTTP."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flatrun_core import ServiceKey
from flatrun_core.ports.storage import PanelStore
from flatrun_hello.models import Greeting
from flatrun_hello.settings import HelloSettings


@dataclass(frozen=True, slots=True)
class Greeted:
    """One greeting as it is shown."""

    name: str
    text: str
    created_at: datetime


class HelloService:
    """Greets and remembers. Safe to call from any thread: all state is in the database."""

    def __init__(self, database: PanelStore, settings: Callable[[], HelloSettings]) -> None:
        self._database = database
        self._settings = settings

    def greet(self, name: str) -> Greeted:
        """Greet somebody and remember it."""
        greeted = Greeted(name, f"{self._settings().greeting}, {name}!", datetime.now(UTC))
        with self._database.atomic():
            Greeting.create(name=greeted.name, text=greeted.text, created_at=greeted.created_at)
        return greeted

    def newest(self, limit: int = 50) -> list[Greeted]:
        """The newest greetings, at most ``limit``."""
        with self._database.session():
            return [Greeted(row.name, row.text, row.created_at) for row in Greeting.newest(limit)]

    def forget_old(self) -> int:
        """Delete greetings older than ``hello.keep_days``; how many went."""
        with self._database.atomic():
            return Greeting.forget_before(datetime.now(UTC) - timedelta(days=self._settings().keep_days))


HELLO: ServiceKey[HelloService] = ServiceKey("hello", "hello")
