"""CAA records (RFC 8659): which authorities may issue for a name."""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

CRITICAL: Final = 128
KNOWN: Final = frozenset(
    ("issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone")
)
_METHODS = re.compile(r"validationmethods\s*=\s*([^;\s]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Caa:
    """One record as it stands in the zone."""

    flags: int
    tag: str
    value: str

    @property
    def issuer(self) -> str:
        """The name of the authority, empty when nobody may issue."""
        return self.value.partition(";")[0].strip().rstrip(".").lower()

    @property
    def methods(self) -> frozenset[str]:
        """The only proofs that may be used (RFC 8657); empty when all may."""
        found = _METHODS.search(self.value.partition(";")[2])
        return frozenset(found[1].lower().split(",")) if found else frozenset()


def relevant(name: str, records: Callable[[str], list[Caa]]) -> tuple[str, list[Caa]]:
    """The records that count for a name, and where they stand: the first on the way up the tree."""
    labels = name.rstrip(".").split(".")
    for start in range(len(labels)):
        place = ".".join(labels[start:])
        found = records(place)
        if found:
            return place, found
    return "", []


def refusal(
    records: Collection[Caa], authorities: Iterable[str], method: str, *, wildcard: bool
) -> tuple[str, ...] | None:
    """None when one of the authorities may issue, else the names of those which may.

    Without a name of the authority only a set that lets nobody issue is a refusal. ``method`` is
    http-01 or dns-01.
    """
    if any(one.flags & CRITICAL and one.tag.lower() not in KNOWN for one in records):
        return ()
    counting = _counting(records, wildcard=wildcard)
    if not counting:
        return None
    wanted = {name.lower() for name in authorities}
    allowed = tuple(dict.fromkeys(one.issuer for one in counting if one.issuer))
    for one in counting:
        right = one.issuer in wanted if wanted else bool(one.issuer)
        if right and (not one.methods or method in one.methods):
            return None
    return allowed


def _counting(records: Collection[Caa], *, wildcard: bool) -> list[Caa]:
    """The records of the tag that decides; for wildcards that is another one, if there is any."""
    wild = [one for one in records if one.tag.lower() == "issuewild"]
    if wildcard and wild:
        return wild
    return [one for one in records if one.tag.lower() == "issue"]
