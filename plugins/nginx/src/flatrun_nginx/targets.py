"""Where nginx answers, and whether what it passes requests to takes connections."""

import ipaddress
import re
import socket
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from flatrun_core import FlatrunError
from flatrun_core.ports.docker import Container, Engine
from flatrun_core.ports.proxy import PANEL, Endpoints, Route

CONNECT_SECONDS: Final = 2.0
_AT_ONCE: Final = 32
_PUBLISHED: Final = re.compile(r"(.*):(\d+)->(80|443)/tcp")


def endpoints(engine: Engine, container: Container, network: str) -> Endpoints:
    """The ports of this host first, then the container's own on its network."""
    found: dict[str, list[tuple[str, int]]] = {"80": [], "443": []}
    for text in container.ports:
        match = _PUBLISHED.fullmatch(text)
        if match:
            found[match[3]].append((_reachable(match[1]), int(match[2])))
    for address in _addresses(engine, container.id, network):
        for port, places in found.items():
            places.append((address, int(port)))
    http, https = (tuple(dict.fromkeys(places)) for places in found.values())
    return Endpoints(http, https)


def probe(engine: Engine, routes: Collection[Route], network: str) -> Sequence[str]:
    """One sentence for each target that takes no connection; all are tried at the same time."""
    wanted = sorted({(route.upstream, route.port) for route in routes if route.upstream != PANEL})
    if not wanted:
        return []
    try:
        running = [one for one in engine.containers() if network in one.networks and one.state == "running"]
    except FlatrunError as exc:
        return [f"Targets could not be tried: {exc.message}"]
    with ThreadPoolExecutor(min(_AT_ONCE, len(wanted)), "nginx-probe") as pool:
        tried = pool.map(lambda one: _try(engine, running, network, *one), wanted)
        return [sentence for sentence in tried if sentence]


def _try(engine: Engine, running: Sequence[Container], network: str, upstream: str, port: int) -> str:
    addresses = _called(engine, running, network, upstream)
    if not addresses:
        return f"No running container is called {upstream} on the network {network}"
    for address in addresses:
        try:
            socket.create_connection((address, port), CONNECT_SECONDS).close()
        except TimeoutError:
            return f"{upstream} takes no connection on port {port} within {CONNECT_SECONDS:g} seconds"
        except OSError as exc:
            return f"{upstream} takes no connection on port {port}: {exc.strerror or exc}"
    return ""


def _called(engine: Engine, running: Sequence[Container], network: str, upstream: str) -> list[str]:
    """Addresses of the containers that have the name on the network."""
    fitting = [one for one in running if one.service and upstream.endswith(f"-{one.service}")]
    # Nearly always the project is called like the deployment; asking about all would take long.
    likely = [one for one in fitting if upstream == f"{one.project}-{one.service}"]
    for group in (likely, [one for one in fitting if one not in likely]):
        found = [address for one in group for address in _if_called(engine, one, network, upstream)]
        if found:
            return found
    return []


def _if_called(engine: Engine, container: Container, network: str, upstream: str) -> list[str]:
    networks = _networks(engine, container.id)
    aliases = (networks.get(network) or {}).get("Aliases") or ()
    address = (networks.get(network) or {}).get("IPAddress")
    return [address] if upstream in aliases and address else []


def _addresses(engine: Engine, container_id: str, network: str) -> list[str]:
    networks = _networks(engine, container_id)
    # The proxy network's address first.
    ordered = sorted(networks.items(), key=lambda item: item[0] != network)
    return [str(one["IPAddress"]) for _, one in ordered if one and one.get("IPAddress")]


def _networks(engine: Engine, container_id: str) -> Mapping[str, Any]:
    try:
        document = engine.inspect(container_id)
    except FlatrunError:
        return {}
    return (document.get("NetworkSettings") or {}).get("Networks") or {}


def _reachable(address: str) -> str:
    """The address of this host for one that a port is published on."""
    plain = address.strip("[]")
    if plain in ("", "0.0.0.0"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    try:
        return "::1" if ipaddress.ip_address(plain).is_unspecified else plain
    except ValueError:
        return plain
