"""What was served last, beyond the life of the panel and of a deployment."""

from collections.abc import Mapping

from flatrun_core.ports.storage import PanelStore
from flatrun_domains.entries import Entry, Pair, from_json, to_json
from flatrun_domains.models import Contest, KeptSite

Served = Mapping[str, tuple[Entry, ...]]


class Memory:
    """The rows of the tables and a copy of them; the caller sees to it that one thread works at a time.

    ``last`` is what each deployment was served with: it serves on while its ``service.yml`` cannot be
    read. ``kept`` are sites of deployments that are gone. ``contests`` are the hosts and paths that
    several deployments want, with the one that has it.
    """

    def __init__(self, store: PanelStore) -> None:
        self._store = store
        self._last: dict[str, tuple[Entry, ...]] | None = None
        self._kept: dict[str, tuple[Entry, ...]] = {}
        self._contests: dict[Pair, str] = {}

    @property
    def last(self) -> Served:
        """Entries by deployment that is there."""
        return self._loaded()

    @property
    def kept(self) -> Served:
        """Entries by deployment that is gone."""
        self._loaded()
        return self._kept

    @property
    def contests(self) -> Mapping[Pair, str]:
        """Deployments by host and path."""
        self._loaded()
        return self._contests

    def decide(self, contests: Mapping[Pair, str]) -> None:
        """Note who has what is contested now; what is not in it is contested no more."""
        self._loaded()
        if contests != self._contests:
            with self._store.atomic():
                Contest.put_all(contests)
            self._contests = dict(contests)

    def remember(self, served: Served) -> None:
        """Note what is served now; deployments that are not in it are forgotten."""
        last = self._loaded()
        changed = {
            name: entries
            for name, entries in served.items()
            if entries and name not in self._kept and last.get(name) != entries
        }
        gone = [name for name in last if not served.get(name)]
        if changed or gone:
            with self._store.atomic():
                KeptSite.drop(gone)
                for name, entries in changed.items():
                    KeptSite.put(name, to_json(entries), kept=False)
            for name in gone:
                del last[name]
            last.update(changed)

    def forget(self, name: str) -> tuple[Entry, ...]:
        """Forget what a deployment was served with; what it was, empty when nothing is known."""
        if name not in self._loaded():
            return ()
        with self._store.atomic():
            KeptSite.drop([name])
        return self._loaded().pop(name)

    def keep(self, name: str, entries: tuple[Entry, ...]) -> None:
        """Let a site outlive its deployment."""
        last = self._loaded()
        with self._store.atomic():
            KeptSite.put(name, to_json(entries), kept=True)
        last.pop(name, None)
        self._kept[name] = entries

    def drop(self, name: str) -> tuple[Entry, ...]:
        """Forget a kept site; what it was, empty when there was none."""
        self._loaded()
        if name not in self._kept:
            return ()
        with self._store.atomic():
            KeptSite.drop([name])
        return self._kept.pop(name)

    def _loaded(self) -> dict[str, tuple[Entry, ...]]:
        if self._last is None:
            with self._store.session():
                rows = KeptSite.everything()
                self._contests = Contest.everything()
            self._kept = {name: from_json(entries) for name, (entries, kept) in rows.items() if kept}
            self._last = {name: from_json(entries) for name, (entries, kept) in rows.items() if not kept}
        return self._last
