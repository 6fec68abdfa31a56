"""A second Docker Engine for one test, which may stop it, kill it and fill it.

It has its own network namespace: two Engines in one namespace overwrite each other's firewall
rules. Ports that its containers publish are therefore reached with `http_get`, not from outside.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from docker.errors import DockerException

START_SECONDS = 30
STOP_SECONDS = 30
FETCH = """
import sys, urllib.request
sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1], timeout=5).read())
"""


class PrivateEngine:
    """One `dockerd` with its own data, socket, bridge and network namespace.

    Args:
        address_pools: the Engine's default-address-pools; a small one runs out of networks fast.
    """

    def __init__(self, address_pools: Sequence[dict[str, Any]] | None = None) -> None:
        # Short and outside of pytest's folders: a socket's path may have 107 characters only.
        self.folder = Path(tempfile.mkdtemp(prefix="fre-"))
        self.namespace = self.folder.name
        self.socket = self.folder / "d.sock"
        self.log_file = self.folder / "dockerd.log"
        self._pid_file = self.folder / "d.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self._client: docker.APIClient | None = None
        config = {"default-address-pools": list(address_pools or [{"base": "10.202.0.0/16", "size": 26}])}
        (self.folder / "daemon.json").write_text(json.dumps(config), encoding="utf-8")
        _run("ip", "netns", "add", self.namespace)
        _run("ip", "-n", self.namespace, "link", "set", "lo", "up")

    @property
    def host(self) -> str:
        """The value of DOCKER_HOST that leads here."""
        return f"unix://{self.socket}"

    @property
    def env(self) -> dict[str, str]:
        """The environment of a program that shall use this Engine."""
        return {"DOCKER_HOST": self.host}

    @property
    def client(self) -> docker.APIClient:
        """A client of this Engine, usable while it runs."""
        if self._client is None:
            self._client = docker.APIClient(base_url=self.host, version="auto", timeout=30)
        return self._client

    @property
    def running(self) -> bool:
        """Whether the daemon's process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the daemon and wait until it answers; containers come back as their policy says."""
        dockerd = shutil.which("dockerd") or "/usr/sbin/dockerd"
        # nsenter, not `ip netns exec`: that one mounts /sys anew and loses the control groups.
        argv = ["nsenter", f"--net=/run/netns/{self.namespace}", dockerd]
        argv += ["--config-file", f"{self.folder}/daemon.json", "--data-root", f"{self.folder}/data"]
        argv += ["--exec-root", f"{self.folder}/run", "--pidfile", str(self._pid_file)]
        argv += ["-H", self.host, "--bip", "10.203.0.1/24"]
        with self.log_file.open("ab") as output:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self._wait_until_up()

    def stop(self) -> None:
        """Stop the daemon as a service manager does: its containers are stopped too."""
        self._end(signal.SIGTERM)

    def kill9(self) -> None:
        """Kill the daemon: its containers go on without it."""
        self._end(signal.SIGKILL)
        # The next daemon takes a containerd that is dead but not yet reaped for a living one.
        for path in (self._pid_file, self.folder / "run/containerd/containerd.pid"):
            path.unlink(missing_ok=True)

    def load(self, image: str) -> None:
        """Copy an image from the main Engine."""
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as source:
            subprocess.run(
                ["docker", "-H", self.host, "load"], stdin=source.stdout, check=True, capture_output=True
            )

    def http_get(self, port: int, path: str = "/") -> str:
        """Fetch a page from a port that a container of this Engine publishes."""
        url = f"http://127.0.0.1:{port}{path}"
        inside = ["nsenter", f"--net=/run/netns/{self.namespace}"]
        done = subprocess.run(
            [*inside, sys.executable, "-c", FETCH, url], check=True, capture_output=True, text=True
        )
        return done.stdout

    def close(self) -> list[str]:
        """Remove every process, mount, namespace and file, and name what could not be removed."""
        if self.running:
            with suppress(DockerException, requests.RequestException):
                for container in self.client.containers(all=True):
                    self.client.remove_container(container["Id"], force=True)
        self._forget_client()
        self._end(signal.SIGTERM)
        self._end_leftovers()
        for mount in self._mounts():
            subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", self.namespace], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        return [*self._mounts(), *([str(self.folder)] if self.folder.exists() else [])]

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if not self.running or time.monotonic() > deadline:
                text = self.log_file.read_text(encoding="utf-8", errors="replace")
                pytest.fail(f"The private Engine does not answer. It wrote:\n{text[-3000:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        # By hand: the library leaves the socket open when there is nothing to connect to yet.
        with socket.socket(socket.AF_UNIX) as link, suppress(OSError):
            link.settimeout(5)
            link.connect(str(self.socket))
            link.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in link.recv(1024)
        return False

    def _forget_client(self) -> None:
        """Close connections that the daemon's end has made useless."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _end(self, number: int) -> None:
        if self._process is None or not self.running:
            return
        self._forget_client()
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)

    def _end_leftovers(self) -> None:
        """End what a killed daemon left: its containerd, shims, proxies, containers."""
        deadline = time.monotonic() + 10
        while pids := self._pids():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)

    def _pids(self) -> list[int]:
        """Return the processes in our network namespace or with our folder in their arguments."""
        ours = Path(f"/run/netns/{self.namespace}").stat().st_ino if self._has_namespace() else -1
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                text = (folder / "cmdline").read_bytes().decode(errors="replace")
                state = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
                inside = (folder / "ns/net").stat().st_ino == ours
                # containers have namespaces of their own; they are the children of our shims
                if state != "Z" and (inside or f"{self.folder}/" in text):
                    found.append(int(folder.name))
        return found + _descendants(found)

    def _has_namespace(self) -> bool:
        return Path(f"/run/netns/{self.namespace}").exists()

    def _mounts(self) -> list[str]:
        rows = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
        points = [row.split()[1] for row in rows]
        return sorted((p for p in points if p.startswith(f"{self.folder}/")), reverse=True)


def _descendants(pids: list[int]) -> list[int]:
    """Return all children, and theirs, of processes."""
    found: list[int] = []
    for pid in pids:
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                children = [int(word) for word in (task / "children").read_text().split()]
                found += children + _descendants(children)
    return found


def _run(*argv: str) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(argv)}: {done.stderr.strip()} (root and iproute2 are needed)")
