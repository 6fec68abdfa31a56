"""The real panel: `flatrun serve` as a process of its own."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

START_SECONDS = 30
STOP_SECONDS = 30
ANSWER_SECONDS = 180


class PanelProcess:
    """A panel with a folder, a port and a key of its own.

    Attributes:
        url: its address, without a slash at the end.
        root: the deployments folder.
        key: the key that every request carries unless it brings headers of its own.
        config: its flatrun.yml.
        log_file: everything it wrote.
        created: the names of the deployments that requests through this object created.
        process: the running process, or the last one.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        settings: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.root = folder / "deployments"
        self.config = folder / "flatrun.yml"
        self.log_file = folder / "panel.log"
        self.key = secrets.token_urlsafe(24)
        self.url = f"http://127.0.0.1:{port}"
        self.created: set[str] = set()
        self.process: subprocess.Popen[bytes] | None = None
        self._env = dict(env or {})
        self._http = requests.Session()
        self._http.trust_env = False
        self._write_config(port, settings or {})

    @property
    def log(self) -> str:
        """Everything the panel wrote so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def start(self, *arguments: str, wait: bool = True) -> None:
        """Start the process and wait until it is healthy."""
        if self.alive:
            raise RuntimeError("The panel runs already.")
        argv = [str(_program()), "serve", "--config", str(self.config), *arguments]
        with self.log_file.open("ab") as output:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**_clean_environment(), **self._env},
                start_new_session=True,
            )
        if wait:
            self.wait_until_healthy()

    def wait_until_healthy(self, seconds: float = START_SECONDS) -> None:
        """Wait for the first good answer of /api/health."""
        deadline = time.monotonic() + seconds
        while not self._healthy():
            if not self.alive or time.monotonic() > deadline:
                code = self.process.poll() if self.process else None
                pytest.fail(f"The panel is not healthy (exit code {code}). It wrote:\n{self.log[-4000:]}")
            time.sleep(0.02)

    def terminate(self, seconds: float = STOP_SECONDS) -> int:
        """Send SIGTERM, wait for the end, and return the exit code."""
        return self._end(signal.SIGTERM, seconds)

    def kill9(self) -> int:
        """Send SIGKILL and return the exit code, -9."""
        return self._end(signal.SIGKILL, 5)

    def restart(self, *arguments: str) -> None:
        """End the process and start it again on the same folder, port and key."""
        self.terminate()
        self.start(*arguments)

    def get(self, path: str, **options: Any) -> requests.Response:
        """GET a path, with the key."""
        return self.request("GET", path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> requests.Response:
        """POST JSON to a path, with the key."""
        if path.rstrip("/") == "/api/deployments" and isinstance(json, dict):
            self.created.add(str(json.get("name", "")))
        return self.request("POST", path, json=json, **options)

    def put(self, path: str, json: Any = None, **options: Any) -> requests.Response:
        """PUT JSON to a path, with the key."""
        return self.request("PUT", path, json=json, **options)

    def delete(self, path: str, **options: Any) -> requests.Response:
        """DELETE a path, with the key."""
        return self.request("DELETE", path, **options)

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send any request; `headers` replaces the key, `headers={}` sends none."""
        options.setdefault("headers", {"Authorization": f"Bearer {self.key}"})
        options.setdefault("timeout", ANSWER_SECONDS)
        return self._http.request(method, self.url + path, **options)

    def close(self) -> None:
        """End the process in any case and release the connections."""
        if self.alive:
            try:
                self.terminate()
            finally:
                if self.alive:
                    self.kill9()
        self._http.close()

    def _write_config(self, port: int, settings: Mapping[str, Any]) -> None:
        content: dict[str, Any] = {
            "deployments_path": str(self.root),
            "api": {"host": "127.0.0.1", "port": port},
            "auth": {"api_keys": [self.key]},
            # Tests of the proxy bring names and ports of their own; no other may touch this machine's.
            "nginx": {"enabled": False},
        }
        for name, value in settings.items():
            if isinstance(value, Mapping) and isinstance(content.get(name), dict):
                content[name].update(value)
            else:
                content[name] = value
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        self.config.chmod(0o600)

    def _healthy(self) -> bool:
        try:
            return self._http.get(f"{self.url}/api/health", timeout=5).ok
        except requests.RequestException:
            return False

    def _end(self, number: int, seconds: float) -> int:
        if self.process is None:
            raise RuntimeError("The panel was never started.")
        if self.alive:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(
                f"The panel did not end within {seconds} s of signal {number}. It wrote:\n{self.log[-4000:]}"
            )


def _program() -> Path:
    program = Path(sys.executable).with_name("flatrun")
    if not program.exists():
        pytest.fail(
            f"There is no {program}: install the core and the plugins into this environment "
            "(pip install -e . -e plugins/deployments ...), or run scripts/test, which does it."
        )
    return program


def _clean_environment() -> dict[str, str]:
    """Return the environment without settings of a panel that the developer may have set."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith("FLATRUN_")}
    return {**keep, "PYTHONUNBUFFERED": "1"}
