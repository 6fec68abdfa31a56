"""``flatrun deployments``: the deployments of the running panel from a terminal or a script."""

import json
from collections.abc import Mapping
from typing import IO, Any
from urllib.parse import quote

import click

from flatrun_core.cli import ApiError, Column, Session, api_options, pass_session
from flatrun_deployments import env_file

DOING = {"start": "Starting", "stop": "Stopping"}


@click.group(name="deployments")
def deployments() -> None:
    """Deployments: list, create, start, stop, logs."""


@deployments.command("list")
@api_options
@pass_session
def list_(session: Session) -> None:
    """List deployments and how they do."""
    found = session.api.get("/api/deployments")
    if session.json:
        session.output.data(found)
        return
    state = session.output.state
    rows = [
        (item["name"], state(item["status"]), _services(item["services"]), item["created_at"][:19])
        for item in found
    ]
    columns: list[str | Column] = [Column("Name", wrap=False), "Status", "Services", "Created"]
    session.output.table(columns, rows, empty="There are no deployments.")


@deployments.command()
@click.argument("name")
@click.option("--compose", "-f", type=click.File("rb"), help="Compose file; - reads stdin.")
@click.option("--template", metavar="ID", help="Template to use.")
@click.option("--port", type=click.IntRange(1, 65535), help="Host port to publish the primary service on.")
@click.option("--env", "-e", "env", multiple=True, metavar="KEY=VALUE", help="A variable; repeatable.")
@click.option("--env-file", type=click.File("rb"), help="File of KEY=VALUE lines.")
@click.option("--start", is_flag=True, help="Start it at once.")
@api_options
@pass_session
def create(session: Session, /, name: str, start: bool, **wanted: Any) -> None:
    """Create the deployment NAME from a compose file or a template."""
    if not wanted["compose"] and not wanted["template"]:
        raise click.UsageError("give --compose FILE or --template ID")
    body = {
        "name": name,
        "compose": _text(wanted["compose"], "--compose") if wanted["compose"] else None,
        "template_id": wanted["template"],
        "port": wanted["port"],
        "auto_start": start,
        "env_vars": _variables(wanted["env_file"], wanted["env"]),
    }
    with session.output.progress(f"Creating {name}"):
        made = _asked(session, "/api/deployments", body)
    started = made["auto_started"] and not made["start_error"]
    session.output.result(made, f"Created {name}" + (" and started it" if started else ""))
    for warning in made.get("warnings", ()):
        session.output.warn(warning)
    if made["registry_login_error"]:
        session.output.warn(f"the registry login failed: {made['registry_login_error']}")
    if made["start_error"]:
        session.output.note(made["start_output"].rstrip())
        raise click.ClickException(f"{name} was created but did not start: {made['start_error']}")


@deployments.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@api_options
@pass_session
def start(session: Session, names: tuple[str, ...]) -> None:
    """Start deployments, one after the other."""
    _act(session, names, "start")


@deployments.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@api_options
@pass_session
def stop(session: Session, names: tuple[str, ...]) -> None:
    """Stop deployments, one after the other; their containers stay."""
    _act(session, names, "stop")


@deployments.command()
@click.argument("name")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on.")
@click.option("--service", "-s", metavar="SERVICE", help="Only this service.")
@click.option("--tail", "-n", type=click.IntRange(1, 10000), help="Lines from the end (default 100).")
@click.option("--since", metavar="TIME", help="Only what is newer: a duration (10m) or an RFC 3339 time.")
@click.option("--timestamps", "-t", is_flag=True, help="Show when each line was written.")
@api_options
@pass_session
def logs(session: Session, /, name: str, follow: bool, timestamps: bool, **wanted: Any) -> None:
    """Show what the containers of NAME wrote."""
    path = f"/api/deployments/{quote(name, safe='')}/logs"
    query = {**wanted, "timestamps": timestamps}
    if follow:
        _follow(session, path, query, timestamps=timestamps)
        return
    answer = session.api.get(path, **query)
    if session.json:
        session.output.data(answer)
    elif answer["logs"]:
        session.output.line(answer["logs"].removesuffix("\n"))


def _follow(session: Session, path: str, query: Mapping[str, Any], *, timestamps: bool) -> None:
    for event in session.api.stream(path, follow=True, **query):
        if session.json:
            session.output.line(json.dumps({"event": event.name, **event.data}, ensure_ascii=False))
        elif event.name == "log":
            moment = f"{event.data['timestamp']} " if timestamps else ""
            session.output.line(f"{event.data['service']}  | {moment}{event.data['line']}")
        elif event.name == "skipped":
            session.output.note(
                f"{event.data['lines']} lines were skipped: they came faster than they were read"
            )
        elif event.name == "end":
            session.output.note(f"The log ended: {event.data.get('reason', 'stopped')}")


def _act(session: Session, names: tuple[str, ...], action: str) -> None:
    done = []
    for name in names:
        with session.output.progress(f"{DOING[action]} {name}"):
            done.append(_asked(session, f"/api/deployments/{quote(name, safe='')}/{action}"))
        if not session.json:
            session.output.line(f"{name}: {done[-1]['message'].removeprefix('Deployment ')}")
    if session.json:
        session.output.data(done if len(done) > 1 else done[0])


def _asked(session: Session, path: str, body: Mapping[str, Any] | None = None) -> Any:
    try:
        return session.api.post(path, body)
    except ApiError as refused:
        # What compose wrote says more than the sentence does.
        output = str(refused.body.get("output", "")).rstrip()
        if output:
            session.output.note(output)
        raise


def _text(file: IO[bytes], option: str) -> str:
    # Not read as text, which would change line endings.
    try:
        return file.read().decode()
    except UnicodeDecodeError as exc:
        raise click.BadParameter("the file is not UTF-8 text", param_hint=option) from exc


def _variables(file: IO[bytes] | None, pairs: tuple[str, ...]) -> list[dict[str, str]]:
    values = env_file.parse(_text(file, "--env-file")) if file else {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not key or not separator:
            raise click.BadParameter(f"'{pair}' is not KEY=VALUE", param_hint="--env")
        values[key] = value
    return [{"key": key, "value": value} for key, value in values.items()]


def _services(services: list[dict[str, str]]) -> str:
    up = sum(service["status"] == "running" for service in services)
    return f"{up}/{len(services)} running"
