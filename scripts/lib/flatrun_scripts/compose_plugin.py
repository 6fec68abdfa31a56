"""The `docker compose` command, version 2.

Ubuntu and Debian from trixie on have it in their archive. Bookworm has only the dead version 1, so
the plugin of trixie's package, one static program, is unpacked beside it. The address of the
archive is asked of apt, never written here.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from flatrun_scripts import packages
from flatrun_scripts.shell import ScriptError, as_root, must, run

PLUGIN_FOLDER = Path("/usr/local/lib/docker/cli-plugins")
ARCHIVE_NAMES = ("docker-compose-v2", "docker-compose-plugin")
# The release whose package runs on bookworm's libc.
NEXT_RELEASE = "trixie"
MAIN_LISTS = ("Created-By: Packages", "Component: main")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def present() -> bool:
    """Tell whether `docker compose` answers with version 2."""
    result = run(["docker", "compose", "version", "--short"])
    return result.code == 0 and result.out.strip().lstrip("v").startswith(("2.", "3.", "4.", "5."))


def archive_package() -> str:
    """Return the archive's own package of the plugin, empty when it has none."""
    for name in ARCHIVE_NAMES:
        if packages.candidate(name):
            return name
    version = packages.candidate("docker-compose")
    major = version.split(":")[-1].split(".")[0]
    return "docker-compose" if major.isdigit() and int(major) > 1 else ""


def unpack_from_next_release() -> Path:
    """Install the plugin out of the next release's package and return the file."""
    with tempfile.TemporaryDirectory(prefix="flatrun-apt-") as name:
        folder = Path(name)
        tree = packages.download("docker-compose", folder, _apt_options(folder))
        plugin = tree / "usr/libexec/docker/cli-plugins/docker-compose"
        if not plugin.is_file():
            raise ScriptError(
                "The package docker-compose does not hold the plugin where it was expected.",
                f"{plugin.relative_to(tree)} is not in it.",
                f"Install docker compose v2 by hand into {PLUGIN_FOLDER}.",
            )
        target = PLUGIN_FOLDER / "docker-compose"
        must(
            as_root(["install", "-D", "-m", "0755", plugin, target]),
            what=f"The compose plugin could not be written to {target}.",
        )
    return target


def _apt_options(folder: Path) -> list[str]:
    """Prepare lists and sources of their own, so that the system's apt stays as it is."""
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
        todo=f"Install docker compose v2 by hand into {PLUGIN_FOLDER}, then run the script again.",
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
            "docker compose v2 is missing and could not be found.",
            f"This release ({release}) has no package of it, and apt names no Debian archive.",
            f"Install docker compose v2 by hand into {PLUGIN_FOLDER}, then run the script again.",
        )
    # Somebody else's repository may use the release's name too.
    return next((address for address in found if "debian" in address), found[0])


def remove(path: Path) -> None:
    """Remove the plugin that `unpack_from_next_release` installed."""
    if path.is_file() and path.parent == PLUGIN_FOLDER:
        must(as_root(["rm", "-f", path]), what=f"{path} could not be removed.")
