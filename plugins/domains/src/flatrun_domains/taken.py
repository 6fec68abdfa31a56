"""Which hosts and paths are taken, and who may have a path of a host that another deployment has."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from flatrun_core import Conflict, Level
from flatrun_core.ports.auth import Identity
from flatrun_domains import errors
from flatrun_domains.entries import Entry, Pair
from flatrun_domains.table import upstream


@dataclass(frozen=True, slots=True)
class Wish:
    """Entries that a deployment is to have, and ``beside`` them its others.

    Hosts and paths in ``own`` it has already, so nobody asks for them. ``before`` is what the one
    entry of a change was.
    """

    deployment: str
    entries: Sequence[Entry]
    beside: Sequence[Entry] = ()
    own: Collection[Pair] = ()
    before: Entry | None = None


class Taken:
    """What other deployments have; ``stored`` are their entries, exposed or not."""

    def __init__(self, stored: Iterable[tuple[str, Entry]], panel_domain: str) -> None:
        self._panel = panel_domain
        self._pairs: dict[Pair, str] = {}
        self._owners: dict[str, set[str]] = {}
        self._upstreams: set[str] = set()
        for owner, entry in stored:
            self._pairs.update(dict.fromkeys(entry.pairs, owner))
            for host in entry.names:
                self._owners.setdefault(host, set()).add(owner)
            self._upstreams.add(upstream(owner, entry.service))

    def check(self, wish: Wish, asker: Identity) -> None:
        """Raise 409 ``DOMAIN_EXISTS`` or ``CONFLICT`` unless the wish can be had.

        What serves a part of a host can read and set what browsers keep for all of it, and TLS is
        wanted for a host as a whole. So of a host that other deployments have somebody may take a
        free path, or begin to want TLS, who may change each of those too.
        """
        pairs = dict(self._pairs)
        for other in wish.beside:
            pairs.update(dict.fromkeys(other.pairs, wish.deployment))
        for entry in wish.entries:
            asked = [pair for pair in entry.pairs if pair not in wish.own]
            for pair in asked:
                self._check_pair(pair, pairs, asker)
                pairs[pair] = wish.deployment
            hosts = entry.names if _wants_more(wish.before, entry) else [host for host, _ in asked]
            for host in hosts:
                self._check_owners(host, asker)
            if asked or (wish.before is not None and wish.before.service != entry.service):
                self._check_upstream(wish.deployment, entry)

    def _check_pair(self, pair: Pair, taken: dict[Pair, str], asker: Identity) -> None:
        host, path = pair
        if host == self._panel:
            raise errors.panel_domain(host)
        if pair in taken:
            raise errors.domain_exists(host if path == "/" else host + path, taken[pair], asker)

    def _check_owners(self, host: str, asker: Identity) -> None:
        if not all(asker.can(Level.WRITE, owner) for owner in self._owners.get(host, ())):
            raise errors.host_not_shared(host)

    def _check_upstream(self, name: str, entry: Entry) -> None:
        if upstream(name, entry.service) in self._upstreams:
            raise Conflict(
                f"The service '{entry.service}' would have the same name on the proxy's network as "
                "one of another deployment; rename the service"
            )


def _wants_more(before: Entry | None, after: Entry) -> bool:
    """Whether a change begins to want TLS, or a certificate."""
    if before is None:
        return False
    return (after.tls and not before.tls) or (after.auto_cert and not before.auto_cert)
