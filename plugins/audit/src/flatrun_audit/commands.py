"""``flatrun audit``: whether the record is what was written."""

import io
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

import click

from flatrun_audit.texts import clean
from flatrun_core import AuthSettings, FlatrunError, StartupError
from flatrun_core.cli import Session, config_option, json_option, pass_session
from flatrun_core.cli.assembled import assembled, database_is_there, existing_panel
from flatrun_core.ports.programs import PROGRAMS
from flatrun_core.ports.secrets import SIGNING
from flatrun_core.ports.storage import DATABASE

if TYPE_CHECKING:
    from flatrun_audit.verifying import Broken, Link, ReadSignature, Report

UNREADABLE = 2
EXIT_CODES = {"broken": 1, "unsigned": UNREADABLE}
SHOWN = 100  # characters of a text that an export holds
EXPORT = (
    "Events after the last one, and a chain that somebody computed anew, cannot be noticed from an "
    "export alone."
)
UNSIGNED = (
    "The events fit together, but the panel's signing key is not here to check the signature at their "
    "end: somebody may have computed them anew."
)


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

    The panel may run or not. Exit code 0: whole. 1: broken, and where. 2: it cannot be read, or the
    panel's key is not there to check the end's signature.
    """
    with _readable(), session.output.progress("Verifying ..."):
        report = _of_file(session, file, filtered) if file else _of_database(session)
    session.output.result(report.as_dict(), _text(report, file or "the database", filtered=filtered))
    sys.exit(EXIT_CODES.get(report.verdict, 0))


@contextmanager
def _readable() -> Iterator[None]:
    from peewee import PeeweeException  # noqa: PLC0415 - as below

    from flatrun_audit.reading import Unreadable  # noqa: PLC0415 - with what it imports, not at every start

    try:
        yield
    except (Unreadable, StartupError, FlatrunError, OSError) as exc:
        reason = str(exc)
    except PeeweeException as exc:
        reason = f"the database cannot be read as it is ({exc})"
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as exc:  # noqa: BLE001 - who can write the tables can put what nobody foresaw there
        reason = f"it holds what was not foreseen ({type(exc).__name__}: {exc})"
    else:
        return
    click.echo(f"Error: it cannot be verified: {clean(reason, 1000)}", err=True)
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
        return verify_database(panel.services.get(DATABASE), _reader(panel), panel.services.get(PROGRAMS))


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
    export = where != "the database"
    lines = [f"{report.events} events in {_shown(where)}", *_found(report)]
    if export and report.events:
        lines.append(EXPORT)
    if report.foreign:
        lines.append(f"{report.foreign} rows were not written by the panel.")
    if report.broken is None:
        verdicts = {"unsigned": UNSIGNED, "no events": "There are no events to verify."}
        return "\n".join([*lines, verdicts.get(report.verdict, "The chain is whole.")])
    if report.fault is None:
        lines.append("The panel's own events are linked and unchanged.")
    lines.append(f"The chain is broken at event {_fault(report.broken)}.")
    if report.fault is not None and report.fault != report.broken:
        lines.append(f"Of the panel's own events, it is broken at event {_fault(report.fault)}.")
    if export and not filtered and "missing" in report.broken.reason:
        lines.append("If this was exported with filters, say --filtered.")
    return "\n".join(lines)


def _found(report: "Report") -> Iterator[str]:
    if report.first is not None and report.last is not None:
        yield f"first: {_event(report.first)}"
        yield f"last:  {_event(report.last)}"
    for mark, state in report.checkpoints:
        text = f"{mark.deleted} events up to {mark.last_deleted_id} deleted at {_shown(mark.time)}"
        yield f"checkpoint: {text}; {state}"
    if report.unchecked:
        yield f"{report.unchecked} links could not be checked: the events before them are not here"


def _fault(broken: "Broken") -> str:
    name = f" ({_shown(broken.event_id)})" if broken.event_id else ""
    return f"{broken.id}{name}: {broken.reason}"


def _event(link: "Link") -> str:
    from flatrun_audit.verifying import shown_time  # noqa: PLC0415 - as above

    return f"{link.id}, {_shown(str(link.event_id))}, {_shown(shown_time(link))}"


def _shown(text: str) -> str:
    """What an export says of itself may be anything, a line that looks like the panel's too."""
    return clean(text, SHOWN)
