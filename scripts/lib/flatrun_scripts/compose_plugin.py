"""The `docker compose` command, version 2.

Ubuntu and Debian from trixie on have it in their archive. Bookworm has only the dead version 1, so
the plugin of trixie's package, one static program, is unpacked beside it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from flatrun_scripts import next_release, packages
from flatrun_scripts.shell import ScriptError, as_root, must, run

PLUGIN_FOLDER = Path("/usr/local/lib/docker/cli-plugins")
ARCHIVE_NAMES = ("docker-compose-v2", "docker-compose-plugin")


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
        tree = packages.download("docker-compose", folder, next_release.apt_options(folder))
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


def remove(path: Path) -> None:
    """Remove the plugin that `unpack_from_next_release` installed."""
    if path.is_file() and path.parent == PLUGIN_FOLDER:
        must(as_root(["rm", "-f", path]), what=f"{path} could not be removed.")
