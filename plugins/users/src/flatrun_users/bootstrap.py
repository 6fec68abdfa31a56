"""The first administrator, made when the panel starts with no user at all."""

import os
import secrets
from collections.abc import Mapping
from logging import Logger
from pathlib import Path
from typing import Final

from peewee import IntegrityError

from flatrun_core import FlatrunError, PluginContext
from flatrun_core.ports.auth import RECORD, RecordedEvent
from flatrun_core.ports.storage import DATABASE
from flatrun_users.effective import ADMIN
from flatrun_users.models import User
from flatrun_users.passwords import PASSWORDS, check_password

USERNAME: Final = "admin"
VARIABLE: Final = "FLATRUN_ADMIN_PASSWORD"
_FILE_LIMIT: Final = 4096  # bytes


class BootstrapError(Exception):
    """No administrator can be made; the text says what is wrong with the environment."""


def bootstrap(ctx: PluginContext, environ: Mapping[str, str] | None = None) -> bool:
    """Make the account ``admin`` when there is no account; whether it was made.

    Its password is ``FLATRUN_ADMIN_PASSWORD``, or the content of the file that
    ``FLATRUN_ADMIN_PASSWORD_FILE`` names; else one is made up and written to the log, once and nowhere
    else. One that cannot be used makes no account and is an error in the log. Of several processes
    that start at once one makes it.
    """
    database = ctx.services.get(DATABASE)
    with database.session():
        if User.select(User.id).first() is not None:
            return False
    try:
        given = given_password(os.environ if environ is None else environ)
    except BootstrapError as exc:
        ctx.log.error("no administrator was made: %s", exc)
        return False
    password = given or secrets.token_urlsafe(18)
    if not _make(ctx, ctx.services.get(PASSWORDS).hash(password)):
        return False
    _tell(ctx.log, None if given else password)
    return True


def given_password(environ: Mapping[str, str]) -> str | None:
    """The password that the environment gives, None for none; an empty variable counts as unset.

    ``BootstrapError`` for one that cannot be used.
    """
    text, path = environ.get(VARIABLE), environ.get(f"{VARIABLE}_FILE")
    if text and path:
        raise BootstrapError(f"{VARIABLE} and {VARIABLE}_FILE are both set")
    source = VARIABLE
    if path:
        source = f"the file of {VARIABLE}_FILE"
        text = _read(path)
    if not text:
        return None
    try:
        return check_password(text)
    except FlatrunError as exc:
        raise BootstrapError(f"{source}: {exc.message}; set another one and start again") from None


def _read(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            text = file.read(_FILE_LIMIT).decode().rstrip("\r\n")
    except (OSError, ValueError):
        raise BootstrapError(f"{VARIABLE}_FILE: the file it names cannot be read") from None
    if not text:
        raise BootstrapError(f"{VARIABLE}_FILE: the file it names is empty")
    return text


def _make(ctx: PluginContext, password_hash: str) -> bool:
    try:
        with ctx.services.get(DATABASE).atomic():
            # Once more, now that nobody else can write.
            if User.select(User.id).first() is not None:
                return False
            row = User.make(USERNAME, password_hash, ADMIN)
            event = RecordedEvent("users.bootstrap", "user", str(row.id), metadata={"username": USERNAME})
            ctx.services.get(RECORD).write(event)
    except IntegrityError:  # another process was faster
        return False
    return True


def _tell(log: Logger, generated: str | None) -> None:
    if generated is None:
        log.info("the first administrator was made: '%s', with the password of the environment", USERNAME)
        return
    log.warning(
        "THE FIRST ADMINISTRATOR WAS MADE. User name: %s   Password: %s   "
        "This password is shown only here; log in and change it.",
        USERNAME,
        generated,
    )
