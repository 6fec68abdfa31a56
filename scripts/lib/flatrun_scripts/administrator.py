"""The panel's administrator: whose first password is told once, and is in no file."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flatrun_scripts.panel import Client

VARIABLE = "FLATRUN_ADMIN_PASSWORD"
FILE_VARIABLE = f"{VARIABLE}_FILE"
# What a panel may cut off of a time that it tells.
ROUNDING = timedelta(seconds=1)


@dataclass(frozen=True)
class Password:
    """What the panel gets for its first administrator: the user's word, or a generated one."""

    generated: str = field(default="", repr=False)
    source: str = ""
    chosen_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def environment(self) -> dict[str, str]:
        """What the panel's process needs beside what the user has set already."""
        return {VARIABLE: self.generated} if self.generated else {}


def choose(environ: Mapping[str, str] = os.environ) -> Password:
    """Take the password that the user has set, or make one up."""
    for name in (VARIABLE, FILE_VARIABLE):
        if environ.get(name):
            return Password(source=name)
    return Password(generated=secrets.token_urlsafe(18))


def lines(client: Client, password: Password | None, program: Path, config: Path) -> list[tuple[str, str]]:
    """Say who the administrator is: titles and texts; nothing where the panel has no accounts.

    `password` is what the panel was started with, None when it was running already. It is told only
    while it is that of an administrator whom this very start has made.
    """
    status, body = client.ask("GET", "/api/users")
    if status == HTTPStatus.NOT_FOUND:
        return []
    if status != HTTPStatus.OK:
        return [("Administrator", f"the panel does not say: {body.get('error', status)}")]
    users = body.get("users", [])
    admins = sorted((user for user in users if user.get("role") == "admin"), key=lambda user: user["id"])
    if not admins:
        return [("Administrator", f"none was made; the panel's output says why ({VARIABLE})")]
    name = str(admins[0]["username"])
    if password is None or not _is_new(users, password.chosen_at):
        return [("Administrator", name), ("New password", reset_command(program, config, name))]
    if password.generated:
        return [("Administrator", name), ("Password", f"{password.generated}   (shown only now)")]
    return [("Administrator", name), ("Password", f"as {password.source} says")]


def reset_command(program: Path, config: Path, name: str) -> str:
    """Return what gives an account a new password."""
    return f"{program} --config {config} users reset-password {name}"


def _is_new(users: list[dict[str, Any]], since: datetime) -> bool:
    if len(users) != 1:
        return False
    made = datetime.fromisoformat(str(users[0]["created_at"]).replace("Z", "+00:00"))
    return made >= since - ROUNDING
