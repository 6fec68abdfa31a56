"""``flatrun serve``, ``migrate``, ``plugins`` and ``config``."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs, so that `flatrun` starts at once

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from flatrun_core.cli.session import Session, config_option, json_option, pass_session

if TYPE_CHECKING:
    from flatrun_core.plugins import PluginRecord
    from flatrun_core.settings import SettingsSource, Snapshot


@click.command()
@click.option("--host", help="Address to listen on, instead of api.host.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on, instead of api.port.")
@click.option("--no-plugins", is_flag=True, help="Start the core alone.")
@click.option("--migrate", is_flag=True, help="Bring an older database up to date, after a copy.")
@click.option("--strict", is_flag=True, help="Do not start when a plugin fails.")
@click.option("--access-log", is_flag=True, help="Log every request.")
@config_option
@pass_session
def serve(session: Session, /, host: str | None, port: int | None, **flags: bool) -> None:
    """Run the panel until SIGTERM or Ctrl-C."""
    from flatrun_core import server
    from flatrun_core.app import create_app

    server.configure_logging(min(logging.INFO, logging.getLogger().level))
    chosen = {"api.host": host, "api.port": port}
    with _startup():
        app = create_app(
            session.read_source({name: value for name, value in chosen.items() if value is not None}),
            plugins=[] if flags["no_plugins"] else None,
            strict=flags["strict"],
            migrate=flags["migrate"],
        )
        code = server.serve(app, access_log=flags["access_log"])
    sys.exit(code)


@contextmanager
def _startup() -> Iterator[None]:
    """Turn what stops a start into a sentence, with the way around plugins when it came unforeseen."""
    from flatrun_core.errors import StartupError

    try:
        yield
    except StartupError as exc:
        raise click.ClickException(str(exc)) from exc
    except Exception as exc:
        logging.getLogger(__name__).exception("the panel cannot start")
        hint = "if a plugin is the reason, `flatrun serve --no-plugins` starts without"
        raise click.ClickException(f"The panel cannot start: {type(exc).__name__}: {exc}; {hint}") from exc


@click.command()
@json_option
@config_option
@pass_session
def migrate(session: Session) -> None:
    """Bring the panel's database up to date, after a copy."""
    from flatrun_core.cli.assembled import assembled, open_own_database

    with session.output.progress("Migrating ..."), _startup(), assembled(session) as panel:
        # The database itself says where the copy is.
        logging.getLogger("flatrun_core.db").setLevel(logging.INFO)
        database = open_own_database(panel)
        try:
            applied = database.migrate(panel.migrations)
        finally:
            database.close()
    text = "\n".join(f"applied {name}" for name in applied)
    session.output.result({"applied": applied}, text or "The database is up to date.")


@click.command()
@json_option
@config_option
@pass_session
def plugins(session: Session) -> None:
    """List the installed plugins, and why one is not active."""
    records = _records(session)
    if session.json:
        session.output.data({"plugins": [_described(record) for record in records]})
        return
    session.output.table(
        ["Name", "Version", "State", "Reason"],
        [(r.slug, r.version, session.output.state(str(r.status)), r.reason) for r in records],
        empty="No plugins are installed.",
    )


def _records(session: Session) -> "list[PluginRecord]":
    """The plugins as a start would find them; as far as they can be told when none is possible."""
    from flatrun_core.cli.assembled import assembled
    from flatrun_core.errors import StartupError

    try:
        with assembled(session) as panel:
            return list(panel.plugins)
    except StartupError as exc:
        session.output.warn(f"the panel cannot start, so the states are provisional: {exc}")
        installed = session.installed
        installed.register("flatrun_register_settings")
        return installed.records


def _described(record: "PluginRecord") -> dict[str, Any]:
    return {
        "name": record.slug,
        "version": record.version,
        "status": str(record.status),
        "reason": record.reason,
        "distribution": record.distribution,
        "description": record.description,
    }


@click.command()
@click.option("--check", is_flag=True, help="Only say whether it is valid; exit code 1 when not.")
@json_option
@config_option
@pass_session
def config(session: Session, *, check: bool) -> None:
    """Show the settings in effect, secrets as ***, or every problem they have."""
    from flatrun_core.settings import SettingsError

    place = str(session.config_path or "the environment")
    try:
        snapshot = _load(session, session.source)
    except SettingsError as exc:
        if session.json:
            session.output.data({"valid": False, "problems": exc.problems, "warnings": []})
            sys.exit(1)
        raise click.ClickException("\n".join([f"{place} is not valid.", *exc.problems])) from exc
    for warning in snapshot.warnings if not session.json else ():
        session.output.warn(warning)
    shown = effective(snapshot)
    if check:
        report = {"valid": True, "problems": [], "warnings": list(snapshot.warnings)}
        session.output.result(report, f"{place} is valid.")
    elif session.json:
        session.output.data(shown)
    else:
        import yaml

        session.output.line(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True).rstrip())


def _load(session: Session, source: "SettingsSource") -> "Snapshot":
    from flatrun_core.settings import CORE_GROUPS

    groups = [group for _, group in session.installed.register("flatrun_register_settings")]
    for record in session.installed.records:
        if record.status == "failed":
            session.output.warn(f"plugin {record.slug} is {record.status}: {record.reason}")
    return source.load([*CORE_GROUPS, *groups])


def effective(snapshot: "Snapshot") -> dict[str, Any]:
    """Every setting by group, as the file would name it, with secrets as ``***``."""
    from flatrun_core.fields import is_secret

    shown: dict[str, Any] = {}
    for name, value in snapshot.values.items():
        inner = shown
        for part in name.split(".") if name else ():
            inner = inner.setdefault(part, {})
        for key, field in snapshot.schemas[name].fields.items():
            secret = is_secret(field)
            inner[key] = ("***" if getattr(value, key) else "") if secret else field.serialize(key, value)
    return shown
