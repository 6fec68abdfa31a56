"""The installed plugins, asked without an application: no database is opened, no service built.

So a command's name, a list of plugins and the check of a configuration are there when the panel
itself cannot start.
"""

import functools
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import click

from flatrun_core import plugins
from flatrun_core.errors import StartupError
from flatrun_core.hooks import PluginFailure, PluginHooks
from flatrun_core.plugins import PluginRecord


class Installed:
    """Plugins found through entry points, less those that ``disabled`` and ``only`` leave out.

    What is not said to be safe may raise ``StartupError``, for plugins that cannot be together.
    """

    def __init__(self, disabled: Sequence[str] = (), only: Sequence[str] = ()) -> None:
        self._disabled = disabled
        self._only = only
        self._commands: dict[str, click.Command] | None = None

    @functools.cached_property
    def records(self) -> list[PluginRecord]:
        """All of them; none is imported yet."""
        records = plugins.discover()
        plugins.select(records, disabled=self._disabled, only=self._only)
        return records

    @functools.cached_property
    def ordered(self) -> list[PluginRecord]:
        """Those that can be loaded, in start order; the others' records say why not."""
        for record in self.records:
            if record.active:
                plugins.load(record)
        return plugins.order(self.records)

    def register(self, hook: str) -> list[tuple[str, Any]]:
        """What each plugin registers by a hook of the core; a failure is kept in its record."""
        return [(record.slug, item) for record in self.ordered for item in registered(record, hook)]

    def commands(self, warn: Callable[[str], None]) -> dict[str, click.Command]:
        """The commands of all plugins by name; never raises, ``warn`` hears of those that cannot be had."""
        if self._commands is None:
            try:
                self._commands = self._collect(warn)
            except StartupError as exc:
                warn(f"there are no commands of plugins: {exc}")
                self._commands = {}
        return self._commands

    def command(self, name: str, warn: Callable[[str], None]) -> click.Command | None:
        """One command, looked for first in the plugin of its name, so that only that one is imported."""
        own = self._own_command(name) if self._commands is None else None
        return own or self.commands(warn).get(name)

    def _own_command(self, name: str) -> click.Command | None:
        try:
            record = next((record for record in self.records if record.slug == name and record.active), None)
        except StartupError:
            return None
        if record is None:
            return None
        plugins.load(record)
        commands = registered(record, "flatrun_register_commands") if record.active else []
        return next((command for command in commands if command.name == name), None)

    def _collect(self, warn: Callable[[str], None]) -> dict[str, click.Command]:
        found: dict[str, click.Command] = {}
        for slug, command in self.register("flatrun_register_commands"):
            if found.setdefault(str(command.name), command) is not command:
                warn(f"plugin {slug} has a command '{command.name}' too, which cannot be reached")
        for record in self.records:
            if record.status == "failed":
                warn(f"plugin {record.slug} has no commands: {record.reason}")
        return found


def registered(record: PluginRecord, hook: str) -> list[Any]:
    """What one loaded plugin registers by a hook of the core; a failure is kept in its record."""
    try:
        manager = plugins.build_manager([record], ModuleType("nothing"))
        return [item for _, item in PluginHooks(manager, [record.slug]).register(hook)]
    except (PluginFailure, StartupError) as failure:
        record.fail(getattr(failure, "reason", str(failure)))
        return []
