"""The panel as a process: its settings file, its start and stop, its API."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flatrun_scripts import processes
from flatrun_scripts.shell import ScriptError, run, say, step, tail

START_SECONDS = 60
STOP_SECONDS = 40
DEFAULT_PORT = 8090
ANY_ADDRESS = "0.0.0.0"
EVERYWHERE = {ANY_ADDRESS, "::", ""}
# Read by the environment's own YAML parser: a person may have edited the file since.
READER = """
import json, sys
from ruamel.yaml import YAML
try:
    with open(sys.argv[1], encoding="utf-8") as stream:
        data = YAML(typ="safe").load(stream) or {}
    api, auth, nginx = (data.get(name) or {} for name in ("api", "auth", "nginx"))
    networks = data.get("infrastructure") or {}
    print(json.dumps({"host": str(api.get("host", "0.0.0.0")), "port": int(api.get("port", 8090)),
                      "key": str((auth.get("api_keys") or [""])[0]),
                      "root": str(data.get("deployments_path", "")),
                      "container": str(nginx.get("container_name", "nginx")),
                      "image": str(nginx.get("image", "")), "http": int(nginx.get("http_port", 80)),
                      "https": int(nginx.get("https_port", 443)),
                      "network": str(networks.get("default_proxy_network", "proxy"))}))
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@dataclass(frozen=True)
class Proxy:
    """What flatrun.yml says of the proxy; an empty image is the panel's default."""

    container: str
    network: str
    image: str
    http_port: int
    https_port: int


@dataclass(frozen=True)
class Settings:
    """What the scripts need to know of flatrun.yml."""

    host: str
    port: int
    key: str
    root: Path
    proxy: Proxy

    @property
    def url(self) -> str:
        """The address under which this machine reaches the panel."""
        host = "127.0.0.1" if self.host in EVERYWHERE else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


def write_settings(path: Path, port: int, proxy: Proxy) -> None:
    """Write a first flatrun.yml with a key of its own, readable by its owner only."""
    text = (
        "# Settings of the panel, made by scripts/up. Edit them at will: scripts/up keeps them,\n"
        "# and so does the panel, comments included.\n"
        f"deployments_path: {json.dumps(str(path.parent / 'deployments'))}\n"
        "api:\n  host: 127.0.0.1\n"
        f"  port: {port}\n"
        "auth:\n  api_keys:\n"
        f"    - {json.dumps(secrets.token_urlsafe(32))}\n"
        f"nginx:\n  container_name: {proxy.container}\n"
        f"{f'  image: {proxy.image}{chr(10)}' if proxy.image else ''}"
        "  # This machine alone. Sites for everybody want '' here, and the ports 80 and 443.\n"
        "  bind_address: 127.0.0.1\n"
        f"  http_port: {proxy.http_port}\n  https_port: {proxy.https_port}\n"
        f"infrastructure:\n  default_proxy_network: {proxy.network}\n"
    )
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    draft.replace(path)


def read_settings(path: Path, venv: Path) -> Settings:
    """Read flatrun.yml as it is now."""
    result = run([venv / "bin/python", "-c", READER, path])
    if result.code != 0:
        raise ScriptError(
            f"{path} cannot be read.",
            tail(result.text),
            "Repair it ('flatrun config --check --config FILE' names every problem), or move it away.",
        )
    data = json.loads(result.out)
    if not data["key"]:
        raise ScriptError(
            f"{path} names no key under auth.api_keys.",
            "scripts/up and scripts/down talk to the panel with the first of them.",
            "Add one, restart the panel with scripts/up.",
        )
    root = Path(data["root"] or "/var/flatrun/deployments")
    proxy = Proxy(data["container"], data["network"], data["image"], data["http"], data["https"])
    return Settings(data["host"], data["port"], data["key"], root, proxy)


class Client:
    """The REST API of a running panel."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # A proxy of the environment has no business with this machine's own panel.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @property
    def root(self) -> Path:
        """The panel's deployments folder."""
        return self._settings.root

    def ask(
        self, method: str, path: str, body: Any = None, timeout: float = 30
    ) -> tuple[int, dict[str, Any]]:
        """Send one request and return status and JSON body; no answer at all is status 0."""
        headers = {"Authorization": f"Bearer {self._settings.key}"}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        request = urllib.request.Request(self._settings.url + path, data=data, headers=headers, method=method)
        try:
            with self._opener.open(request, timeout=timeout) as answer:
                return answer.status, _json(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _json(error.read())
        except (OSError, http.client.HTTPException) as error:
            return 0, {"error": f"{self._settings.url} does not answer: {error}"}

    def healthy(self) -> bool:
        """Tell whether a panel answers, whatever its key."""
        status, body = self.ask("GET", "/api/health", timeout=5)
        return status == HTTPStatus.OK and body.get("status") == "ok"


@dataclass(frozen=True)
class Panel:
    """The panel of one state folder."""

    folder: Path
    venv: Path

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.folder / "flatrun.yml"

    @property
    def log(self) -> Path:
        """The file with everything the panel wrote."""
        return self.folder / "panel.log"

    @property
    def pid_file(self) -> Path:
        """The file that names the panel's process."""
        return self.folder / "panel.pid.json"

    def process(self) -> processes.Background | None:
        """Return the panel's process while it runs."""
        return processes.Background.read(self.pid_file)

    @property
    def program(self) -> Path:
        """The command `flatrun`."""
        return self.venv / "bin/flatrun"

    def start(self, settings: Settings, env: Mapping[str, str] | None = None) -> None:
        """Start the panel and wait until it answers; an answering one stays as it is."""
        process = self.process()
        if process is None:
            if not port_free(settings.port, settings.host):
                raise ScriptError(
                    f"The panel's port {settings.port} is taken by another program.",
                    f"{self.config} says api.port: {settings.port}.",
                    "Stop that program, or write another port there, then run the script again.",
                )
            step("Starting the panel")
            argv: list[str | Path] = [self.program, "serve", "--config", self.config]
            process = processes.start(argv, self.log, env={**(env or {}), "PYTHONUNBUFFERED": "1"})
            process.write(self.pid_file)
        self._wait_until_healthy(process, Client(settings))

    def stop(self) -> None:
        """Stop the panel if it runs."""
        process = self.process()
        if process:
            step("Stopping the panel")
            if not process.stop(STOP_SECONDS):
                say(f"The panel did not end within {STOP_SECONDS} s, so it was killed.")
                process.kill()
        self.pid_file.unlink(missing_ok=True)

    def _wait_until_healthy(self, process: processes.Background, client: Client) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not client.healthy():
            ended = not process.alive
            if ended or time.monotonic() > deadline:
                reason = "It ended." if ended else f"No answer within {START_SECONDS} s."
                raise ScriptError(
                    "The panel did not start.",
                    f"{reason}\n{processes.log_tail(self.log)}",
                    f"Its whole output is in {self.log}. Nothing of yours was removed.",
                )
            time.sleep(0.1)


def port_free(port: int, host: str = ANY_ADDRESS) -> bool:
    """Tell whether a server could listen on a port now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: connections of an earlier one that are still closing are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def next_free_port(port: int, host: str = ANY_ADDRESS) -> int:
    """Return the first free port from `port` on, any free one when a hundred are taken."""
    for number in range(port, min(port + 100, 65536)):
        if port_free(number, host):
            return number
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data or b"{}")
    except ValueError:
        return {"error": data.decode(errors="replace")[:500]}
    return value if isinstance(value, dict) else {"items": value}
