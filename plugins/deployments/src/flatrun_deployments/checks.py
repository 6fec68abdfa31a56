"""What ``flatrun doctor`` looks at: containers that answer to the names of other deployments' services."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flatrun_core import Check, DockerUnavailable, Finding, NotFound, PluginContext
from flatrun_core.ports.docker import ENGINE, Container
from flatrun_deployments.network_names import of_services, plain
from flatrun_deployments.service import SERVICE
from flatrun_deployments.settings import NetworkSettings


def checks(ctx: PluginContext) -> Sequence[Check]:
    """One; it asks the Engine for each container on the proxy's network."""
    return [Check("network-names", "Names on the proxy's network", lambda: network_names(ctx))]


def network_names(ctx: PluginContext) -> Finding:
    """Whether the proxy reaches nobody but the deployment that it means."""
    service = ctx.services.get(SERVICE)
    folders = service.catalogue.folders() if service.root().is_dir() else []
    meant = {name: folder for folder in folders for name in of_services(folder)}
    network = ctx.settings(NetworkSettings).default_proxy_network
    wrong = []
    try:
        for container, names in _on(ctx, network):
            others = [name for name in names if name in meant and meant[name].project != container.project]
            wrong += [f"{container.name} answers to {name}, of '{meant[name].name}'" for name in others]
    except DockerUnavailable as exc:
        return Finding(
            "warning", f"the Docker Engine cannot be asked: {exc.message}", "start the Docker Engine"
        )
    if not wrong:
        return Finding("ok", f"on '{network}' every name of a service is its own")
    hint = f"take these names from the containers, or the containers from the network '{network}'"
    return Finding("error", "; ".join(sorted(wrong)), hint)


def _on(ctx: PluginContext, network: str) -> Iterator[tuple[Container, set[str]]]:
    """Containers on a network, each with the names it has there."""
    engine = ctx.services.get(ENGINE)
    for container in engine.containers():
        if network in container.networks:
            try:
                document = engine.inspect(container.id)
            except NotFound:
                continue
            known: Mapping[str, Any] = document["NetworkSettings"]["Networks"].get(network) or {}
            names = {container.name, *(known.get("Aliases") or ()), *(known.get("DNSNames") or ())}
            yield container, {plain(name) for name in names}
