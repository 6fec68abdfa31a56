"""Pebble, the small ACME authority that the tests ask for certificates, and its DNS server.

Unpacked from the archive's package into the cache. Bookworm's is too old: it knows no renewal
information, so the next release's is taken there.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flatrun_scripts import next_release, packages
from flatrun_scripts.shell import ScriptError

PACKAGE = "pebble"
PROGRAMS = ("pebble", "pebble-challtestsrv")
# The first release of pebble that offers renewal information.
NEEDED = (2, 5)


def present(cache: Path) -> Path | None:
    """Return the folder of both programs, if they are in the cache."""
    folder = cache / PACKAGE / "usr/bin"
    return folder if all((folder / name).is_file() for name in PROGRAMS) else None


def programs(cache: Path) -> Path:
    """Return the folder of both programs; they are fetched when they are not in the cache."""
    there = present(cache)
    if there:
        return there
    with _only_one(cache):
        if not present(cache):
            _fetch(cache)
    there = present(cache)
    if there is None:
        raise ScriptError(f"The package {PACKAGE} holds no {' and no '.join(PROGRAMS)}.")
    return there


def _fetch(cache: Path) -> None:
    # Beside its place first: half an unpacked package must never look like a whole one.
    with tempfile.TemporaryDirectory(prefix="pebble-", dir=cache) as name:
        folder = Path(name)
        options = [] if _recent(packages.candidate(PACKAGE)) else next_release.apt_options(folder)
        tree = packages.download(PACKAGE, folder, options)
        shutil.rmtree(cache / PACKAGE, ignore_errors=True)
        tree.replace(cache / PACKAGE)


def _recent(version: str) -> bool:
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) >= NEEDED


@contextmanager
def _only_one(cache: Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "pebble.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
