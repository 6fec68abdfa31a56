"""What ``flatrun doctor`` looks at: nginx's container, its ports, its files, and Lua."""

import errno
import socket
from collections.abc import Sequence
from typing import Final

from flatrun_core import Check, Finding, FlatrunError, PluginContext
from flatrun_core.ports.docker import ENGINE
from flatrun_nginx import quarantine, refused_certificates
from flatrun_nginx.backend import BACKEND, NginxBackend
from flatrun_nginx.container import ABSENT, CREATED, LOOPING, RUNNING, UNREACHABLE, State
from flatrun_nginx.environment import Environment

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
        return Finding("ok", f"the container {name} runs")
    if state.kind == UNREACHABLE:
        return Finding("error", f"the Docker Engine cannot be asked: {state.why}", "start the Docker Engine")
    if state.kind == LOOPING:
        last = _last_line(ctx, state)
        return Finding(
            "error",
            f"the container {name} starts again and again: {last}",
            f"`docker logs {name}` says more; the next change of a site, or start of the panel, leaves out "
            "what is broken",
        )
    return _down(ctx, backend, environment, state)


def files(ctx: PluginContext) -> Finding:
    """Whether any is left out because nginx refuses it, or served without TLS."""
    environment = ctx.services.get(BACKEND).environment()
    conf = environment.layout.conf
    held = sorted(quarantine.read(conf).values(), key=lambda one: one.name) if conf.is_dir() else []
    if held:
        told = [f"{one.deployment} ({one.reason})" for one in held]
        return Finding(
            "warning",
            f"nginx refuses {_some(told)}",
            f"mend the site's settings, or the file itself: {conf}/<name>{quarantine.SUFFIX}",
        )
    plain = [str(one) for one in refused_certificates.read(conf.parent)]
    if plain:
        return Finding("warning", _some(plain), "have the certificate issued anew, or put its files right")
    return Finding("ok", "none is left out")


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
        port for port in (settings.http_port, settings.https_port) if _is_taken(settings.bind_address, port)
    ]
    if taken and not settings.external:
        ports = " and ".join(map(str, taken))
        return Finding(
            "error",
            f"nginx does not run, and something else has port {ports}",
            "stop it, or set nginx.http_port, nginx.https_port or nginx.bind_address",
        )
    if settings.external:
        return Finding("error", f"there is no container {name} (nginx.external)", "start it")
    if not backend.virtual_hosts():
        return Finding("ok", "not needed before the first site")
    why = _start_error(ctx, state) or "it was never made"
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


def _is_taken(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((address, port))
        except OSError as exc:
            return exc.errno == errno.EADDRINUSE
    return False
