"""The Docker Engine: is it there, does it run, start it, stop it.

An Engine that already runs is used as it is. Where systemd runs, it starts the Engine as the
package intends. Elsewhere `dockerd` is started in the background, with many small address ranges
(the built-in ones hold about 30 projects), unless the machine has its own /etc/docker/daemon.json.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flatrun_scripts import processes
from flatrun_scripts.shell import ScriptError, as_root, must, run, tail

OWN_CONFIG = Path("/etc/docker/daemon.json")
ADDRESS_POOLS = [
    {"base": "10.200.0.0/16", "size": 26},
    {"base": "10.201.0.0/16", "size": 26},
]
START_SECONDS = 60
STOP_SECONDS = 60
SOCKET = Path("/var/run/docker.sock")
PID_FILES = (Path("/var/run/docker.pid"), Path("/var/run/docker/containerd/containerd.pid"))


@dataclass(frozen=True)
class Started:
    """How a script started the Engine: `systemd`, or `process` with a pid file."""

    how: str
    pid_file: str = ""


def program_present() -> bool:
    """Tell whether both the daemon and the client are installed."""
    return find("dockerd") is not None and shutil.which("docker") is not None


def client_present() -> bool:
    """Tell whether the client is installed."""
    return shutil.which("docker") is not None


def running() -> bool:
    """Tell whether an Engine answers this user."""
    return run(["docker", "version", "--format", "{{.Server.Version}}"], timeout=20).code == 0


def check_access() -> None:
    """Stop when an Engine runs but does not let this user in."""
    result = run(["docker", "version"], timeout=20)
    if result.code != 0 and "permission denied" in result.text.lower():
        raise ScriptError(
            "The Docker Engine runs, but this user may not use it.",
            tail(result.text, 3),
            "Run the script as root, or add this user to the group docker and log in again.",
        )


def remote() -> bool:
    """Tell whether the environment names an Engine that is none of this script's business."""
    host = os.environ.get("DOCKER_HOST", "")
    return bool(host) and host not in {f"unix://{SOCKET}", "unix:///run/docker.sock"}


def has_systemd() -> bool:
    """Tell whether systemd runs this machine."""
    return Path("/run/systemd/system").is_dir()


def start(folder: Path) -> Started:
    """Start the Engine and wait until it answers."""
    if remote():
        raise ScriptError(
            "The Docker Engine does not answer.",
            f"DOCKER_HOST is {os.environ['DOCKER_HOST']}, which this script does not manage.",
            "Start that Engine, or unset DOCKER_HOST.",
        )
    if has_systemd():
        return _start_by_systemd()
    return _start_process(folder)


def stop(started: Started) -> None:
    """Stop an Engine that a script started."""
    if started.how == "systemd":
        must(
            as_root(["systemctl", "stop", "docker.service", "docker.socket"]),
            what="The Docker Engine could not be stopped.",
        )
        return
    process = processes.Background.read(Path(started.pid_file))
    if process and not process.stop(STOP_SECONDS):
        raise ScriptError(
            "The Docker Engine did not stop.",
            f"Process {process.pid} still runs after {STOP_SECONDS} s.",
            f"Look at it, and end it with 'kill {process.pid}'.",
        )
    Path(started.pid_file).unlink(missing_ok=True)


def containers() -> list[str]:
    """Return the names of all running containers."""
    return run(["docker", "ps", "--format", "{{.Names}}"], timeout=30).out.split()


def write_config(path: Path) -> None:
    """Write a daemon configuration of our own, in our own place."""
    path.write_text(json.dumps({"default-address-pools": ADDRESS_POOLS}, indent=2) + "\n")


def _start_by_systemd() -> Started:
    must(
        as_root(["systemctl", "start", "docker.service"]),
        what="The Docker Engine could not be started.",
        todo="Look at 'journalctl -u docker', repair it, then run the script again.",
    )
    _wait_until_up(lambda: "")
    return Started("systemd")


def _start_process(folder: Path) -> Started:
    if os.geteuid() != 0:
        raise ScriptError(
            "The Docker Engine is not running, and this user may not start it.",
            "Without systemd, dockerd has to be started as root.",
            "Start dockerd as root, or run the script as root.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    log, pid_file = folder / "dockerd.log", folder / "dockerd.pid.json"
    argv: list[str | Path] = [find("dockerd") or "dockerd"]
    if not OWN_CONFIG.exists():
        write_config(folder / "daemon.json")
        argv += ["--config-file", folder / "daemon.json"]
    _clear_dead_pid_files()
    process = processes.start(argv, log)
    process.write(pid_file)
    try:
        _wait_until_up(lambda: "" if process.alive else "dockerd ended.", log)
    except ScriptError:
        process.stop(STOP_SECONDS)
        pid_file.unlink(missing_ok=True)
        raise
    return Started("process", str(pid_file))


def _clear_dead_pid_files() -> None:
    """Remove what a killed Engine left: dockerd takes a pid that is not reaped yet for a running one."""
    for path in PID_FILES:
        try:
            pid = int(path.read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            continue
        if processes.start_time(pid) is None:
            path.unlink(missing_ok=True)


def _wait_until_up(ended: Callable[[], str], log: Path | None = None) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not running():
        reason = ended()
        if reason or time.monotonic() > deadline:
            raise ScriptError(
                "The Docker Engine did not start.",
                f"{reason or f'No answer within {START_SECONDS} s.'}\n"
                + (processes.log_tail(log) if log else ""),
                f"Its output is in {log}." if log else "Look at 'journalctl -u docker'.",
            )
        time.sleep(0.2)


def find(name: str) -> str | None:
    """Return the path of a system program, None when it is not installed."""
    # A user's PATH may lack the sbin folders where Debian puts the daemon.
    return shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")
