"""``flatrun users``: accounts on the host, to let somebody back in who is locked out."""

import dataclasses
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from flatrun_core.cli import Session, config_option, json_option, pass_session

if TYPE_CHECKING:
    from flatrun_users.host import HostAccount, HostAccounts, Reset

_LONGEST: Final = 4096  # bytes of a line on stdin
_GENERATED: Final = 18  # random bytes


@click.group(name="users")
def users() -> None:
    """Accounts on this host: list, reset, unlock.

    They work on the database itself, whether the panel runs or not, and need no API key. What they
    change is in the audit.
    """


@users.command("list")
@json_option
@config_option
@pass_session
def list_(session: Session) -> None:
    """List the accounts, oldest first."""
    with _host(session) as host:
        found = host.all()
    if session.json:
        session.output.data([_document(account) for account in found])
        return
    rows = [_row(account) for account in found]
    columns = ["Id", "Name", "Role", "Active", "Second factor", "Last login", "Email"]
    session.output.table(columns, rows, empty="There are no users; the first start of the panel makes one.")


@users.command("reset-password")
@click.argument("name")
@click.option("--generate", is_flag=True, help="Make a password up and print it, once.")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the password from the first line of stdin.")
@click.option("--activate", is_flag=True, help="Revive the account if it is deactivated.")
@click.option("--admin", "promote", is_flag=True, help="Make the account an administrator.")
@json_option
@config_option
@pass_session
def reset_password(
    session: Session, /, name: str, *, generate: bool, from_stdin: bool, activate: bool, promote: bool
) -> None:
    """Give NAME a new password, end its sessions and forget its failed logins.

    The password is asked for on a terminal. When no administrator is active and nobody has that NAME,
    an administrator of that name is made.
    """
    password = _password(generate=generate, from_stdin=from_stdin)
    with _host(session) as host:
        done = host.reset_password(name, password, activate=activate, promote=promote)
    if session.json:
        shown = _document(done)
        session.output.data({**shown, "password": password} if generate else shown)
    else:
        _tell(session, done, password if generate else None)
    _warn(session, done)


@users.command()
@click.argument("name")
@json_option
@config_option
@pass_session
def unlock(session: Session, /, name: str) -> None:
    """Forget the failed logins of NAME, so that the next one is tried at once."""
    with _host(session) as host:
        forgotten = host.unlock(name)
    session.output.result({"failures": forgotten}, f"{name}: {_counted(forgotten, 'failed login')} forgotten")


@users.command("reset-totp")
@click.argument("name")
@json_option
@config_option
@pass_session
def reset_totp(session: Session, /, name: str) -> None:
    """Take the second factor of NAME away, which was lost, and end its sessions."""
    with _host(session) as host:
        had = host.reset_totp(name)
    text = "second factor taken away" if had else "there was no second factor"
    session.output.result({"had_totp": had}, f"{name}: {text}")


@contextmanager
def _host(session: Session) -> "Iterator[HostAccounts]":
    from flatrun_users.host import HOST  # noqa: PLC0415 - with the database's library, not at every start

    with session.panel() as services:
        host = services.find(HOST)
        if host is None:
            raise click.ClickException("the plugin users does not start; `flatrun plugins` says why")
        yield host


def _password(*, generate: bool, from_stdin: bool) -> str:
    if generate and from_stdin:
        raise click.UsageError("give either --generate or --stdin")
    if generate:
        return secrets.token_urlsafe(_GENERATED)
    if from_stdin:
        return _first_line()
    if not at_terminal():
        raise click.UsageError("there is no terminal to ask on; give --generate or --stdin")
    asked: str = click.prompt("New password", hide_input=True, confirmation_prompt="Once more", err=True)
    return asked


def _first_line() -> str:
    try:
        return sys.stdin.buffer.readline(_LONGEST).decode().rstrip("\r\n")
    except UnicodeDecodeError as exc:
        raise click.BadParameter("the password is not UTF-8 text", param_hint="--stdin") from exc


def at_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


def _tell(session: Session, done: "Reset", generated: str | None) -> None:
    name = done.account.username
    words = {
        "created": "made, as an administrator",
        "activated": "revived",
        "promoted": "now an administrator",
    }
    told = [word for fact, word in words.items() if getattr(done, fact)]
    ended = f"; {_counted(done.sessions_ended, 'session')} ended" if done.sessions_ended else ""
    session.output.line(f"{name}: {', '.join([*told, 'new password set'])}{ended}")
    if generated is not None:
        session.output.line(f"Password: {generated}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _warn(session: Session, done: "Reset") -> None:
    name = done.account.username
    if not done.account.is_active:
        session.output.warn(f"{name} is deactivated and cannot log in; --activate revives the account")
    if done.account.has_totp:
        session.output.warn(
            f"{name} is still asked for the second factor; `flatrun users reset-totp` takes it away"
        )
    if not done.administrators:
        session.output.warn(f"there is no active administrator; --admin --activate makes {name} one")


def _document(shown: "HostAccount | Reset") -> dict[str, Any]:
    """What ``--json`` shows, with times as everywhere in the API."""
    return dataclasses.asdict(shown, dict_factory=_with_times)


def _with_times(items: list[tuple[str, Any]]) -> dict[str, Any]:
    from flatrun_core.fields import format_time  # noqa: PLC0415 - with a library, not at every start

    return {name: format_time(value) if isinstance(value, datetime) else value for name, value in items}


def _row(account: "HostAccount") -> tuple[Any, ...]:
    login = account.last_login_at
    return (
        account.id,
        account.username,
        account.role,
        account.is_active,
        account.has_totp,
        None if login is None else f"{login:%Y-%m-%d %H:%M}Z",
        account.email,
    )
