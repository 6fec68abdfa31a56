"""What the machine lacks, why it is needed, and how it gets there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flatrun_scripts import compose_plugin, engine, images, packages
from flatrun_scripts.layout import State
from flatrun_scripts.shell import ScriptError, run, say, step

TEST_PROGRAMS = (
    ("curl", "curl", "tests go the way of the README with it"),
    ("ip", "iproute2", "tests give a second Engine a network of its own"),
    ("mount", "mount", "tests fill a small file system"),
    ("ps", "procps", "tests look for processes that stayed"),
)


@dataclass(frozen=True)
class Missing:
    """One thing that is not there.

    Args:
        name: what it is, as shown.
        why: what it is needed for.
        wanted: the packages that bring it, asked after the archive's lists are fresh.
    """

    name: str
    why: str
    wanted: Callable[[], list[str]]


def survey(cache: Path, *, for_tests: bool = False) -> list[Missing]:
    """Look for everything the scripts need."""
    found = []
    if not _can_make_environments():
        found.append(Missing("python venv", "the panel gets a virtual environment of its own", _venv))
    if not _engine_there():
        found.append(Missing("docker.io", "the Docker Engine runs the sites", _engine))
    if not compose_plugin.present():
        found.append(Missing("docker compose v2", "it reads the compose files", _compose))
    if not images.busybox_there(cache):
        reason = "images are made from it on this machine (unpacked, not installed)"
        found.append(Missing("busybox-static", reason, list))
    return found + (_for_tests() if for_tests else [])


def _for_tests() -> list[Missing]:
    """Look for what only the tests need."""
    found = [
        Missing(package, why, lambda package=package: [package])  # type: ignore[misc]
        for program, package, why in TEST_PROGRAMS
        if not engine.find(program)
    ]
    if not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        reason = "the panel's database may be a PostgreSQL, and tests start one"
        found.append(Missing("postgresql", reason, lambda: ["postgresql"]))
    return found


def obtain(missing: list[Missing], state: State, cache: Path, *, agreed: bool) -> None:
    """Install what is missing, after asking."""
    if not missing:
        return
    say("Missing on this machine:")
    for item in missing:
        say(f"  {item.name:<18} {item.why}")
    packages.check_distribution()
    if not agreed:
        _ask()
    step("Fetching the package lists")
    packages.refresh()
    names = [name for item in missing for name in item.wanted()]
    if names:
        step(f"Installing {' '.join(names)}")
        new = packages.install(names)
        state.packages = sorted({*state.packages, *new})
        state.save()
    if not compose_plugin.present():
        step("Unpacking docker compose v2 (this release has no package of it)")
        state.compose_plugin = str(compose_plugin.unpack_from_next_release())
        state.save()
    images.static_busybox(cache)
    _check_again(cache)


def _ask() -> None:
    if not sys.stdin.isatty():
        raise ScriptError(
            "Nothing was installed.",
            "There is no terminal to ask on.",
            "Run the script again with --yes to agree, or install the above by hand.",
        )
    sys.stdout.write("Install this now? [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise ScriptError("Nothing was installed.", "You did not agree.", "Run the script again at will.")


def _check_again(cache: Path) -> None:
    left = [item.name for item in survey(cache)]
    if left:
        raise ScriptError(
            f"Still missing after the installation: {', '.join(left)}.",
            "The packages went in without an error, but the programs do not answer.",
            "Look at 'docker version', 'docker compose version' and 'python3 -m venv --help'.",
        )


def _can_make_environments() -> bool:
    return run([sys.executable, "-c", "import ensurepip, venv"]).code == 0


def _engine_there() -> bool:
    if engine.remote():
        return engine.client_present()
    return engine.program_present() or (engine.client_present() and engine.running())


def _venv() -> list[str]:
    exact = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    return [exact if packages.candidate(exact) else "python3-venv"]


def _engine() -> list[str]:
    # Newer releases have the client in a package of its own, which the Engine only recommends.
    more = [name for name in ("docker-cli",) if packages.candidate(name)]
    return ["docker.io", "iptables", "ca-certificates", *more]


def _compose() -> list[str]:
    name = compose_plugin.archive_package()
    # Newer versions of compose build images through buildx only.
    more = ["docker-buildx"] if name and packages.candidate("docker-buildx") else []
    return [name, *more] if name else []
