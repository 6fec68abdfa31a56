"""A Caddy in memory, the real one, and applications for it to lead to."""

import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flatrun_caddy.backend import CaddyBackend
from flatrun_caddy.blocks import Block
from flatrun_caddy.program import CaddyProgram, unreachable
from flatrun_caddy.settings import CaddySettings, Layout
from flatrun_core.programs import ProgramRunner

UNPACKED = Path(__file__).resolve().parents[3] / ".cache/caddy/usr/bin/caddy"
PATIENCE = 20.0  # seconds
# Below the range from which the kernel takes ports for outgoing connections.
FIRST_PORT, EACH_WORKER = 15000, 200


class FakeCaddy:
    """A Caddy that loads whatever it is given, but for names below ``refused.example.com``."""

    def __init__(self) -> None:
        self.running = True
        self.reloads = 0
        self.stubborn = ""
        self.seen: list[list[str]] = []

    def refusal(self, layout: Layout, file: Path, blocks: Sequence[Block]) -> str:
        assert file.parent == layout.file.parent
        assert file.read_text()
        names = [name for block in blocks for name in block.names]
        self.seen.append(names)
        bad = [name for name in names if name.endswith(".refused.example.com")]
        if bad:
            return f"{bad[0]} is not for me"
        if {"cat.example.com", "dog.example.com"} <= set(names):
            return "cat and dog in one file"
        return ""

    def reload(self, layout: Layout) -> str:
        assert layout.file.read_text()
        self.reloads += not self.stubborn
        return self.stubborn

    def answers(self, layout: Layout) -> bool:
        return self.running


@pytest.fixture
def fake_caddy() -> FakeCaddy:
    return FakeCaddy()


@pytest.fixture
def root() -> Iterator[Path]:
    """Return a folder with a short and plain name, as sockets and Caddyfiles need it."""
    with tempfile.TemporaryDirectory(prefix="flatrun-caddy-") as folder:
        yield Path(folder)


@pytest.fixture
def layout(root: Path) -> Layout:
    return Layout.of(CaddySettings(), root)


@pytest.fixture
def backend(layout: Layout, fake_caddy: FakeCaddy) -> CaddyBackend:
    return CaddyBackend(lambda: layout, fake_caddy)


@dataclass
class RealCaddy:
    """A Caddy that runs; its files and ports are the test session's."""

    program: str
    folder: Path
    http_port: int
    https_port: int
    programs: ProgramRunner = field(default_factory=ProgramRunner)

    @property
    def admin(self) -> str:
        return f"unix/{self.folder / 'admin.sock'}"

    def layout(self, root: Path) -> Layout:
        settings = CaddySettings(
            admin=self.admin,
            program=self.program,
            http_port=self.http_port,
            https_port=self.https_port,
            bind_address="127.0.0.1",
        )
        return Layout.of(settings, root)

    def backend(self, root: Path) -> CaddyBackend:
        return CaddyBackend(lambda: self.layout(root), CaddyProgram(self.programs))


@pytest.fixture(scope="session")
def caddy_program() -> str:
    """Return the real program; `scripts/test` unpacks it where it is not installed."""
    found = shutil.which("caddy") or (str(UNPACKED) if UNPACKED.is_file() else "")
    assert found, f"caddy is neither installed nor in {UNPACKED.parent}: run scripts/test"
    return found


@pytest.fixture(scope="session")
def caddy(caddy_program: str) -> Iterator[RealCaddy]:
    """Start a Caddy that serves nothing yet."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flatrun-caddy-")))
        real = RealCaddy(caddy_program, folder, *free_ports(2))
        (folder / "empty").write_text(f"{{\n\tadmin {real.admin}\n}}\n")
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        process = subprocess.Popen(
            [caddy_program, "run", "--config", str(folder / "empty"), "--adapter", "caddyfile"],
            env=environment,
            stderr=(folder / "log").open("w"),
        )
        try:
            eventually(lambda: process.poll() is not None or not unreachable(real.admin))
            assert process.poll() is None, (folder / "log").read_text()
            yield real
        finally:
            process.terminate()
            process.wait(PATIENCE)


def free_ports(count: int) -> list[int]:
    """Return ports on which nothing listens, of this pytest worker's own range."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = FIRST_PORT + worker * EACH_WORKER
    candidates = random.sample(range(first, first + EACH_WORKER), EACH_WORKER)
    return [port for port in candidates if _is_free(port)][:count]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for a condition, at most ``PATIENCE``."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.05)):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("It did not come to that in time")
