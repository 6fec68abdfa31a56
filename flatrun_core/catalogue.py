"""What assembly found of permissions and recorders, for plugins that ask while they work."""

from collections.abc import Iterable, Mapping, Sequence

from flatrun_core.ports.auth import KnownPermission, RecordedEvent, Recorder


class Catalogue:
    """Implements ``PERMISSIONS``; filled once, at assembly."""

    def __init__(self) -> None:
        self._known: dict[str, KnownPermission] = {}
        self._roles: dict[str, frozenset[str]] = {}

    def fill(self, permissions: Iterable[KnownPermission]) -> None:
        """Take what assembly found."""
        self._known = {one.name: one for one in sorted(permissions, key=lambda one: one.name)}
        roles = {role for one in self._known.values() for role in one.roles}
        self._roles = {
            role: frozenset(name for name, one in self._known.items() if role in one.roles) for role in roles
        }

    def known(self) -> Mapping[str, KnownPermission]:
        """See the port."""
        return self._known

    def of_role(self, role: str) -> frozenset[str]:
        """See the port."""
        return self._roles.get(role, frozenset())


class Records:
    """Implements ``RECORD`` over every recorder."""

    def __init__(self) -> None:
        self.recorders: Sequence[Recorder] = ()

    def write(self, event: RecordedEvent) -> None:
        """See the port."""
        for recorder in self.recorders:
            recorder.note(event)
