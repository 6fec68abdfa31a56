"""The bundled site: its image, its creation through the API, its removal."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flatrun_scripts import images, layout
from flatrun_scripts.panel import Client, Proxy
from flatrun_scripts.shell import ScriptError, run, say, step

DEFAULT_NAME = "hello"
FOLDER_LABEL = "com.docker.compose.project.working_dir"
FOLDER = layout.REPOSITORY / "examples/hello_site"
IMAGE_NAME = "flatrun/hello"
PLACEHOLDER = f"{IMAGE_NAME}:local"
NEEDED_PLUGINS = ("deployments", "domains", "nginx")
# Names below this one are this very machine: browsers and curl ask nobody for them.
HERE = "localhost"
PORT = 80
WEB_PORT = 80
ANSWER_SECONDS = 60


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
        changes=('CMD ["httpd","-f","-v","-p","80","-h","/www"]', "EXPOSE 80"),
    )


def compose_text(reference: str) -> str:
    """Return the bundled compose file with the image that is on this machine."""
    text = (FOLDER / "docker-compose.yml").read_text(encoding="utf-8")
    return text.replace(PLACEHOLDER, reference)


def ensure(client: Client, state: layout.State, reference: str, wish: str | None) -> None:
    """Create and start the site and give it its domain, or find it there; `state.site` names it."""
    _check_plugins(client)
    name = str(state.site.get("name") or wish or DEFAULT_NAME)
    status, body = client.ask("GET", f"/api/deployments/{name}")
    if status == HTTPStatus.OK:
        _start_existing(client, state, name, wish)
    elif status == HTTPStatus.NOT_FOUND:
        _check_engine(name, client.root)
        _create(client, state, reference, name)
    else:
        raise _refused("The panel could not be asked for the site", status, body)
    _ensure_domain(client, state)


def wait_until_it_answers(site: Mapping[str, Any], proxy: Proxy) -> str:
    """Wait for the site through the proxy and return its address."""
    port = "" if proxy.http_port == WEB_PORT else f":{proxy.http_port}"
    address = f"http://{site['host']}{port}/"
    # Python does not know what browsers know of localhost.
    request = urllib.request.Request(
        f"http://127.0.0.1:{proxy.http_port}/", headers={"Host": str(site["host"])}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + ANSWER_SECONDS
    problem = ""
    while time.monotonic() < deadline:
        try:
            with opener.open(request, timeout=5) as answer:
                answer.read()
                return address
        except urllib.error.HTTPError as error:
            problem = f"It answered {error.code}."
        except OSError as error:
            problem = str(error)
        time.sleep(0.2)
    logs = [
        run(["docker", "compose", "-p", site["name"], "logs", "--tail", "15"]).text,
        run(["docker", "logs", "--tail", "15", proxy.container]).text,
    ]
    raise ScriptError(
        f"The site does not answer at {address} within {ANSWER_SECONDS} s.",
        "\n".join([problem, *logs]),
        "Look at the containers with 'docker ps -a'. The site stays as it is.",
    )


def remove_by_api(client: Client, name: str) -> bool:
    """Remove the site through the API and tell whether the panel did it."""
    path = f"/api/deployments/{name}?remove_files=true&remove_volumes=true"
    status, body = client.ask("DELETE", path, timeout=300)
    if status not in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}:
        say(f"The panel could not remove the site: {body.get('error', status)}")
    return status in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}


def remove_by_hand(name: str, folder: Path) -> None:
    """Remove the site's containers and networks without the panel; the files are the caller's."""
    result = run(["docker", "compose", "-p", name, "down", "--remove-orphans", "--volumes"])
    if result.code != 0:
        raise ScriptError(
            "The site's containers could not be removed.",
            result.text,
            f"Remove them with 'docker compose -p {name} down'; the files are in {folder}.",
        )


def _check_plugins(client: Client) -> None:
    """Say which plugins did not start, and stop when it is one that the site needs."""
    status, body = client.ask("GET", "/api/plugins")
    if status != HTTPStatus.OK:
        raise _refused("The panel could not be asked for its plugins", status, body)
    reasons = {item["name"]: item.get("reason", "") for item in body["plugins"] if item["status"] != "active"}
    for name, reason in reasons.items():
        say(f"The plugin {name} is not active: {reason}")
    active = {item["name"] for item in body["plugins"]} - set(reasons)
    for needed in NEEDED_PLUGINS:
        if needed not in active:
            raise ScriptError(
                f"The site cannot be created: the plugin {needed} is not active.",
                reasons.get(needed, "It is not installed."),
                "Repair that, then run the script again. The panel itself is running.",
            )


def _check_engine(name: str, root: Path) -> None:
    """Stop when the name is that of somebody else's compose project: its containers would be replaced."""
    label = f"label=com.docker.compose.project={name}"
    found = run(["docker", "ps", "-a", "--filter", label, "--format", f'{{{{.Label "{FOLDER_LABEL}"}}}}'])
    others = {line for line in found.out.split("\n") if line and Path(line) != root / name}
    if others:
        raise ScriptError(
            f"The Docker Engine has a compose project called {name} already.",
            f"It belongs to {', '.join(sorted(others))}.",
            "Give the site another name with --site-name. The panel itself is running.",
        )


def _start_existing(client: Client, state: layout.State, name: str, wish: str | None) -> None:
    if not state.site:
        raise ScriptError(
            f"A deployment called {name} is there already, and scripts/up did not make it.",
            "It stays untouched.",
            "Give the site another name with --site-name. The panel itself is running.",
        )
    if wish not in {None, name}:
        say(f"The site is there already, as {name}; it stays like that.")
    status, body = client.ask("POST", f"/api/deployments/{name}/start", {}, timeout=620)
    if status != HTTPStatus.OK:
        raise _refused("The site could not be started", status, body)


def _create(client: Client, state: layout.State, reference: str, name: str) -> None:
    step("Creating and starting the site")
    # Before the request: a site that this script is killed over still counts as its own.
    state.site = {"name": name, "host": f"{name}.{HERE}"}
    state.save()
    new = {"name": name, "compose": compose_text(reference), "auto_start": True}
    status, body = client.ask("POST", "/api/deployments", new, timeout=620)
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


def _ensure_domain(client: Client, state: layout.State) -> None:
    """Give the site its domain, unless it has one of that name."""
    name = state.site["name"]
    host = state.site.setdefault("host", f"{name}.{HERE}")
    path = f"/api/deployments/{name}/domains"
    status, body = client.ask("GET", path)
    if status == HTTPStatus.OK and any(entry["domain"] == host for entry in body["domains"]):
        return
    step(f"Giving the site the domain {host}")
    status, body = client.ask("POST", path, {"domain": host, "port": PORT}, timeout=300)
    if status != HTTPStatus.CREATED:
        raise _refused("The site did not get its domain", status, body)
    state.save()
    result = body.get("proxy_result") or {}
    if not result.get("nginx_reloaded"):
        say(f"The panel says of the proxy: {result.get('message', 'nothing')}")


def _refused(what: str, status: int, body: dict[str, Any]) -> ScriptError:
    code = f" ({body['code']})" if "code" in body else ""
    answer = f"The panel answered {status}: " if status else ""
    more = f"\n{body['output']}" if body.get("output") else ""
    return ScriptError(
        f"{what}.",
        f"{answer}{body.get('error', '')}{code}{more}",
        "Look at the panel's log for more, then run the script again.",
    )
