"""What ``flatrun doctor`` looks at: nginx's container, its ports, its files, and Lua."""

import os
from collections.abc import Sequence
from typing import Final

from flatrun_core import Check, Finding, FlatrunError, PluginContext
from flatrun_core.ports.docker import ENGINE
from flatrun_nginx import own_folder, ports, quarantine, refused_certificates
from flatrun_nginx.backend import BACKEND, NginxBackend
from flatrun_nginx.container import ABSENT, CREATED, LOOPING, PAUSED, RUNNING, UNREACHABLE, State
from flatrun_nginx.environment import Environment
from flatrun_nginx.settings import NginxSettings

_SHOWN: Final = 3
_OFF: Final = Finding("ok", "switched off (nginx.enabled)")


def checks(ctx: PluginContext) -> Sequence[Check]:
    """Three; they ask the Engine and read a folder."""
    return [
        Check("nginx-container", "nginx", lambda: container(ctx)),
        Check("nginx-files", "nginx's files", lambda: files(ctx)),
        Check("nginx-lua", "nginx's Lua", lambda: lua(ctx)),
    ]


def container(ctx: PluginContext) -> Finding:
    """Whether it runs, and why not."""
    backend = ctx.services.get(BACKEND)
    environment = backend.environment()
    if not environment.settings.enabled:
        return _OFF
    name = environment.settings.container_name
    state = backend.container.look(name, looks=1)
    if state.kind == RUNNING:
        return _running(backend, name)
    if state.kind == PAUSED:
        return Finding("error", f"the container {name} is paused", f"`docker unpause {name}` lets it go on")
    if state.kind == UNREACHABLE:
        return Finding("error", f"the Docker Engine cannot be asked: {state.why}", "start the Docker Engine")
    if state.kind == LOOPING:
        last = _last_line(ctx, state)
        return Finding(
            "error",
            f"the container {name} starts again and again: {last}",
            f"`docker logs {name}` says more; the panel, while it runs, leaves out what is broken by itself",
        )
    return _down(ctx, backend, environment, state)


def files(ctx: PluginContext) -> Finding:
    """Whether any is left out because nginx refuses it, or served without TLS."""
    environment = ctx.services.get(BACKEND).environment()
    conf = environment.layout.conf
    unusable = _unusable(environment)
    if unusable is not None:
        return unusable
    held = sorted(quarantine.read(conf).values(), key=lambda one: one.name) if conf.is_dir() else []
    if held:
        told = [one.reason if f"/{one.name}:" in one.reason else f"{one.name} ({one.reason})" for one in held]
        return Finding(
            "warning",
            f"nginx refuses what is left out: {_some(told)}",
            f"mend the site's settings, or the file itself: {conf}/{held[0].name}{quarantine.SUFFIX}",
        )
    plain = [str(one) for one in refused_certificates.read(conf.parent)]
    if plain:
        return Finding("warning", _some(plain), "have the certificate issued anew, or put its files right")
    return Finding("ok", "none is left out")


def _unusable(environment: Environment) -> Finding | None:
    try:
        own_folder.check(environment.layout)
    except FlatrunError as exc:
        return Finding("error", exc.message, "set nginx.config_path, and start the panel again")
    conf = environment.layout.conf
    if conf.is_dir() and not os.access(conf, os.W_OK | os.X_OK):
        return Finding(
            "error",
            f"the folder {conf} cannot be written to, so no change of a site takes effect",
            "give it to the user that the panel runs as, and look whether its disk is mounted read-only",
        )
    return None


def _running(backend: NginxBackend, name: str) -> Finding:
    others = backend.other_mounts()
    if not others:
        return Finding("ok", f"the container {name} runs")
    return Finding(
        "warning",
        f"the container {name} has other mounts than nginx's docker-compose.yml says: {', '.join(others)}",
        "the next change of a site makes it anew",
    )


def _some(told: Sequence[str]) -> str:
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return f"{'; '.join(told[:_SHOWN])}{more}"


def lua(ctx: PluginContext) -> Finding:
    """Whether the image has Lua, as far as it was ever asked."""
    backend = ctx.services.get(BACKEND)
    environment = backend.environment()
    if not environment.settings.enabled:
        return _OFF
    facts = backend.facts()
    if facts.version == (0, 0, 0):
        return Finding("ok", "not known before nginx has run")
    version = ".".join(map(str, facts.version))
    if facts.lua:
        return Finding("ok", f"nginx {version} has it")
    return Finding(
        "warning",
        f"nginx {version} of {environment.settings.image} has no Lua module, which some plugins need",
        "set nginx.image to one that has it, such as openresty/openresty:alpine",
    )


def _down(ctx: PluginContext, backend: NginxBackend, environment: Environment, state: State) -> Finding:
    settings = environment.settings
    name = settings.container_name
    if state.kind not in (ABSENT, CREATED):
        return Finding("warning", f"the container {name} is stopped", f"`docker start {name}` starts it")
    taken = [
        port
        for port in (settings.http_port, settings.https_port)
        if ports.is_taken(settings.bind_address, port)
    ]
    if taken and not settings.external:
        numbers = " and ".join(map(str, taken))
        return Finding(
            "error",
            f"nginx does not run, and something else has port {numbers}",
            "stop it, or set nginx.http_port, nginx.https_port or nginx.bind_address",
        )
    if settings.external:
        return Finding("error", f"there is no container {name} (nginx.external)", "start it")
    if not backend.virtual_hosts():
        return Finding("ok", "not needed before the first site")
    return _not_started(ctx, backend, settings, state)


def _not_started(ctx: PluginContext, backend: NginxBackend, settings: NginxSettings, state: State) -> Finding:
    if backend.container.image_id(settings.image) is False:
        return Finding(
            "error",
            f"nginx does not run: its image {settings.image} is not on this host",
            f"`docker pull {settings.image}` says why it cannot be had; or set nginx.image to another one",
        )
    name = settings.container_name
    missing = f"the container {name} was removed" if backend.was_made() else f"{name} has not been made yet"
    why = _start_error(ctx, state) or (missing if state.kind == ABSENT else f"{name} was never started")
    return Finding(
        "error",
        f"nginx does not run: {why}",
        "the next change of a site or start of the panel tries again",
    )


def _last_line(ctx: PluginContext, state: State) -> str:
    try:
        lines = ctx.services.get(ENGINE).logs(state.id, tail=1)
    except FlatrunError as exc:
        return exc.message
    return lines[-1].line.strip() if lines else "it prints nothing"


def _start_error(ctx: PluginContext, state: State) -> str:
    if not state.id:
        return ""
    try:
        document = ctx.services.get(ENGINE).inspect(state.id)
    except FlatrunError:
        return ""
    return str((document.get("State") or {}).get("Error") or "")
