"""The proxy of a panel that `scripts/up` made: its names and ports, its image, its removal.

The panel itself makes the container. Names are this project's own, because a container `nginx` and
a network `proxy` may well be somebody else's already.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flatrun_scripts import archive_image, images, layout, nginx_image
from flatrun_scripts.panel import Proxy, next_free_port, port_free
from flatrun_scripts.shell import ScriptError, must, run, say, step

DEFAULT_NAME = "flatrun-proxy"
HERE = "127.0.0.1"
# The ports of the web, and those that stand for them where they are taken.
HTTP, OTHER_HTTP = 80, 8080
HTTPS, OTHER_HTTPS = 443, 8443
FOLDER_LABEL = "com.docker.compose.project.working_dir"


@dataclass(frozen=True)
class Wish:
    """What the person asked for; None where they left it open."""

    name: str | None
    http_port: int | None
    https_port: int | None


def check_name(name: str | None) -> None:
    """Stop the script when the Engine has something of the name that the proxy would get."""
    name = name or DEFAULT_NAME
    for kind in ("container", "network"):
        if run(["docker", kind, "inspect", name]).code == 0:
            raise ScriptError(
                f"The Docker Engine has a {kind} called {name} already.",
                "The proxy of the panel would get this name.",
                "Give it another one with --proxy-name, or remove what is there.",
            )


def choose(wish: Wish, image: str) -> Proxy:
    """Choose names and ports for new settings."""
    name = wish.name or DEFAULT_NAME
    http = wish.http_port or _free(HTTP, OTHER_HTTP)
    https = wish.https_port or _free(HTTPS, OTHER_HTTPS)
    return Proxy(name, name, image, http, https)


def make_image(state: layout.State, cache: Path, wanted: str) -> str:
    """Make the image unless `wanted`, that of the settings, is there; empty where none can be made.

    The panel's default is pulled from a registry then.
    """
    if wanted and (not wanted.startswith(f"{nginx_image.NAME}:") or images.present(wanted)):
        return wanted
    if not archive_image.possible():
        return ""
    made = nginx_image.build(cache)
    if wanted and made != wanted:
        # The archive has newer packages than when the settings were written.
        must(["docker", "tag", made, wanted], what=f"The image {wanted} could not be named.")
    for reference in {made, wanted or made} - {*state.images}:
        state.images.append(reference)
        state.save()
    return wanted or made


def remember(state: layout.State, proxy: Proxy) -> None:
    """Note what has to be removed one day."""
    state.proxy = {"container": proxy.container, "network": proxy.network}
    state.save()


def start_again(proxy: Proxy) -> None:
    """Start the container if somebody stopped it; the panel leaves a stopped one alone."""
    state = run(["docker", "container", "inspect", "-f", "{{.State.Status}}", proxy.container])
    if state.out.strip() in {"exited", "created"}:
        step("Starting the proxy")
        must(
            ["docker", "start", proxy.container],
            what="The proxy could not be started.",
            todo=f"Repair what Docker names, or remove the container {proxy.container}: the panel makes it.",
        )


def remove(state: layout.State, folder: Path) -> None:
    """Remove the container that the panel made in `folder`, and the network."""
    if not state.proxy:
        return
    container, network = state.proxy["container"], state.proxy["network"]
    label = run(
        ["docker", "container", "inspect", "-f", f'{{{{index .Config.Labels "{FOLDER_LABEL}"}}}}', container]
    )
    if label.code == 0 and Path(label.out.strip()) == folder:
        step("Removing the proxy")
        must(["docker", "rm", "-f", "-v", container], what="The proxy could not be removed.")
    if run(["docker", "network", "inspect", network]).code == 0:
        result = run(["docker", "network", "rm", network])
        if result.code != 0:
            say(f"The network {network} stays: {result.text}")
            return
    state.proxy = {}
    state.save()


def belongings(folder: Path) -> list[str]:
    """Return what is in the proxy's folder and may be worth keeping: certificates and files by hand."""
    found = [*folder.glob("certs/live/*/"), *folder.glob("ssl/*")]
    return sorted(str(path.relative_to(folder.parent)) for path in found)


def _free(first: int, other: int) -> int:
    return first if port_free(first, HERE) else next_free_port(other, HERE)
