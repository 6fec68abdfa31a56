"""A real PostgreSQL server, started for the tests from Debian's binaries."""

import getpass
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

PASSWORD = "p@ss:w/rd?#%"
QUOTED = "p%40ss%3Aw%2Frd%3F%23%25"
OWNER = "postgres" if os.geteuid() == 0 else getpass.getuser()


def binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.fail(
            "The PostgreSQL tests need a server's binaries, and there are none in /usr/lib/postgresql.\n"
            "Run scripts/test, which installs them, or: apt-get install --no-install-recommends postgresql"
        )
    return found[-1].parent


@dataclass
class Cluster:
    """A server of our own: its folder, its port on 127.0.0.1, its programs."""

    folder: Path
    programs: Path
    port: int = 0
    databases: Iterator[int] = field(default_factory=itertools.count)

    def run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        user = OWNER if os.geteuid() == 0 else None
        environ = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        log = self.folder / "commands.log"  # a pipe would be held open by the server
        with log.open("w") as output:
            code = subprocess.run(
                command,
                user=user,
                env=environ,
                cwd="/",
                stdout=output,
                stderr=output,
                timeout=60,
                check=False,
            ).returncode
        assert code == 0, f"{program}: {log.read_text()}"

    def make(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        shutil.chown(secret, OWNER)
        self.run(
            "initdb", "-D", f"{self.folder}/data", "-U", "flatrun", "-E", "UTF8", "--auth=scram-sha-256",
            f"--pwfile={secret}", "--no-sync",
        )  # fmt: skip

    def start(self) -> None:
        for _ in range(5):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = self.port or free.getsockname()[1]
            try:
                options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -c fsync=off -c max_connections=90"
                self.run(
                    "pg_ctl",
                    "-D",
                    f"{self.folder}/data",
                    "-l",
                    f"{self.folder}/log",
                    "-w",
                    "-o",
                    options,
                    "start",
                )
            except AssertionError:
                self.port = 0  # somebody was faster to take it
            else:
                return
        pytest.fail(f"PostgreSQL does not start: {(self.folder / 'log').read_text()}")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", f"{self.folder}/data", "-m", "immediate", "-w", "stop")

    def url(self, database: str) -> str:
        return f"postgresql://flatrun:{QUOTED}@127.0.0.1:{self.port}/{database}"

    def create(self) -> str:
        name = f"panel{next(self.databases)}"
        self.execute("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, database: str, statement: str) -> None:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A server that runs, and is gone afterwards."""
    programs = binaries()
    folder = Path(tempfile.mkdtemp(prefix="flatrun-pg-"))
    shutil.chown(folder, OWNER)
    cluster = Cluster(folder, programs)
    try:
        cluster.make()
        cluster.start()
        yield cluster
        cluster.stop()
    finally:
        shutil.rmtree(folder)
