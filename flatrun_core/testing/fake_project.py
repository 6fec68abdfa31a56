"""The files of a compose project, put together as far as the fakes need it."""

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from flatrun_core.ports.docker import Project

_VARIABLE: Final = re.compile(r"\$(?:\$|(\w+)|\{(\w+)(?::?([-?])([^}]*))?\})")


class ComposeRefusedError(Exception):
    """What compose would print before it ends with 1."""


class ComposeDocument:
    """The files of a project put together, as far as fakes need it."""

    def __init__(self, project: Project) -> None:
        self.project = project
        merged: dict[str, Any] = {}
        for file in project.files:
            try:
                text = _interpolated(file.read_text("utf-8"), _environment(project))
                loaded = yaml.safe_load(text)
            except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
                raise ComposeRefusedError(f"{file.name}: {str(exc).splitlines()[0]}") from exc
            if not isinstance(loaded, dict):
                raise ComposeRefusedError("Top-level object must be a mapping")
            merged = _merge(merged, loaded)
        self.merged = merged
        self.services: dict[str, dict[str, Any]] = merged.get("services") or {}
        self._check()

    def _check(self) -> None:
        if not isinstance(self.services, dict) or not self.services:
            raise ComposeRefusedError("no service selected")
        for name, spec in self.services.items():
            if not isinstance(spec, dict):
                raise ComposeRefusedError(f"services.{name} must be a mapping")
            if not spec.get("image") and not spec.get("build"):
                text = f'service "{name}" has neither an image nor a build context specified'
                raise ComposeRefusedError(text)

    def networks(self) -> dict[str, bool]:
        """Names of the networks in use on the Engine, and whether they are external."""
        declared = self.merged.get("networks") or {}
        used = {name for service in self.services for name in self.networks_of(service)}
        found = {}
        for name in sorted(used):
            spec = declared.get(name) or {}
            external = bool(spec.get("external"))
            plain = name if external else f"{self.project.name}_{name}"
            found[str(spec.get("name") or plain)] = external
        return found

    def networks_of(self, service: str) -> dict[str, tuple[str, ...]]:
        """A service's networks as the file calls them, each with its aliases."""
        spec = self.services[service]
        if spec.get("network_mode"):
            return {}
        networks = spec.get("networks") or ["default"]
        if isinstance(networks, list):
            return {str(name): () for name in networks}
        return {str(name): tuple((more or {}).get("aliases") or ()) for name, more in networks.items()}

    def engine_networks(self, service: str) -> dict[str, tuple[str, ...]]:
        """A service's networks as the Engine calls them."""
        mode = self.services[service].get("network_mode")
        if mode:
            return {str(mode): ()}
        declared = self.merged.get("networks") or {}
        named = {}
        for name, aliases in self.networks_of(service).items():
            spec = declared.get(name) or {}
            plain = name if spec.get("external") else f"{self.project.name}_{name}"
            named[str(spec.get("name") or plain)] = (service, *aliases)
        return named

    def volumes(self) -> list[str]:
        """Names of the project's own volumes on the Engine."""
        declared = self.merged.get("volumes") or {}
        own = {name: spec or {} for name, spec in declared.items() if not (spec or {}).get("external")}
        return [str(spec.get("name") or f"{self.project.name}_{name}") for name, spec in own.items()]

    def normalised(self) -> dict[str, Any]:
        """As ``docker compose config`` shows it."""
        services = {}
        for name, spec in self.services.items():
            whole = {**spec, "ports": [long_port(port) for port in spec.get("ports") or ()]}
            if not spec.get("network_mode"):
                whole["networks"] = {
                    n: {"aliases": list(a)} if a else None for n, a in self.networks_of(name).items()
                }
            whole["environment"] = _mapping(spec.get("environment") or {})
            services[name] = {key: value for key, value in whole.items() if value or key == "networks"}
        networks = {
            "default": {"name": f"{self.project.name}_default"},
            **(self.merged.get("networks") or {}),
        }
        return {**self.merged, "name": self.project.name, "services": services, "networks": networks}


def long_port(port: Any) -> dict[str, Any]:
    """One entry of a service's ports in the long form."""
    if isinstance(port, dict):
        whole = {"mode": "ingress", "protocol": "tcp", **port}
        return {**whole, "published": str(whole["published"])} if whole.get("published") else whole
    text, _, protocol = str(port).partition("/")
    *host, target = text.rsplit(":", 2)
    if not target.isdigit():
        raise ComposeRefusedError(f"invalid containerPort: {target}")
    long: dict[str, Any] = {"mode": "ingress", "target": int(target), "protocol": protocol or "tcp"}
    if host:
        long["published"] = host[-1]
    return {**long, "host_ip": host[0]} if len(host) > 1 else long


def _mapping(pairs: Any) -> dict[str, Any]:
    if isinstance(pairs, Mapping):
        return dict(pairs)
    return {name: value for name, _, value in (str(pair).partition("=") for pair in pairs)}


def _merge(under: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping):
            merged[key] = _merge(old, value)
        elif isinstance(old, list) and isinstance(value, list) and key not in ("command", "entrypoint"):
            merged[key] = old + [item for item in value if item not in old]
        elif isinstance(old, list) and isinstance(value, Mapping):
            merged[key] = _merge({str(item): None for item in old}, value)
        else:
            merged[key] = value
    return merged


def _environment(project: Project) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in project.env_files or (project.directory / ".env",):
        if file.is_file():
            for line in file.read_text("utf-8").splitlines():
                name, mark, value = line.partition("=")
                if mark and not name.startswith("#"):
                    found[name.strip()] = value.strip().strip("\"'")
    return {**found, **project.env}


def _interpolated(text: str, environment: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name is None:
            return "$"
        if match[3] == "?" and name not in environment:
            raise ComposeRefusedError(f"required variable {name} is missing a value: {match[4]}")
        return environment.get(name) or (match[4] if match[3] == "-" else "") or ""

    return _VARIABLE.sub(value, text)
