"""Caddy, the second proxy that the tests try: unpacked from the archive's package into the cache.

Not installed: the package would start a server of its own at the ports of the panel's proxy.
"""

from __future__ import annotations

from pathlib import Path

from flatrun_scripts import packages
from flatrun_scripts.shell import ScriptError

PACKAGE = "caddy"


def present(cache: Path) -> Path | None:
    """Return the program, if it is in the cache."""
    program = cache / PACKAGE / "usr/bin/caddy"
    return program if program.is_file() else None


def fetch(cache: Path) -> Path:
    """Return the program; it is fetched when it is not in the cache."""
    if not present(cache):
        packages.download(PACKAGE, cache)
    program = present(cache)
    if program is None:
        raise ScriptError(f"The package {PACKAGE} holds no program of that name.")
    return program
