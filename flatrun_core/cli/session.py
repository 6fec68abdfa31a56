"""What every command gets: which configuration, which panel, and how to print."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs, so that `flatrun` starts at once

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from flatrun_core.cli.client import Client, local_url
from flatrun_core.cli.output import Output

if TYPE_CHECKING:
    from flatrun_core.cli.installed import Installed
    from flatrun_core.services import Services
    from flatrun_core.settings import SettingsSource, Snapshot

F = TypeVar("F", bound=Callable[..., Any])

PLACES: Final = (Path("flatrun.yml"), Path("/etc/flatrun/flatrun.yml"))


class Session:
    """One invocation of ``flatrun``; the object of every command's context.

    ``config`` is the file named by the user, or None to look in the usual places. ``url`` and
    ``key`` are what the user named, and ``api`` replaces the client, for tests.
    """

    def __init__(
        self, *, config: Path | None = None, json: bool = False, url: str = "", key: str = "", api: Any = None
    ) -> None:
        self.config = config
        self.url = url
        self.key = key
        self.output = Output(json=json)
        self._api: Client | None = api

    @property
    def json(self) -> bool:
        """Whether ``--json`` was given."""
        return self.output.json

    @property
    def config_path(self) -> Path | None:
        """The ``flatrun.yml`` in use; None means defaults and the environment."""
        return self.config or next((place for place in PLACES if place.exists()), None)

    @functools.cached_property
    def source(self) -> "SettingsSource":
        """The configuration as it is written; a text that is not YAML raises ``SettingsError``."""
        return self.read_source()

    @functools.cached_property
    def settings(self) -> "Snapshot":
        """The core's own settings; raises ``SettingsError`` when one is wrong."""
        from flatrun_core.settings import CORE_GROUPS

        return self.source.load(CORE_GROUPS)

    def forget_settings(self) -> None:
        """Read again: finding a plugin's command may have read another file than the command names."""
        self.__dict__.pop("source", None)
        self.__dict__.pop("settings", None)

    @functools.cached_property
    def installed(self) -> "Installed":
        """The installed plugins that the configuration does not leave out; all, when it cannot be read."""
        from flatrun_core.cli.installed import Installed
        from flatrun_core.errors import StartupError
        from flatrun_core.settings import CORE_GROUPS, PluginSettings

        try:
            chosen = self.source.load(CORE_GROUPS, partial=True).of(PluginSettings)
        except StartupError:
            return Installed()
        return Installed(chosen.disabled, chosen.only)

    @property
    def api(self) -> Client:
        """The running panel."""
        if self._api is None:
            self._api = Client(self.url or self._configured_url(), self.key or self._configured_key())
        return self._api

    @contextmanager
    def panel(self) -> "Iterator[Services]":
        """The services of the configured panel, put together on its own database and not serving.

        For commands on the host, which need no key and work whether the panel runs or not. Where there
        is no database, or one that is older than the program, they end with a sentence and nothing was
        made; so does every ``FlatrunError`` of theirs.
        """
        from flatrun_core.cli.assembled import existing_panel
        from flatrun_core.errors import FlatrunError, StartupError

        try:
            with existing_panel(self) as panel:
                yield panel.services
        except (StartupError, FlatrunError) as exc:
            raise click.ClickException(str(exc)) from exc

    def read_source(self, overrides: dict[str, Any] | None = None) -> "SettingsSource":
        """The configuration with values of the command line on top, by dotted name."""
        from flatrun_core.settings import SettingsSource

        return SettingsSource.read(self.config_path, os.environ, overrides)

    def _configured_url(self) -> str:
        from flatrun_core.errors import StartupError
        from flatrun_core.settings import ApiSettings

        try:
            return local_url(self.settings.of(ApiSettings))
        except StartupError as exc:
            raise click.ClickException(
                f"{exc}\nName the panel with --url, or mend the configuration."
            ) from exc

    def _configured_key(self) -> str:
        from flatrun_core.errors import StartupError
        from flatrun_core.settings import AuthSettings

        try:
            return next(iter(self.settings.of(AuthSettings).api_keys), "")
        except StartupError:
            # With --url no configuration is needed; the panel says so if it wants a key.
            return ""


pass_session = click.make_pass_decorator(Session, ensure=True)


def session_of(ctx: click.Context) -> Session:
    """The context's session, made from the options before the command when there is none yet."""
    root = ctx.find_root()
    if not isinstance(root.obj, Session):
        known = {name: root.params.get(name) for name in ("config", "json", "url", "key")}
        root.obj = Session(**{name: value for name, value in known.items() if value})
    return root.obj


def _take(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        if not value:
            return
        session = ctx.ensure_object(Session)
        setattr(session.output if name == "json" else session, name, value)
        if name == "config":
            session.forget_settings()

    return callback


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OPTIONS: Final = {
    "config": {"type": _FILE, "metavar": "FILE", "help": "The flatrun.yml to use."},
    "json": {"is_flag": True, "help": "Print JSON."},
    "url": {"metavar": "URL", "help": "The running panel's address."},
    "key": {"metavar": "KEY", "help": "An API key ($FLATRUN_API_KEY keeps it out of the process list)."},
}
_VARIABLES: Final = {"config": "FLATRUN_CONFIG", "url": "FLATRUN_URL", "key": "FLATRUN_API_KEY"}


def root_options(command: F) -> F:
    """The options before the command, which the environment may give too."""
    for name, options in reversed(_OPTIONS.items()):
        command = click.option(f"--{name}", name, envvar=_VARIABLES.get(name), **options)(command)  # type: ignore[arg-type]
    return command


def _leaf_options(*names: str) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        for name in reversed(names):
            options: Any = _OPTIONS[name]
            command = click.option(f"--{name}", expose_value=False, callback=_take(name), **options)(command)
        return command

    return decorate


config_option = _leaf_options("config")
json_option = _leaf_options("json")
api_options = _leaf_options("json", "config", "url", "key")
