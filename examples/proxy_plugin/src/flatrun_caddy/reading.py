"""What Caddy understood, compared with what was meant: a word read in another way stops here.

Both sides are a mapping from a place (a port with the names that are answered there) to what is done,
in order: each step is its conditions and its handler, as they stand in Caddy's JSON.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from flatrun_caddy.blocks import Block
from flatrun_caddy.caddyfile import DIAL_TIMEOUT, HTTPS_PORT, KEEPALIVE, limit, pattern, secure, target
from flatrun_caddy.settings import Layout
from flatrun_core.ports.proxy import Route

Reading = Mapping[str, Any]

_UNCLEAR: Final = "(?i)^[^?]*(//|/[.][.]?(/|[?]|$)|%2[ef]|%5c|%[46][1-9a-f]|%[57][0-9a]|%3[0-9])"
_SECOND: Final = 1_000_000_000  # Caddy's JSON has nanoseconds
# What differs with the release or the file's name and decides nothing.
_INCIDENTAL: Final = {"group", "hide", "name"}


def difference(meant: Reading, read: Reading) -> str:
    """One sentence on the first place where the two differ; empty when they are the same."""
    for place in sorted({*meant, *read}):
        if meant.get(place) != read.get(place):
            return f"Caddy reads {place} in another way than it was meant: {read.get(place)}"
    return ""


def reading(config: Mapping[str, Any]) -> Reading:
    """What Caddy's JSON says. Raises ``LookupError``, ``TypeError`` or ``AttributeError`` for other JSON."""
    apps = dict(config["apps"])
    http, tls = dict(apps.pop("http")), dict(apps.pop("tls", {}))
    files = tls.pop("certificates", {}).get("load_files", [])
    pairs = {tag: (one["certificate"], one["key"]) for one in files for tag in one["tags"]}
    found: dict[str, Any] = {}
    for server in http.pop("servers").values():
        rest = dict(server)
        at = " ".join(rest.pop("listen"))
        for route in rest.pop("routes"):
            more = {name: value for name, value in route.items() if name not in ("match", "handle")}
            found[_place(at, route)] = {**more, "steps": list(_steps(route["handle"], ()))}
        for policy in rest.pop("tls_connection_policies", []):
            found[f"{at} TLS {_names(policy, 'sni')}"] = _pairs(policy, pairs)
        found[at] = rest
    rest = {name: value for name, value in config.items() if name != "apps"}
    return {**found, "options": {**rest, **http}, "others": {**apps, **tls}}


def _place(at: str, route: Mapping[str, Any]) -> str:
    names = [_names(one, "host") for one in route.get("match", [{}])]
    return f"{at} {' or '.join(names)}"


def _names(holder: Mapping[str, Any], kind: str) -> str:
    match = holder.get("match", {}) if kind == "sni" else holder
    if set(match) - {kind}:
        return f"{sorted(match)}"
    return " ".join(match.get(kind, ["(others)"]))


def _pairs(policy: Mapping[str, Any], pairs: Mapping[str, Any]) -> list[Any]:
    tags = policy.get("certificate_selection", {}).get("any_tag", [])
    more = {name: value for name, value in policy.items() if name not in ("match", "certificate_selection")}
    return [*(pairs[tag] for tag in tags), *([more] if more else [])]


def _steps(handlers: Sequence[Mapping[str, Any]], conditions: tuple[Any, ...]) -> Iterator[Any]:
    """Handlers in order, with those of nested routes in their place."""
    for handler in handlers:
        if handler["handler"] != "subroute":
            yield conditions, _plain(handler)
            continue
        for route in handler["routes"]:
            own = {name: value for name, value in _plain(route).items() if name != "handle"}
            yield from _steps(route["handle"], (*conditions, own) if own else conditions)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items() if name not in _INCIDENTAL}
    if isinstance(value, list | tuple):
        return type(value)(_plain(inner) for inner in value)
    return value


def meant(layout: Layout, blocks: Sequence[Block]) -> Reading:
    """What Caddy's JSON must say for these blocks."""
    found: dict[str, Any] = {}
    host = f"[{layout.bind}]" if ":" in layout.bind else layout.bind
    ports = {"http": layout.http_port, "https": layout.https_port}
    for block in blocks:
        at = f"{host}:{ports[block.scheme]}"
        names = " ".join(block.names or ("(others)",))
        found[f"{at} {names}"] = {"terminal": True, "steps": list(_answers(layout, block))}
        if block.scheme == "https":
            pair = [(str(block.tls.chain), str(block.tls.key))] if block.tls else []
            found[f"{at} TLS {names}"] = pair
        found[at] = {"automatic_https": {"disable": True}, "protocols": ["h1", "h2"]}
    options = {
        "admin": {"listen": layout.admin},
        "http_port": layout.http_port,
        "https_port": layout.https_port,
    }
    return {**found, "options": options, "others": {}}


def _answers(layout: Layout, block: Block) -> Iterator[Any]:
    if block.scheme == "http":
        challenges = ({"match": [{"path": ["/.well-known/acme-challenge/*"]}]},)
        yield challenges, {"handler": "vars", "root": str(layout.webroot)}
        yield challenges, {"handler": "file_server"}
    if block.hsts:
        sent = {"set": {"Strict-Transport-Security": [block.hsts]}}
        yield (), {"handler": "headers", "response": sent}
    if block.strict:
        unclear = {"vars_regexp": {"{http.request.uri}": {"pattern": _UNCLEAR}}}
        yield ({"match": [unclear]},), {"handler": "error", "status_code": 400}
    for route in block.routes:
        where = {"match": [{"path_regexp": {"pattern": pattern(route)}}]}
        conditions = () if route.path == "/" else (where,)
        yield from ((conditions, handler) for handler in _handlers(layout, route))
    yield (), _last(layout, block)


def _last(layout: Layout, block: Block) -> Mapping[str, Any]:
    if block.redirect:
        port = "" if layout.https_port == HTTPS_PORT else f":{layout.https_port}"
        to = f"https://{{http.request.host}}{port}{{http.request.uri}}"
        return {"handler": "static_response", "headers": {"Location": [to]}, "status_code": 301}
    if block.routes:
        return {"handler": "error", "status_code": 404}
    return {"handler": "static_response", "abort": True}


def _handlers(layout: Layout, route: Route) -> Iterator[Mapping[str, Any]]:
    if limit(route):
        yield {"handler": "request_body", "max_size": limit(route)}
    sent: dict[str, Any] = {"set": {"X-Real-Ip": ["{http.request.remote.host}"]}}
    if route.strip_prefix:
        yield {"handler": "rewrite", "strip_path_prefix": route.path}
        sent["set"]["X-Forwarded-Prefix"] = [route.path]
    else:
        sent["delete"] = ["X-Forwarded-Prefix"]
    transport = {
        "protocol": "http",
        "dial_timeout": DIAL_TIMEOUT * _SECOND,
        "response_header_timeout": route.timeout * _SECOND,
        "read_timeout": (route.timeout + KEEPALIVE) * _SECOND,
        "write_timeout": route.timeout * _SECOND,
        "keep_alive": {"idle_timeout": KEEPALIVE * _SECOND},
    }
    if secure(route):
        transport["tls"] = {"insecure_skip_verify": True}
    yield {
        "handler": "reverse_proxy",
        "headers": {"request": sent},
        "transport": transport,
        "upstreams": [{"dial": target(route, layout)}],
    }
