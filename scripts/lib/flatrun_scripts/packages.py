"""Packages of the distribution's own archive."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from flatrun_scripts.shell import ScriptError, as_root, must, run, tail

INSTALL = ("install", "-y", "--no-install-recommends")
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
# Somebody else's apt-get (unattended upgrades on a fresh server) is waited for, not fought.
LISTS_WAIT_SECONDS = 300
LOCK_WAIT = ("-o", "DPkg::Lock::Timeout=300")


def distribution() -> dict[str, str]:
    """Return the fields of /etc/os-release, `{}` where there is none."""
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return {}
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key: value.strip().strip('"') for key, value in pairs}


def check_distribution() -> None:
    """Stop where packages cannot be installed by this script."""
    if shutil.which("apt-get") is None:
        name = distribution().get("PRETTY_NAME", "this system")
        raise ScriptError(
            f"Nothing can be installed on {name}.",
            "The scripts install with apt-get, which is not here.",
            "Install the Docker Engine and docker compose v2 by hand, then run this script again.",
        )


def candidate(package: str) -> str:
    """Return the version that apt would install, empty when it knows none."""
    text = run(["apt-cache", "policy", package], env=QUIET).out
    found = re.search(r"^\s*Candidate:\s*(\S+)", text, re.MULTILINE)
    version = found.group(1) if found else "(none)"
    return "" if version == "(none)" else version


def installed(package: str) -> bool:
    """Tell whether a package is installed now."""
    result = run(["dpkg-query", "-W", "-f", "${db:Status-Status}", package], env=QUIET)
    return result.code == 0 and result.out.strip() == "installed"


def refresh() -> None:
    """Fetch the archive's package lists."""
    command = as_root(["env", *_environment(), "apt-get", *LOCK_WAIT, "update", "-qq"])
    until = time.monotonic() + LISTS_WAIT_SECONDS
    result = run(command)
    # The option is not for the lock of the lists.
    while "Could not get lock" in result.text and time.monotonic() < until:
        time.sleep(1)
        result = run(command)
    if result.code != 0:
        raise ScriptError(
            "The package lists could not be fetched.",
            f"{' '.join(command)}\n{tail(result.text)}",
            "Check the machine's network and /etc/apt, then run the script again.",
        )


def install(names: Sequence[str]) -> list[str]:
    """Install packages and return every package that came in with them."""
    before = _all_installed()
    must(
        as_root(
            ["env", *_environment(), "apt-get", *LOCK_WAIT, *INSTALL, *names],
        ),
        what=f"The packages could not be installed: {' '.join(names)}.",
        todo="Repair what apt-get names, then run the script again.",
    )
    return sorted(_all_installed() - before)


def remove(names: Sequence[str]) -> None:
    """Remove packages, unless others that came later need them."""
    simulated = must(
        ["apt-get", "-s", "remove", *names],
        what=f"The packages could not be removed: {' '.join(names)}.",
        env=QUIET,
    )
    going = set(re.findall(r"^Remv (\S+)", simulated.out, re.MULTILINE))
    more = sorted(going - set(names))
    if more:
        raise ScriptError(
            "The packages were not removed.",
            f"Other packages need them by now: {' '.join(more)}.",
            "Remove with apt-get what you can do without.",
        )
    must(
        as_root(["env", *_environment(), "apt-get", *LOCK_WAIT, "remove", "-y", *names]),
        what=f"The packages could not be removed: {' '.join(names)}.",
        todo="Repair what apt-get names, then run the script again.",
    )


def download(package: str, target: Path, options: Sequence[str] = ()) -> Path:
    """Unpack a package under `target` without installing it."""
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob(f"{package}_*.deb"):
        old.unlink()
    sandbox = ["-o", f"APT::Sandbox::User={'root' if os.geteuid() == 0 else ''}"]
    must(
        ["apt-get", *options, *sandbox, "download", package],
        what=f"The package {package} could not be downloaded.",
        todo="Check the machine's network and /etc/apt, then run the script again.",
        env=QUIET,
        cwd=target,
    )
    debs = sorted(target.glob(f"{package}_*.deb"))
    if not debs:
        raise ScriptError(f"The package {package} was downloaded, but no file of it was left.")
    tree = target / package
    must(["dpkg-deb", "-x", debs[-1], tree], what=f"The package {package} could not be unpacked.")
    debs[-1].unlink()
    return tree


def _environment() -> list[str]:
    # Through env, because sudo drops most variables.
    return [f"{key}={value}" for key, value in QUIET.items()]


def _all_installed() -> set[str]:
    text = run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"], env=QUIET).out
    rows = (line.split(" ", 1) for line in text.splitlines() if " " in line)
    return {name for name, status in rows if status.strip() == "installed"}
