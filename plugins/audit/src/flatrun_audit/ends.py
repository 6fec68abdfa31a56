"""Where the chain ends, as the row of the head tells it."""

from typing import Final, NamedTuple

from flatrun_audit.canonical import is_hash

MAX_ID: Final = 2**53
"""Beyond it no program reads a number alike, and no panel comes there."""
ROOM: Final = 1_000_000_000
"""Rows so near above the end would get in the way; those further off do not, and are let be."""
LIMIT: Final = MAX_ID - ROOM
"""Up to here a head is believed: the chain can go on from it."""
REBUILT: Final = MAX_ID // 2
"""Up to here a head is made anew from rows; well below the limit, so that it is never made in vain."""


class End(NamedTuple):
    """The last id and its hash, how many events there are, and the panel's signature over the first two.

    ``beyond`` is the largest id of a row above ``last_id``, of those that would get in the way.
    """

    last_id: int
    last_hash: str
    events: int
    signature: str
    beyond: int | None = None

    @property
    def sound(self) -> bool:
        """Whether this is what the panel writes, and the chain can go on from it."""
        kinds = (type(self.last_id), type(self.last_hash), type(self.events), type(self.signature))
        if kinds != (int, str, int, str):
            return False
        bounded = 0 <= self.last_id <= LIMIT and 0 <= self.events <= LIMIT
        return bounded and is_hash(self.last_hash)
