"""What Caddy understood, compared with what was meant: a word read in another way stops here.

Both sides are a mapping from a place (a port with the names that are answered there) to what is done,
in order: each step is its conditions and its handler, as they stand in Caddy's JSON.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from flatrun_caddy.blocks import Block
from flatrun_caddy.caddyfile import DIAL_TIMEOUT, HTTPS_PORT, KEEPALIVE, limit, pattern, secure, target
from flatrun_caddy.settings import Layout
from flatrun_core.ports.proxy import Route

Reading = Mapping[str, Any]

_UNCLEAR: Final = "(?i)^[^?]*(//|/[.][.]?(/|[?]|$)|%2[ef]|%5c|%[46][1-9a-f]|%[57][0-9a]|%3[0-9])"
_SECOND: Final = 1_000_000_000  # Caddy's JSON has nanoseconds
_OTHERS: Final = "(others)"
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
    files = tls.pop("certificates", {"load_files": []})
    pairs = {tag: _without(one, "tags") for one in files["load_files"] for tag in one["tags"]}
    found: dict[str, Any] = {}
    for server in http.pop("servers").values():
        rest = dict(server)
        at = " ".join(rest.pop("listen"))
        answered, shown = rest.pop("routes"), rest.pop("tls_connection_policies", [])
        for route in answered:
            found[f"{at} {_hosts(route)}"] = _answer(route)
        for policy in shown:
            found[f"{at} TLS {_names(policy, 'sni')}"] = _pairs(policy, pairs)
        found[f"{at} order"] = _in_order(map(_hosts, answered)) and _in_order(
            _names(policy, "sni") for policy in shown
        )
        found[at] = rest
    others = {**apps, **tls, **_without(files, "load_files")}
    return {**found, "options": {**_without(config, "apps"), **http}, "others": others}


def _without(holder: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in holder.items() if name not in names}


def _in_order(places: Iterable[str]) -> bool:
    """Whether the first that fits is the right one: names, then wildcards, then all others."""
    ranks = [2 if place == _OTHERS else int("*" in place) for place in places]
    return ranks == sorted(ranks)


def _hosts(route: Mapping[str, Any]) -> str:
    return " or ".join(_names({"match": one}, "host") for one in route.get("match", [{}]))


def _answer(route: Mapping[str, Any]) -> Mapping[str, Any]:
    steps = list(_steps(route["handle"], ()))
    more = _without(route, "match", "handle")
    # Nothing comes after the others, so it is the same whether they are the last.
    return {**more, "terminal": more.get("terminal", _hosts(route) == _OTHERS), "steps": steps}


def _names(holder: Mapping[str, Any], kind: str) -> str:
    match = holder.get("match", {})
    return str(sorted(match.items())) if set(match) - {kind} else " ".join(match.get(kind, [_OTHERS]))


def _pairs(policy: Mapping[str, Any], pairs: Mapping[str, Any]) -> list[Any]:
    chosen = policy.get("certificate_selection", {})
    more = {**_without(policy, "match", "certificate_selection"), **_without(chosen, "any_tag")}
    return [*(pairs[tag] for tag in chosen.get("any_tag", [])), *([more] if more else [])]


def _steps(handlers: Sequence[Mapping[str, Any]], conditions: tuple[Any, ...]) -> Iterator[Any]:
    """Handlers in order, with those of nested routes in their place."""
    for handler in handlers:
        if handler["handler"] != "subroute":
            yield conditions, _plain(handler)
            continue
        if more := _without(handler, "handler", "routes"):
            yield conditions, more
        for route in handler["routes"]:
            own = _plain(_without(route, "handle"))
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
        names = " ".join(block.names or (_OTHERS,))
        found[f"{at} {names}"] = {"terminal": True, "steps": list(_answers(layout, block))}
        if block.scheme == "https":
            tls = block.tls
            pair = [{"certificate": str(tls.chain), "key": str(tls.key)}] if tls else []
            found[f"{at} TLS {names}"] = pair
        found[f"{at} order"] = True
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
