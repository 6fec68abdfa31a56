"""The rule that nothing is deleted at night."""

from collections.abc import Callable
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from flatrun_core import Forbidden, ServiceKey
from flatrun_core.ports.auth import Access
from flatrun_proxy_login.settings import ProxyLoginSettings


def now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


class NightRest:
    """Refuses deletions while it is night. Safe to call from any thread; ``clock`` is for tests."""

    def __init__(
        self, settings: Callable[[], ProxyLoginSettings], clock: Callable[[], datetime] = now
    ) -> None:
        self._settings = settings
        self.clock = clock

    def check(self, access: Access, method: str) -> None:
        """Raise 403 ``NIGHT_REST`` for a deletion at night, whoever asks for it."""
        settings = self._settings()
        if access.action in settings.night_allows or not is_deletion(access, method):
            return
        if is_night(self.clock(), settings):
            raise Forbidden(
                f"Nothing is deleted between {settings.night_from} and {settings.night_until} "
                f"({settings.night_time_zone})",
                code="NIGHT_REST",
            )


def is_deletion(access: Access, method: str) -> bool:
    """Whether a request deletes, by its method or by a permission that it needs."""
    return method == "DELETE" or any(name.endswith(":delete") for name in access.permissions)


def is_night(moment: datetime, settings: ProxyLoginSettings) -> bool:
    """Whether a moment is in the night, which may begin on the day before; its end is not."""
    if not settings.night_from:
        return False
    start, end = time.fromisoformat(settings.night_from), time.fromisoformat(settings.night_until)
    local = moment.astimezone(ZoneInfo(settings.night_time_zone)).time()
    if start <= end:
        return start <= local < end
    return local >= start or local < end


NIGHT_REST: ServiceKey[NightRest] = ServiceKey("night_rest", "proxy_login")
