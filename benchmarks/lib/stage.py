"""A panel of the benchmark's own, and containers that look like compose's."""

import contextlib
import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker

ROOT = Path(__file__).resolve().parents[2]


class Stage:
    """Folder, panel and containers of one benchmark; leaving it removes them all."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.quick = quick
        self.root = folder / "deployments"
        self.root.mkdir()
        self.prefix = f"bench{secrets.token_hex(3)}"
        self.key = secrets.token_urlsafe(24)
        self.port = free_port()
        self.config = folder / "flatrun.yml"
        self.config.write_text(
            f"deployments_path: {self.root}\napi: {{host: 127.0.0.1, port: {self.port}}}\n"
            f"auth: {{api_keys: ['{self.key}']}}\n"
        )
        self.config.chmod(0o600)
        self.log = folder / "panel.log"
        self.engine = docker.APIClient(max_pool_size=16)
        self.image = _image()
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, text: str) -> None:
        """Add lines to the configuration, before the panel starts."""
        with self.config.open("a") as file:
            file.write(text + "\n")

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for project in sorted({path.name for path in self.root.iterdir() if not path.name.startswith(".")}):
            _remove(self.engine, project)
        self.engine.close()

    def serve(self) -> float:
        """Start the panel; seconds until the first good answer of health."""
        program = str(Path(sys.executable).parent / "flatrun")
        begun = time.perf_counter()
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [program, "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        while True:
            with contextlib.suppress(OSError):
                if self.call("GET", "/api/health")[0] == 200:
                    return time.perf_counter() - begun
            if self.process.poll() is not None or time.perf_counter() - begun > 60:
                raise RuntimeError(f"the panel did not start: {self.log.read_text()}")
            time.sleep(0.005)

    def stop(self) -> None:
        """End the panel."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process = None

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            return request(connection, self.key, method, path, body)
        finally:
            connection.close()

    def connection(self) -> http.client.HTTPConnection:
        """A kept-alive connection to the panel."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def rss(self) -> int:
        """Resident bytes of the panel."""
        assert self.process is not None
        return resident(self.process.pid)

    def folder(self, name: str, compose: str) -> Path:
        """A deployment's folder with its compose file."""
        folder = self.root / name
        folder.mkdir()
        (folder / "docker-compose.yml").write_text(compose)
        return folder

    def crowd(self, names: Sequence[str]) -> None:
        """One running container for each name, with the labels that compose gives, and the folder.

        Made through the Engine's API: `docker compose up` for two hundred projects takes minutes,
        and neither the panel nor `docker compose ls` can tell the difference.
        """
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self._one, names))

    def _one(self, name: str) -> None:
        compose = (
            f"services:\n  web:\n    image: {self.image}\n    init: true\n    network_mode: none\n"
            "    command: [sleep, '86400']\n"
        )
        folder = self.folder(name, compose)
        labels = {
            "com.docker.compose.project": name,
            "com.docker.compose.service": "web",
            "com.docker.compose.container-number": "1",
            "com.docker.compose.oneoff": "False",
            "com.docker.compose.project.config_files": str(folder / "docker-compose.yml"),
            "com.docker.compose.project.working_dir": str(folder),
            "com.docker.compose.config-hash": "0" * 64,
        }
        made = self.engine.create_container(
            self.image,
            command=["sleep", "86400"],
            name=f"{name}-web-1",
            labels=labels,
            host_config=self.engine.create_host_config(network_mode="none", init=True),
        )
        self.engine.start(made["Id"])


def request(
    connection: http.client.HTTPConnection, key: str, method: str, path: str, body: Any = None
) -> tuple[int, Any]:
    """One request on a kept connection; status and parsed body."""
    headers = {"Authorization": f"Bearer {key}"}
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    connection.request(method, path, data, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read() or b"null")


def resident(pid: int) -> int:
    """Resident bytes of a process."""
    with open(f"/proc/{pid}/statm") as numbers:
        return int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """A port nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _image() -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/e2e/images/build.py")], capture_output=True, text=True, check=True
    )
    return done.stdout.split()[-1]


def _remove(engine: docker.APIClient, project: str) -> None:
    label = {"label": f"com.docker.compose.project={project}"}
    for container in engine.containers(all=True, filters=label):
        engine.remove_container(container["Id"], force=True, v=True)
    for network in engine.networks(filters=label):
        engine.remove_network(network["Id"])
