"""``flatrun doctor``: everything the panel needs, what of it is wrong, and what to do."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs, so that `flatrun` starts at once

import os
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flatrun_core.checks import Check, Finding
from flatrun_core.cli import host_checks
from flatrun_core.cli.session import Session, config_option, json_option, pass_session
from flatrun_core.errors import FlatrunError, StartupError

if TYPE_CHECKING:
    from flatrun_core.panel import Panel
    from flatrun_core.ports.docker import Engine
    from flatrun_core.settings import Snapshot


@click.command()
@json_option
@config_option
@pass_session
def doctor(session: Session) -> None:
    """Look at everything the panel needs and say what to do.

    Exit code 1 when anything is an error; warnings leave it at 0.
    """
    results: list[tuple[Check, Finding]] = []
    with ExitStack() as stack:
        for check in _checks(session, stack):
            with session.output.progress(f"{check.title} ..."):
                finding = look(check)
            results.append((check, finding))
            if not session.json:
                _show(session, check, finding)
    failed = any(finding.status == "error" for _, finding in results)
    if session.json:
        entries = [_entry(check, finding) for check, finding in results]
        session.output.data({"ok": not failed, "checks": entries})
    if failed:
        raise SystemExit(1)


def look(check: Check) -> Finding:
    """Run a check; what it raises is an error with that as its text."""
    try:
        return check.run()
    except Exception as exc:  # noqa: BLE001 - a plugin's check may raise anything, and is shown
        return Finding("error", " ".join(str(exc).split()) or type(exc).__name__)


def _show(session: Session, check: Check, finding: Finding) -> None:
    output = session.output
    word = output.paint(output.state(finding.status), width=8)
    output.line(f"{word} {check.title:<18} {finding.message}".rstrip())
    if finding.status != "ok" and finding.remedy:
        output.line(f"{'':27} To do: {finding.remedy}")


def _entry(check: Check, finding: Finding) -> dict[str, str]:
    return {
        "name": check.name,
        "title": check.title,
        "status": finding.status,
        "message": finding.message,
        "remedy": finding.remedy,
    }


def _checks(session: Session, stack: ExitStack) -> Iterator[Check]:
    """The checks in the order they are shown; the later ones need a panel put together."""
    settings, problems = _settings(session)
    yield Check("config", "Configuration", partial(host_checks.config_file, session.config_path, problems))
    yield from _host(settings)
    panel, finding = _panel(session, stack, settings)
    yield Check("panel", "Panel", lambda: finding)
    if panel is not None:
        yield from _inside(panel, settings)


def _settings(session: Session) -> "tuple[Snapshot, list[str]]":
    """The settings, or the defaults with what is wrong, so that the other checks still run."""
    from flatrun_core.settings import CORE_GROUPS, SettingsError, SettingsSource

    try:
        return session.settings, []
    except SettingsError as exc:
        return SettingsSource().load(CORE_GROUPS), exc.problems


def _host(settings: "Snapshot") -> Iterator[Check]:
    from flatrun_core.docker import ComposeCli, DockerEngine
    from flatrun_core.programs import ProgramRunner
    from flatrun_core.settings import ApiSettings, PanelSettings

    engine, api = DockerEngine(), settings.of(ApiSettings)
    path = settings.of(PanelSettings).deployments_path
    yield Check("docker-socket", "Docker socket", partial(host_checks.docker_socket, os.environ))
    yield Check("docker-engine", "Docker Engine", partial(host_checks.docker_engine, engine))
    compose = ComposeCli(ProgramRunner(), engine.touch)
    yield Check("compose", "Docker Compose", partial(host_checks.docker_compose, compose))
    root = _engine_root(engine)
    if root is not None:
        yield Check("clock", "Clock", partial(host_checks.clock, engine))
        yield Check("networks", "Networks", partial(host_checks.address_pools, engine))
        yield Check("published-ports", "Published ports", partial(host_checks.published_ports, engine))
    yield Check("api-port", "API port", partial(host_checks.api_port, api))
    yield Check("deployments-path", "Deployments", partial(host_checks.deployments_path, path))
    yield Check("disk", "Disk space", partial(host_checks.disk_space, [path, root or path]))


def _engine_root(engine: "Engine") -> Path | None:
    """Where the Engine keeps its data; None when it does not answer, which has been said by then."""
    try:
        return Path(engine.info().root)
    except FlatrunError:
        return None


def _panel(session: Session, stack: ExitStack, settings: "Snapshot") -> "tuple[Panel | None, Finding]":
    from flatrun_core.cli.assembled import assembled, database_is_there

    try:
        if database_is_there(settings):
            return stack.enter_context(assembled(session, own_database=True)), Finding("ok", "it can start")
        made = Finding("ok", "it can start, and will make its database")
        return stack.enter_context(assembled(session)), made
    except StartupError as exc:
        finding = Finding("error", f"it cannot start: {exc}", "do what it says; `flatrun -v serve` says more")
    try:
        return stack.enter_context(assembled(session)), finding
    except StartupError:
        return None, finding


def _inside(panel: "Panel", settings: "Snapshot") -> Iterator[Check]:
    from flatrun_core.settings import AuthSettings

    others = any("flatrun_authenticate" in record.capabilities for record in panel.plugins if record.active)
    auth = settings.of(AuthSettings)
    yield Check("credentials", "Credentials", partial(host_checks.credentials, auth, other_ways=others))
    yield Check("plugins", "Plugins", lambda: _plugins(panel))
    for slug, check in panel.checks:
        yield Check(f"{slug}.{check.name}", check.title, check.run)


def _plugins(panel: "Panel") -> Finding:
    broken = [record for record in panel.plugins if record.status in ("failed", "unavailable")]
    if not broken:
        return Finding("ok", f"{sum(record.active for record in panel.plugins)} active")
    reasons = "; ".join(f"{record.slug} is {record.status}: {record.reason}" for record in broken)
    worst = any(record.status == "failed" for record in broken)
    return Finding("error" if worst else "warning", reasons, "mend it, or name it in plugins.disabled")
