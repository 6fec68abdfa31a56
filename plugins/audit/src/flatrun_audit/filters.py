"""What events to find, and how the database is asked for them."""

from dataclasses import dataclass
from typing import Any, Final

LEADS: Final = ("resource_id", "client_ip", "actor_id", "action", "resource_type", "actor_type")
"""Filters with an index of their own, those that leave the fewest events first."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What events to find; None and the empty text mean any. Times are microseconds, inclusive."""

    actor_id: str = ""
    actor_type: str = ""
    action: str = ""
    resource_type: str = ""
    resource_id: str = ""
    client_ip: str = ""
    success: bool | None = None
    start: int | None = None
    end: int | None = None
    last_id: int | None = None

    def where(self, *, sqlite: bool) -> tuple[str, list[Any]]:
        """The condition and its values.

        One index is enough for each question; SQLite, which keeps no statistics here, is led to the
        one that leaves the fewest events by a ``+`` before the other columns.
        """
        given = [name for name in LEADS if getattr(self, name)]
        other = "+" if sqlite else ""
        terms = [f"{'' if name is given[0] else other}{name} = ?" for name in given]
        values: list[Any] = [getattr(self, name) for name in given]
        start = 0 if self.start is None and self.success is False and not given else self.start
        for term, value in (
            ("timestamp >= ?", start),
            ("timestamp <= ?", self.end),
            ("id <= ?", self.last_id),
        ):
            if value is not None:
                terms.append((other if term.startswith("id") else "") + term)
                values.append(value)
        if self.success is not None:
            terms.append("success = TRUE" if self.success else "success = FALSE")
        return " AND ".join(terms) or "1 = 1", values
