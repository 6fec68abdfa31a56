"""Names on the proxy's network: by which the proxy reaches services, and who else would answer to them.

Docker's resolver tells the addresses of every container that has a name, and knows no upper case.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flatrun_core import Conflict
from flatrun_deployments.compose_file import network_name, networks_of
from flatrun_deployments.folder import Folder
from flatrun_deployments.interpolation import interpolate
from flatrun_deployments.override import alias

Document = Mapping[str, Any]


def check(name: str, document: Document, env: Mapping[str, str], folders: Iterable[Folder], net: str) -> None:
    """Raise 409 ``NETWORK_NAME_TAKEN`` when a new deployment and another would get each other's requests.

    ``net`` is the proxy's network. Only what the compose file itself says is known.
    """
    answers = answering(document, net, name, env)
    reached = {plain(alias(name, service)) for service in document.get("services") or ()}
    for folder in folders:
        if folder.name == name or folder.compose.document is None:
            continue
        taken = answers & of_services(folder)
        taken |= reached & answering(folder.compose.document, net, folder.project, folder.env)
        if taken:
            raise Conflict(
                f"On the network '{net}' the name '{min(taken)[:80]}' is that of a service of another "
                "deployment; give the service, container, host or alias another one",
                code="NETWORK_NAME_TAKEN",
            )


def of_services(folder: Folder) -> frozenset[str]:
    """The names by which the proxy reaches the services of a deployment, routed or not."""
    return frozenset(plain(alias(folder.name, service)) for service in folder.compose.services)


def answering(document: Document, network: str, project: str, env: Mapping[str, str]) -> frozenset[str]:
    """The names to which the services of a compose file answer on a network.

    A network whose name is not known before Compose reads the file may be any.
    """
    found: set[str] = set()
    for service, spec in (document.get("services") or {}).items():
        keys = [
            key for key in networks_of(spec) if _may_be(network_name(key, document, project, env), network)
        ]
        mode = str(spec.get("network_mode") or "")
        # What is extended may say which networks there are.
        if keys or _may_be(interpolate(mode, env) or mode, network) or spec.get("extends"):
            found.update(_names(service, spec, keys))
    return frozenset(plain(interpolate(name, env) or name) for name in found)


def plain(name: str) -> str:
    """A name as the resolver compares it."""
    return name.lower().rstrip(".")


def _names(service: str, spec: Document, keys: Iterable[str]) -> Iterator[str]:
    yield service
    yield from (str(spec[key]) for key in ("container_name", "hostname") if spec.get(key))
    networks = spec.get("networks")
    joined: Document = networks if isinstance(networks, Mapping) else {}
    for key in keys:
        settings = joined.get(key)
        aliases = settings.get("aliases") if isinstance(settings, Mapping) else None
        yield from map(str, aliases if isinstance(aliases, list | tuple) else ())


def _may_be(name: str, network: str) -> bool:
    return name == network or "$" in name
