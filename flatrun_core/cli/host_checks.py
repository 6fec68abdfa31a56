"""What the core looks at for ``flatrun doctor``; each check reads, and says what to do."""

import errno
import os
import shutil
import socket
import stat
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flatrun_core.checks import Finding
from flatrun_core.cli.client import ApiError, Client, local_url
from flatrun_core.errors import FlatrunError

if TYPE_CHECKING:
    from flatrun_core.ports.docker import Compose, Container, Engine
    from flatrun_core.settings import ApiSettings, AuthSettings

DEFAULT_SOCKET: Final = "unix:///var/run/docker.sock"
OLDEST_ENGINE: Final = (20, 10)
OLDEST_COMPOSE: Final = (2,)
SHORTEST_KEY: Final = 16
CLOCK_OFF: Final = 30.0
COMPOSE_PACKAGES: Final = "package docker-compose-plugin or docker-compose-v2"
GIB: Final = 1 << 30
# What the Engine hands networks out from when its daemon.json names nothing: (base, prefix of each).
DEFAULT_POOLS: Final = (
    *((f"172.{number}.0.0/16", 16) for number in (17, 18, 19)),
    *((f"172.{number}.0.0/14", 16) for number in (20, 24, 28)),
    ("192.168.0.0/16", 20),
)
MORE_NETWORKS: Final = (
    'put {"default-address-pools": [{"base": "10.200.0.0/16", "size": 26}]} into /etc/docker/daemon.json '
    "(a range that your network does not use) and restart Docker: that is 1024 networks"
)


def config_file(path: Path | None, problems: Sequence[str]) -> Finding:
    """The configuration can be read, is valid, and shows its keys to nobody else."""
    if problems:
        return Finding(
            "error", "; ".join(problems), "correct the file; `flatrun config --check` shows it again"
        )
    if path is None:
        return Finding(
            "warning", "no flatrun.yml: defaults and the environment are used", "name one with --config"
        )
    mode = path.stat().st_mode
    if mode & 0o027:
        others = "changed" if mode & 0o022 else "read"
        return Finding("warning", f"{path} can be {others} by others, and holds keys", f"chmod 600 {path}")
    return Finding("ok", str(path))


def credentials(auth: "AuthSettings", *, other_ways: bool) -> Finding:
    """Somebody can get in, and not everybody."""
    if not auth.enabled:
        return Finding(
            "warning", "everybody who reaches the panel is its administrator", "set auth.enabled to true"
        )
    if not auth.api_keys:
        if other_ways:
            return Finding("ok", "by plugins")
        return Finding(
            "warning", "there is no key, so nobody can get in", "put a long random key into auth.api_keys"
        )
    if any(len(key) < SHORTEST_KEY for key in auth.api_keys):
        return Finding(
            "warning",
            "a key in auth.api_keys can be guessed",
            f"use at least {SHORTEST_KEY} random characters",
        )
    return Finding("ok", f"{len(auth.api_keys)} key(s)")


def docker_socket(environ: Mapping[str, str]) -> Finding:
    """The way to the Engine is there, ours, and not everybody's."""
    host = environ.get("DOCKER_HOST") or DEFAULT_SOCKET
    if not host.startswith("unix://"):
        if host.startswith(("tcp://", "http://")) and not environ.get("DOCKER_TLS_VERIFY"):
            return Finding(
                "warning", f"{host} is used without TLS", "set DOCKER_TLS_VERIFY and DOCKER_CERT_PATH"
            )
        return Finding("ok", host)
    path = Path(host.removeprefix("unix://"))
    if not path.exists():
        return Finding(
            "error",
            f"{path} does not exist",
            "install Docker (Debian: apt install docker.io), systemctl start docker",
        )
    if not os.access(path, os.R_OK | os.W_OK):
        return Finding(
            "error",
            f"{path} may not be used by this user",
            "usermod -aG docker USER (which makes it as good as root), and log in anew",
        )
    if path.stat().st_mode & stat.S_IWOTH:
        return Finding(
            "warning", f"{path} may be used by every user, who is thereby root", f"chmod 660 {path}"
        )
    return Finding("ok", str(path))


def docker_engine(engine: "Engine") -> Finding:
    """The Engine answers and is not too old."""
    try:
        info = engine.info()
    except FlatrunError as exc:
        return Finding("error", exc.message, "systemctl start docker; if it ends again: journalctl -u docker")
    text = f"{info.version}, API {info.api_version}"
    if _numbers(info.version) < OLDEST_ENGINE:
        return Finding("warning", f"{text} is older than 20.10", "upgrade the Docker Engine")
    return Finding("ok", text)


def docker_compose(compose: "Compose") -> Finding:
    """Compose is there, in a version that is maintained."""
    try:
        version = compose.version()
    except FlatrunError as exc:
        return Finding("error", exc.message, f"install Compose 2 ({COMPOSE_PACKAGES})")
    if _numbers(version) < OLDEST_COMPOSE:
        return Finding(
            "warning",
            f"docker-compose {version} works, but is no longer maintained",
            f"install Compose 2 ({COMPOSE_PACKAGES})",
        )
    return Finding("ok", version)


def clock(engine: "Engine") -> Finding:
    """The Engine's clock and ours agree: logs are followed, and certificates judged, by time."""
    now = datetime.now(UTC)
    off = (now - datetime.fromisoformat(engine.info().raw["SystemTime"])).total_seconds()
    if abs(off) > CLOCK_OFF:
        return Finding(
            "warning", f"the Engine's clock is off by {off:.0f} s", "synchronise the clocks (timedatectl)"
        )
    return Finding("ok", f"{now:%Y-%m-%d %H:%M} UTC")


def address_pools(engine: "Engine") -> Finding:
    """The Engine has addresses left for the networks of more deployments."""
    configured = engine.info().raw.get("DefaultAddressPools") or []
    pools = [
        (str(pool["Base"]), int(pool["Size"])) for pool in configured if "." in pool["Base"]
    ] or DEFAULT_POOLS
    ranges = [(IPv4Network(base), size) for base, size in pools]
    room = sum(1 << max(size - base.prefixlen, 0) for base, size in ranges)
    used = sum(any(subnet.overlaps(base) for base, _ in ranges) for subnet in _subnets(engine.networks()))
    text = f"{used} of about {room} networks are used"
    if used >= room:
        return Finding("error", f"{text}: no further deployment gets one", MORE_NETWORKS)
    if (room - used) * 5 <= room:
        return Finding("warning", text, MORE_NETWORKS)
    return Finding("ok", text)


def api_port(api: "ApiSettings") -> Finding:
    """The panel's port is free, or the panel has it."""
    problem = _taken(api.host, api.port)
    if problem is None:
        return Finding("ok", f"{api.port} is free")
    if problem != errno.EADDRINUSE:
        return Finding(
            "error", f"{api.host} port {api.port}: {os.strerror(problem)}", "choose another api.host or port"
        )
    url = local_url(api)
    try:
        health = Client(url).get("/api/health")
        if health["status"] == "ok":
            return Finding(
                "ok", f"the panel serves at {url} (version {health['version']}, up {health['uptime']})"
            )
    except (ApiError, KeyError, TypeError):
        pass
    return Finding(
        "error",
        f"{api.port} is used by another program",
        f"end it (ss -ltnp 'sport = :{api.port}') or change api.port",
    )


def published_ports(engine: "Engine") -> Finding:
    """Stopped containers of compose projects will find the ports they publish free."""
    stopped = [c for c in engine.containers() if c.project and c.state in ("created", "exited")]
    wanted = [(c, host, port) for c in stopped for host, port in _bindings(engine, c)]
    taken = [f"{port} ({c.project})" for c, host, port in wanted if _taken(host, port) == errno.EADDRINUSE]
    if taken:
        return Finding(
            "warning",
            f"stopped deployments will not start, their ports are taken: {', '.join(sorted(set(taken)))}",
            "see who has one with ss -ltnp, or change the port in the compose file",
        )
    return Finding("ok", f"{len(wanted)} of stopped containers are free" if wanted else "no conflicts")


def deployments_path(path: Path) -> Finding:
    """The folder of the deployments can be written, and by nobody else."""
    if not path.exists():
        parent = next(parent for parent in path.parents if parent.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            return Finding("ok", f"{path} will be made by the first start")
        return Finding(
            "error", f"{path} does not exist and cannot be made", f"make it: install -d -o USER {path}"
        )
    if not path.is_dir() or not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return Finding(
            "error", f"{path} is no folder this user can write", f"chown it to the panel's user: {path}"
        )
    if path.stat().st_mode & stat.S_IWOTH:
        return Finding("warning", f"{path} can be written by every user", f"chmod o-w {path}")
    state = path / ".flatrun"
    if state.exists() and state.stat().st_mode & 0o077:
        return Finding("warning", f"{state} can be read by others, and holds secrets", f"chmod 700 {state}")
    return Finding("ok", str(path))


def disk_space(paths: Sequence[Path]) -> Finding:
    """Where deployments, images and volumes are there is room left."""
    worst = Finding("ok", "")
    notes = []
    for path in {place.stat().st_dev: place for place in map(_existing, reversed(paths))}.values():
        usage, inodes = shutil.disk_usage(path), os.statvfs(path)
        notes.append(f"{path}: {usage.free / GIB:.1f} GiB free")
        few = inodes.f_files and inodes.f_favail < inodes.f_files / 100
        if usage.free < GIB / 5:
            worst = Finding(
                "error", "", "make room: docker system df, docker image prune, journalctl --vacuum-size=200M"
            )
        elif worst.status == "ok" and (few or usage.free < max(GIB, usage.total / 20)):
            worst = Finding("warning", "", "make room soon: docker system df, docker image prune")
    return Finding(worst.status, ", ".join(notes), worst.remedy)


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def _numbers(version: str) -> tuple[int, ...]:
    parts = (part.split("-")[0] for part in version.removeprefix("v").split(".")[:2])
    return tuple(int(part) for part in parts if part.isdigit())


def _subnets(networks: Mapping[str, Mapping[str, Any]]) -> list[IPv4Network]:
    configs = [(network.get("IPAM") or {}).get("Config") or () for network in networks.values()]
    subnets = [str(config.get("Subnet") or "") for found in configs for config in found]
    return [IPv4Network(subnet, strict=False) for subnet in subnets if "." in subnet]


def _bindings(engine: "Engine", container: "Container") -> list[tuple[str, int]]:
    document = engine.inspect(container.id)
    bindings = (document.get("HostConfig") or {}).get("PortBindings") or {}
    return [
        (str(binding.get("HostIp") or ""), int(binding["HostPort"]))
        for target, hosts in bindings.items()
        if target.endswith("/tcp")
        for binding in hosts or []
        if str(binding.get("HostPort", "")).isdigit()
    ]


def _taken(host: str, port: int) -> int | None:
    """Why nothing can listen there, as an error number, or None."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host or "0.0.0.0",  # noqa: S104 - looked at, not served
            port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        return errno.EADDRNOTAVAIL
    except OSError as exc:
        return exc.errno or errno.EIO
    return None
