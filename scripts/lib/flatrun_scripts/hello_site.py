"""The bundled site: its image, its creation through the API, its removal."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flatrun_scripts import images, layout
from flatrun_scripts.panel import Client, next_free_port
from flatrun_scripts.shell import ScriptError, run, say, step

NAME = "hello"
FOLDER = layout.REPOSITORY / "examples/hello_site"
IMAGE_NAME = "flatrun/hello"
PLACEHOLDER = f"{IMAGE_NAME}:local"
DEFAULT_PORT = 8080
ANSWER_SECONDS = 60
ATTEMPTS = 5


def image() -> images.Image:
    """Describe the site's image: busybox, the page, and a web server as its command."""
    pages = FOLDER / "www"
    files = {
        f"www/{path.relative_to(pages)}": path.read_bytes()
        for path in sorted(pages.rglob("*"))
        if path.is_file()
    }
    return images.Image(
        IMAGE_NAME,
        files=files,
        changes=('CMD ["httpd","-f","-p","80","-h","/www"]', "EXPOSE 80"),
    )


def compose_text(reference: str) -> str:
    """Return the bundled compose file with the image that is on this machine."""
    text = (FOLDER / "docker-compose.yml").read_text(encoding="utf-8")
    return text.replace(PLACEHOLDER, reference)


def ensure(client: Client, state: layout.State, reference: str, wanted: int | None) -> int:
    """Create and start the site, or find it there, and return its port."""
    _check_plugins(client)
    status, body = client.ask("GET", f"/api/deployments/{NAME}")
    if status == HTTPStatus.OK:
        return _existing(client, state, wanted)
    if status != HTTPStatus.NOT_FOUND:
        raise _refused("The panel could not be asked for the site", status, body)
    return _create(client, state, reference, wanted or DEFAULT_PORT)


def wait_until_it_answers(port: int) -> str:
    """Wait for the site over HTTP and return its address."""
    address = f"http://127.0.0.1:{port}/"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + ANSWER_SECONDS
    problem = ""
    while time.monotonic() < deadline:
        try:
            with opener.open(address, timeout=5) as answer:
                answer.read()
                return address
        except urllib.error.HTTPError as error:
            problem = f"It answered {error.code}."
        except OSError as error:
            problem = str(error)
        time.sleep(0.2)
    logs = run(["docker", "compose", "-p", NAME, "logs", "--tail", "15"]).text
    raise ScriptError(
        f"The site does not answer at {address} within {ANSWER_SECONDS} s.",
        f"{problem}\n{logs}",
        "Look at the containers with 'docker ps -a'. The site stays as it is.",
    )


def remove_by_api(client: Client) -> bool:
    """Remove the site through the API and tell whether the panel did it."""
    path = f"/api/deployments/{NAME}?remove_files=true&remove_volumes=true"
    status, body = client.ask("DELETE", path, timeout=300)
    if status not in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}:
        say(f"The panel could not remove the site: {body.get('error', status)}")
    return status in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}


def remove_by_hand(folder: Path) -> None:
    """Remove the site's containers and networks without the panel; the files are the caller's."""
    result = run(["docker", "compose", "-p", NAME, "down", "--remove-orphans", "--volumes"])
    if result.code != 0:
        raise ScriptError(
            "The hello site's containers could not be removed.",
            result.text,
            f"Remove them with 'docker compose -p {NAME} down'; the files are in {folder}.",
        )


def _check_plugins(client: Client) -> None:
    """Say which plugins did not start, and stop when it is the one that runs sites."""
    status, body = client.ask("GET", "/api/plugins")
    if status != HTTPStatus.OK:
        raise _refused("The panel could not be asked for its plugins", status, body)
    reasons = {item["name"]: item.get("reason", "") for item in body["plugins"] if item["status"] != "active"}
    for name, reason in reasons.items():
        say(f"The plugin {name} is not active: {reason}")
    if "deployments" in reasons or not any(item["name"] == "deployments" for item in body["plugins"]):
        raise ScriptError(
            "The site cannot be created: the plugin deployments is not active.",
            reasons.get("deployments", "It is not installed."),
            "Repair that, then run the script again. The panel itself is running.",
        )


def _existing(client: Client, state: layout.State, wanted: int | None) -> int:
    port = int(state.site.get("port", 0))
    if not port:
        raise ScriptError(
            f"A deployment called {NAME} is there already, and scripts/up did not make it.",
            "It stays untouched.",
            "Remove or rename it, then run the script again. The panel itself is running.",
        )
    if wanted and wanted != port:
        say(f"The site is there already, on port {port}; --site-port {wanted} changes nothing.")
    status, body = client.ask("POST", f"/api/deployments/{NAME}/start", {}, timeout=620)
    if status != HTTPStatus.OK:
        raise _refused("The site could not be started", status, body)
    return port


def _create(client: Client, state: layout.State, reference: str, first: int) -> int:
    step("Creating and starting the site")
    port = first
    for _ in range(ATTEMPTS):
        free = next_free_port(port)
        if free != port:
            say(f"Port {port} is taken, so the site gets port {free}.")
        port = free
        # Before the request: a site that this script is killed over still counts as its own.
        state.site = {"name": NAME, "port": port}
        state.save()
        status, body = client.ask("POST", "/api/deployments", _new(reference, port), timeout=620)
        if status != HTTPStatus.CONFLICT or body.get("code") != "PORT_IN_USE":
            break
        say(f"The panel says: {body.get('error')}")
        port += 1
    if status != HTTPStatus.CREATED:
        state.site = {}
        state.save()
        raise _refused("The site could not be created", status, body)
    if body.get("start_error"):
        raise ScriptError(
            "The site was created, but it did not start.",
            str(body["start_error"]),
            "Repair what Docker names, then run the script again.",
        )
    return port


def _new(reference: str, port: int) -> dict[str, Any]:
    return {"name": NAME, "compose": compose_text(reference), "port": port, "auto_start": True}


def _refused(what: str, status: int, body: dict[str, Any]) -> ScriptError:
    code = f" ({body['code']})" if "code" in body else ""
    answer = f"The panel answered {status}: " if status else ""
    more = f"\n{body['output']}" if body.get("output") else ""
    return ScriptError(
        f"{what}.",
        f"{answer}{body.get('error', '')}{code}{more}",
        "Look at the panel's log for more, then run the script again.",
    )
