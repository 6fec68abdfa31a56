"""The command ``flatrun``, and what plugins need to add commands of their own."""

import contextlib
import errno
import logging
import os
import sys
from typing import Any

import click

from flatrun_core import __version__
from flatrun_core.cli.client import ApiError, Client, Event
from flatrun_core.cli.commands import config, migrate, plugins, serve
from flatrun_core.cli.doctor import doctor
from flatrun_core.cli.output import Column, Output
from flatrun_core.cli.session import (
    Session,
    api_options,
    config_option,
    json_option,
    pass_session,
    root_options,
    session_of,
)

__all__ = [
    "ApiError",
    "Client",
    "Column",
    "Event",
    "Output",
    "Session",
    "api_options",
    "config_option",
    "json_option",
    "main",
    "pass_session",
]


class Root(click.Group):
    """The core's commands, and those of plugins, which are looked for only when they are needed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Before anything else: what only the log says is not for the terminal."""
        logging.basicConfig(level=logging.ERROR, format="%(levelname)s: %(message)s")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """One line, no traceback, where the output goes to a full disk; click itself knows closed pipes."""
        try:
            return super().invoke(ctx)
        except OSError as exc:
            if exc.errno != errno.ENOSPC or exc.filename is not None:
                raise
            _give_up_output()
            raise click.ClickException(f"The output cannot be written: {exc.strerror}") from exc

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names for the help; a plugin whose commands cannot be had is named in a warning."""
        session = session_of(ctx)
        return sorted({*super().list_commands(ctx), *session.installed.commands(session.output.warn)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The core's command, else a plugin's."""
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            return found
        session = session_of(ctx)
        return session.installed.command(cmd_name, session.output.warn)


def _give_up_output() -> None:
    """Let what is still in the buffer go nowhere, or it fails once more when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@root_options
@click.option("-v", "--verbose", is_flag=True, help="Log what happens inside, on stderr.")
@click.version_option(__version__, message="flatrun %(version)s")
@click.pass_context
def main(ctx: click.Context, /, *, verbose: bool, **_options: Any) -> None:
    """Flatrun, a self-hosted panel for sites made of compose files.

    The configuration is --config, $FLATRUN_CONFIG, ./flatrun.yml or /etc/flatrun/flatrun.yml,
    whichever is first.
    """
    if verbose:
        logging.getLogger().setLevel(logging.DEBUG)
    session_of(ctx)


for command in (serve, migrate, plugins, config, doctor):
    main.add_command(command)
