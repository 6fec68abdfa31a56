"""``flatrun audit``: whether the record is what was written."""

import io
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

import click

from flatrun_audit.texts import clean_lines
from flatrun_core import AuthSettings, FlatrunError, StartupError
from flatrun_core.cli import Session, config_option, json_option, pass_session
from flatrun_core.cli.assembled import assembled, database_is_there, existing_panel
from flatrun_core.ports.secrets import SIGNING
from flatrun_core.ports.storage import DATABASE

if TYPE_CHECKING:
    from flatrun_audit.verifying import Link, ReadSignature, Report

UNREADABLE = 2


@click.group(name="audit")
def audit() -> None:
    """The audit: verify the chain of events."""


@audit.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--filtered", is_flag=True, help="FILE was exported with filters, so events may be missing.")
@json_option
@config_option
@pass_session
def verify(session: Session, /, file: str | None, *, filtered: bool) -> None:
    """Check the chain of events in FILE, a JSON export (- for stdin), or in the panel's database.

    The panel may run or not. Exit code 0: whole. 1: broken, and where. 2: it cannot be read.
    """
    with _readable(), session.output.progress("Verifying ..."):
        report = _of_file(session, file, filtered) if file else _of_database(session)
    # What an export says of itself may be anything, and is for a terminal.
    text = clean_lines(_text(report, file or "the database", filtered=filtered))
    session.output.result(report.as_dict(), text)
    sys.exit(0 if report.whole else 1)


@contextmanager
def _readable() -> Iterator[None]:
    from flatrun_audit.reading import Unreadable  # noqa: PLC0415 - with what it imports, not at every start

    try:
        yield
    except (Unreadable, StartupError, FlatrunError, OSError) as exc:
        click.echo(f"Error: it cannot be verified: {exc}", err=True)
        sys.exit(UNREADABLE)


def _of_file(session: Session, file: str, filtered: bool) -> "Report":
    from flatrun_audit.reading import verify_export  # noqa: PLC0415 - as above
    from flatrun_audit.verifying import ChainCheck  # noqa: PLC0415 - as above

    with _signature_reader(session) as read, _opened(file) as source:
        return verify_export(source, ChainCheck(gaps=filtered, read_signature=read))


@contextmanager
def _opened(file: str) -> Iterator[IO[str]]:
    binary: Any = sys.stdin.buffer if file == "-" else open(file, "rb")  # noqa: PTH123, SIM115 - closed below
    with io.TextIOWrapper(binary, encoding="utf-8-sig") as source:
        yield source


def _of_database(session: Session) -> "Report":
    from flatrun_audit.chain import CHAIN  # noqa: PLC0415 - as above
    from flatrun_audit.verifying_database import verify_database  # noqa: PLC0415 - as above

    with existing_panel(session) as panel:
        if panel.services.find(CHAIN) is None:
            raise StartupError("the plugin audit is not active; `flatrun plugins` says why")
        return verify_database(panel.services.get(DATABASE), _reader(panel))


@contextmanager
def _signature_reader(session: Session) -> "Iterator[ReadSignature | None]":
    """How signatures are read, or None where the panel, and with it its key, is not."""
    with ExitStack() as stack:
        read = None
        with suppress(StartupError):  # an export can be verified anywhere
            if database_is_there(session.settings):
                read = _reader(stack.enter_context(assembled(session)))
        yield read


def _reader(panel: Any) -> "ReadSignature | None":
    given = panel.settings.snapshot.of(AuthSettings).secret_key
    # Asking for a key that is not there would make one.
    there = given or (panel.state_folder / "signing.key").exists()
    return panel.services.get(SIGNING).read if there else None


def _text(report: "Report", where: str, *, filtered: bool) -> str:
    lines = [f"{report.events} events in {where}"]
    if report.first is not None and report.last is not None:
        lines += [f"first: {_event(report.first)}", f"last:  {_event(report.last)}"]
    for mark, state in report.checkpoints:
        lines.append(
            f"checkpoint: {mark.deleted} events up to {mark.last_deleted_id} deleted at {mark.time}; {state}"
        )
    if report.unchecked:
        lines.append(f"{report.unchecked} links could not be checked: the events before them are not here")
    if report.broken is None:
        return "\n".join([*lines, "The chain is whole."])
    name = f" ({report.broken.event_id})" if report.broken.event_id else ""
    lines.append(f"The chain is broken at event {report.broken.id}{name}: {report.broken.reason}.")
    if not filtered and "missing" in report.broken.reason and where != "the database":
        lines.append("If this was exported with filters, say --filtered.")
    return "\n".join(lines)


def _event(link: "Link") -> str:
    from flatrun_audit.verifying import shown_time  # noqa: PLC0415 - as above

    return f"{link.id}, {link.event_id}, {shown_time(link)}"
