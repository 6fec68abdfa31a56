"""Packages of Debian's next release, for what this release has too old or not at all.

They are unpacked, never installed. The address of the archive is asked of apt, never written here.
"""

from __future__ import annotations

from pathlib import Path

from flatrun_scripts import packages
from flatrun_scripts.shell import ScriptError, must, run

# The release whose programs run on bookworm's libc.
NEXT_RELEASE = "trixie"
MAIN_LISTS = ("Created-By: Packages", "Component: main")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def apt_options(folder: Path) -> list[str]:
    """Return options of apt for the next release; lists and sources of their own go into `folder`."""
    (folder / "lists/partial").mkdir(parents=True)
    (folder / "cache/archives/partial").mkdir(parents=True)
    lines = ["Types: deb", f"URIs: {_archive()}", f"Suites: {NEXT_RELEASE}", "Components: main"]
    if KEYRING.is_file():
        lines.append(f"Signed-By: {KEYRING}")
    (folder / "next.sources").write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = ["-o", "Dir::Etc::sourcelist=/dev/null", "-o", f"Dir::Etc::sourceparts={folder}"]
    options += ["-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"]
    must(
        ["apt-get", *options, "-o", "APT::Sandbox::User=root", "update", "-qq"],
        what=f"The package lists of Debian {NEXT_RELEASE} could not be fetched.",
        todo="Check the machine's network and /etc/apt, then run the script again.",
        env=packages.QUIET,
    )
    return options


def _archive() -> str:
    """Ask apt for the address of the Debian archive that this machine uses."""
    release = packages.distribution().get("VERSION_CODENAME", "bookworm")
    rows = run(
        ["apt-get", "indextargets", "--format", "$(SUITE)|$(RELEASE)|$(REPO_URI)", *MAIN_LISTS],
        env=packages.QUIET,
    ).out
    found = []
    for row in rows.splitlines():
        suite, name, address = [*row.split("|"), "", ""][:3]
        if release in (suite, name):
            found.append(address)
    if not found:
        raise ScriptError(
            f"No archive with packages of Debian {NEXT_RELEASE} could be found.",
            f"This release ({release}) has no package that would do, and apt names no Debian archive.",
            "Install docker compose v2 by hand, where that is missing, then run the script again.",
        )
    # Somebody else's repository may use the release's name too.
    return next((address for address in found if "debian" in address), found[0])
