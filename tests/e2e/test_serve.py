"""`flatrun serve` as a process: its start, its end, and what it does when it cannot."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from flatrun_core.ports.proxy import PANEL_SOCKET_FOLDER, PANEL_SOCKET_NAME

KEY = "a-key-of-some-length-0123"
MAX_STREAMS = 4
CLI = "from flatrun_core.cli import main; main(prog_name='flatrun')"

# A plugin that streams until its client goes, and one request that takes its time.
PLUGIN = """
    import sys, time
    from types import ModuleType
    from flask.views import MethodView
    from flatrun_core import Blueprint, PluginInfo, ServerEvent, access, authenticated, event_stream, hookimpl
    from flatrun_core.testing.fakes import FakeProxy

    PLUGIN = PluginInfo(slug="ticker", hook_api=1)
    blp = Blueprint("ticker", __name__, url_prefix="/api/ticker", description="Ticks")

    def ticks():
        number = 0
        while True:
            number += 1
            yield ServerEvent("tick", {"number": number}) if number < 4 else None
            time.sleep(0.1)

    @blp.route("/stream")
    class Stream(MethodView):
        @authenticated()
        @blp.response(200, content_type="text/event-stream")
        def get(self):
            "Ticks."
            return event_stream(ticks())

    @blp.route("/slow")
    class Slow(MethodView):
        @authenticated()
        @blp.response(200, content_type="text/plain")
        def get(self):
            "Slow."
            time.sleep(0.9)
            return "done"

    @hookimpl
    def flatrun_register_blueprints():
        return [blp]

    @hookimpl
    def flatrun_register_proxy_backends():
        return [FakeProxy()]
"""
WITH_PLUGIN = """
    import os, sys
    from pathlib import Path
    import ticker
    from flatrun_core.app import create_app
    from flatrun_core.server import configure_logging, serve
    from flatrun_core.settings import SettingsSource
    configure_logging()
    sys.exit(serve(create_app(SettingsSource.read(Path("flatrun.yml"), os.environ), plugins=[ticker])))
"""


class Process:
    """A panel in a folder of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "log"
        self.running: list[subprocess.Popen[bytes]] = []
        (folder / "ticker.py").write_text(textwrap.dedent(PLUGIN))
        (folder / "flatrun.yml").write_text(
            f"deployments_path: {folder / 'deployments'}\n"
            f"api: {{host: 127.0.0.1, port: {port}, max_streams: {MAX_STREAMS}}}\n"
            f"auth: {{api_keys: [{KEY}]}}\n"
        )
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers["Authorization"] = f"Bearer {KEY}"

    def command(self, *arguments: str, code: str = CLI, **environment: str) -> subprocess.Popen[bytes]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FLATRUN_")}
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(code), *arguments],
                cwd=self.folder,
                env={**clean, **environment},
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.running.append(process)
        return process

    def serve(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        process = self.command("serve", *arguments, **options)
        deadline = time.monotonic() + 30
        while True:
            try:
                assert self.http.get(f"{self.url}/api/health", timeout=5).json()["status"] == "ok"
                return process
            except requests.ConnectionError:
                assert process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.05)

    def output(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        before = self.log.stat().st_size if self.log.exists() else 0
        process = self.command(*arguments, **environment)
        out, _ = process.communicate(timeout=60)
        return process.returncode, out.decode(), self.log.read_bytes()[before:].decode()

    def stream(self) -> requests.Response:
        return self.http.get(f"{self.url}/api/ticker/stream", stream=True, timeout=10)

    @property
    def socket(self) -> Path:
        return self.folder / "deployments" / PANEL_SOCKET_FOLDER / PANEL_SOCKET_NAME

    def by_socket(self, path: str) -> bytes:
        """The answer of the panel's socket, as it came."""
        folder = os.open(self.socket.parent, os.O_RDONLY)  # its path may be too long for an address
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(f"/proc/self/fd/{folder}/{PANEL_SOCKET_NAME}")
            os.close(folder)
            client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            answer = b""
            while data := client.recv(4096):
                answer += data
        return answer

    def close(self) -> None:
        self.http.close()
        for process in self.running:
            process.kill()
            process.communicate()


@pytest.fixture
def panel(tmp_path: Path, free_port: int) -> Iterator[Process]:
    made = Process(tmp_path, free_port)
    yield made
    made.close()


def ended(process: subprocess.Popen[bytes]) -> int:
    """The exit code; the time is for a busy machine, and less than running requests may take."""
    return process.wait(9)


def test_from_nothing_it_serves_and_ends_with_0(panel: Process) -> None:
    process = panel.serve()
    assert (panel.folder / "deployments/.flatrun/flatrun.db").exists()
    answer = panel.http.get(f"{panel.url}/api/settings", timeout=5)
    assert answer.status_code == 200
    assert "Server" not in answer.headers
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 0
    assert "Traceback" not in panel.log.read_text()
    with pytest.raises(requests.ConnectionError):
        panel.http.get(f"{panel.url}/api/health", timeout=5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_streams_get_their_end_and_requests_their_answer(panel: Process, number: signal.Signals) -> None:
    process = panel.serve(code=WITH_PLUGIN)
    events = panel.stream()
    lines = events.iter_lines(chunk_size=None)
    while next(lines) != b"event: tick":
        pass
    with socket.create_connection(("127.0.0.1", panel.port), timeout=10) as slow:
        slow.sendall(f"GET /api/ticker/slow HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n".encode())
        time.sleep(0.2)
        process.send_signal(number)
        text = b"\n".join(lines).decode()
        assert text.rstrip().endswith('event: end\ndata: {"reason":"shutdown"}')
        received = b""
        while data := slow.recv(4096):
            received += data
        assert received.startswith(b"HTTP/1.1 200")
        assert received.endswith(b'"done"\n')
    assert ended(process) == 0


def test_the_proxy_has_a_socket_of_its_own_until_the_end(panel: Process) -> None:
    process = panel.serve(code=WITH_PLUGIN)
    assert panel.by_socket("/api/health").startswith(b"HTTP/1.0 200 OK")
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 0
    assert not panel.socket.exists()


def test_a_killed_panels_socket_is_taken_over_and_a_living_ones_is_not(panel: Process, ports: Any) -> None:
    panel.serve(code=WITH_PLUGIN).kill()
    panel.running[-1].wait()
    assert panel.socket.is_socket()
    panel.serve(code=WITH_PLUGIN)
    assert panel.by_socket("/api/health").startswith(b"HTTP/1.0 200 OK")
    living = panel.port
    panel.port = ports.next()
    panel.url = f"http://127.0.0.1:{panel.port}"
    other = panel.serve(code=WITH_PLUGIN, FLATRUN_API__PORT=str(panel.port))
    assert "panel.sock cannot be had: another panel that runs has it" in panel.log.read_text()
    assert living != panel.port
    other.send_signal(signal.SIGTERM)
    assert ended(other) == 0
    assert panel.by_socket("/api/health").startswith(b"HTTP/1.0 200 OK")


def test_without_a_proxy_there_is_no_socket(panel: Process) -> None:
    panel.serve(FLATRUN_PLUGINS__ONLY="deployments")
    assert not panel.socket.exists()


def test_a_second_signal_ends_it_at_once(panel: Process) -> None:
    process = panel.serve(code=WITH_PLUGIN)
    with socket.create_connection(("127.0.0.1", panel.port), timeout=10) as slow:
        slow.sendall(f"GET /api/ticker/slow HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n".encode())
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert ended(process) == 128 + signal.SIGINT


def test_followers_that_leave_make_room_for_others(panel: Process) -> None:
    panel.serve(code=WITH_PLUGIN)
    streams = [panel.stream() for _ in range(MAX_STREAMS)]
    assert {stream.status_code for stream in streams} == {200}
    refused = panel.stream()
    assert (refused.status_code, refused.json()["code"]) == (503, "TOO_MANY_STREAMS")
    for stream in streams:
        stream.close()
    left = time.monotonic()
    while panel.stream().status_code != 200:
        assert time.monotonic() - left < 10
        time.sleep(0.05)


def test_a_port_in_use_is_one_sentence_and_1(panel: Process) -> None:
    with socket.create_server(("127.0.0.1", panel.port)):
        code, out, err = panel.output("serve")
    assert (code, out) == (1, "")
    assert f"Error: Port {panel.port} is already in use" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_wrong_configuration_is_named_whole(panel: Process) -> None:
    (panel.folder / "flatrun.yml").write_text("api: {port: x}\nauth: {enabled: maybe}\n")
    code, _, err = panel.output("serve")
    assert code == 1
    assert "api.port" in err
    assert "auth.enabled" in err
    assert "Traceback" not in err


def test_the_service_manager_is_told_when_it_answers_and_when_it_ends(panel: Process) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(panel.folder / "notify"))
        manager.settimeout(30)
        process = panel.command("serve", NOTIFY_SOCKET=str(panel.folder / "notify"))
        assert manager.recv(100) == b"READY=1"
        assert panel.http.get(f"{panel.url}/api/health", timeout=5).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert manager.recv(100) == b"STOPPING=1"
    assert ended(process) == 0


def test_host_and_port_of_the_command_line_win(panel: Process, free_port: int) -> None:
    (panel.folder / "flatrun.yml").write_text(
        f"deployments_path: {panel.folder / 'd'}\napi: {{host: 192.0.2.1, port: 1}}\n"
    )
    panel.serve("--host", "127.0.0.1", "--port", str(panel.port), "--no-plugins", "--access-log")
    answer = panel.http.get(f"{panel.url}/api/health?secret=1", timeout=5)
    log = panel.log.read_text()
    assert f"[{answer.headers['X-Request-ID']}] 127.0.0.1 GET /api/health 200" in log
    assert "secret" not in log


@pytest.fixture
def broken(panel: Process) -> Callable[..., tuple[int, str, str]]:
    """Run a command with a distribution installed whose plugin cannot be imported."""
    info = panel.folder / "flatrun_broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flatrun-broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[flatrun.plugins]\nbroken = broken_plugin\n")
    (panel.folder / "broken_plugin.py").write_text("raise RuntimeError('out of order')\n")
    return lambda *arguments: panel.output(*arguments, PYTHONPATH=str(panel.folder))


@pytest.mark.usefixtures("panel")
def test_a_broken_plugin_prevents_no_command_of_the_core(broken: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = broken("plugins", "--json")
    assert code == 0
    found = {entry["name"]: entry for entry in json.loads(out)["plugins"]}
    assert found["broken"]["status"] == "failed"
    assert "out of order" in found["broken"]["reason"]
    assert found["broken"]["version"] == "1.0"
    assert broken("config", "--check")[0] == 0
    code, out, err = broken("--help")
    assert code == 0
    assert "doctor" in out
    assert "broken" in err
    code, out, _ = broken("doctor", "--json")
    checks = {entry["name"]: entry for entry in json.loads(out)["checks"]}
    assert code == 1
    assert "out of order" in checks["plugins"]["message"]
    assert "plugins.disabled" in checks["plugins"]["remedy"]


def test_the_panel_starts_with_a_broken_plugin_unless_told_to_be_strict(
    panel: Process, broken: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, err = broken("serve", "--strict")
    assert code == 1
    assert "out of order" in err
    assert "--no-plugins" in err
    panel.serve(PYTHONPATH=str(panel.folder))


def test_doctor_finds_the_running_panel_and_the_real_engine(panel: Process) -> None:
    panel.serve()
    (panel.folder / "flatrun.yml").chmod(0o600)
    code, out, _ = panel.output("doctor", "--json")
    checks = {entry["name"]: entry for entry in json.loads(out)["checks"]}
    assert checks["docker-engine"]["status"] == "ok"
    assert checks["compose"]["status"] == "ok"
    assert "the panel serves" in checks["api-port"]["message"]
    assert checks["panel"]["status"] == "ok"
    assert code == (1 if any(entry["status"] == "error" for entry in checks.values()) else 0)
