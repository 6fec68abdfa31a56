"""The program ``caddy``: what it says of a file, and telling the running one to load it."""

import json
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from flatrun_caddy.blocks import Block
from flatrun_caddy.reading import difference, meant, reading
from flatrun_caddy.settings import Layout
from flatrun_core.ports.programs import Completed, Programs

_LIMIT: Final = 60.0  # seconds, for one run
_PATIENCE: Final = 2.0  # seconds, for one connection
# The way through Caddy's modules to where an error is, which differs from run to run.
_WAY: Final = re.compile(r"(?:(?:loading|getting) [a-z]+ app(?: module)?: |provision [a-z]+: )+")


class Caddy(Protocol):
    """What the backend needs of Caddy. Each raises ``Unavailable`` where the program is missing."""

    def refusal(self, layout: Layout, file: Path, blocks: Sequence[Block]) -> str:
        """Why Caddy would not serve a file as these blocks were meant; empty when it would."""

    def reload(self, layout: Layout) -> str:
        """Make the running Caddy load the file; its words when it did not."""

    def answers(self, layout: Layout) -> bool:
        """Whether a Caddy runs, by its admin address."""


class CaddyProgram:
    """``Caddy`` by the program, which need not be the process that serves."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    def refusal(self, layout: Layout, file: Path, blocks: Sequence[Block]) -> str:
        """Ask for the file as JSON, compare it with what was meant, then have it validated."""
        adapted = self._run(layout, "adapt", file)
        if adapted.returncode:
            return _words(adapted, file)
        try:
            read = reading(json.loads(adapted.stdout))
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            return f"Caddy's JSON cannot be understood: {exc!r}"
        problem = difference(meant(layout, blocks), read)
        if problem:
            return problem
        # Only this loads the certificates.
        validated = self._run(layout, "validate", file)
        return _words(validated, file) if validated.returncode else ""

    def reload(self, layout: Layout) -> str:
        """``caddy reload``, which answers once the new configuration is in use.

        By force, or files of certificates that were renewed in their place would not be read again.
        """
        done = self._run(layout, "reload", layout.file, ["--address", layout.admin, "--force"])
        return _words(done, layout.file) if done.returncode else ""

    def answers(self, layout: Layout) -> bool:
        """Whether something takes connections at the admin address."""
        return not unreachable(layout.admin)

    def _run(self, layout: Layout, command: str, file: Path, more: Sequence[str] = ()) -> Completed:
        args = [layout.program, command, "--config", str(file), "--adapter", "caddyfile", *more]
        return self._programs.run(args, timeout=_LIMIT)


def unreachable(address: str) -> str:
    """Why an address (``host:port`` or ``unix//path``) takes no connection; empty when it does."""
    try:
        if address.startswith("unix/"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(_PATIENCE)
                connection.connect(address.removeprefix("unix/"))
        else:
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except OSError as exc:
        return exc.strerror or str(exc)
    return ""


def _words(done: Completed, file: Path) -> str:
    """What Caddy said of an error, in the same words each time: a file's name is gone in a moment."""
    lines = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    text = " ".join(lines) or done.output.strip()[-1000:] or f"it ended with {done.returncode}"
    return _WAY.sub("", text.removeprefix("Error: ").replace(str(file), "Caddyfile"))
