"""A path prefix is no way around its neighbours, however the path is spelled."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Iterator
from urllib.parse import unquote

import pytest
from flatrun_e2e.edge import Answer, Edge
from flatrun_e2e.traces import Traces

HOST = "strip.example.test"
# Path, service, and whether the prefix is stripped.
ROUTES = (
    ("/", "web", False),
    ("/app", "app", True),
    ("/admin", "admin", False),
    ("/app/deep", "deep", True),
)
DOTS = (".", "..", "%2e", "%2e%2e", ".%2e", "%2E.", "..;", "..%2f", "..%5c", "..%2f..")
STEPS = (*DOTS, "", "/", "%2f", "%5c", "%0a", "%0d%0a")
STARTS = ("/app", "/admin", "/app/deep", "/app%2fdeep", "/%61pp", "/aPP", "/app;x", "/apps", "")
ENDS = ("admin", "admin/", "app/x", "x", "")


@pytest.fixture(scope="module")
def edge(module_edge: Edge, application_image: str) -> Iterator[Edge]:
    """Return a proxy where four services share a host."""
    name = f"e2e-{secrets.token_hex(4)}"
    services = {service: {"environment": {"NAME": service}} for _, service, _ in ROUTES}
    module_edge.site(name, application_image, **services)
    for path, service, strip in ROUTES:
        module_edge.add(name, HOST, path=path, service=service, strip_prefix=strip)
    for path, _, _ in ROUTES:
        module_edge.wait(HOST, 200, path if path == "/" else f"{path}/")
    yield module_edge
    Traces(module_edge.engine).remove({name})


def resolved(path: str) -> str | None:
    """Return what a path means: decoded once, without dots and double slashes; None above the root."""
    parts: list[str] = []
    steps = unquote(path, errors="surrogateescape").split("/")
    for step in steps:
        if step == "..":
            if not parts:
                return None
            parts.pop()
        elif step not in {"", "."}:
            parts.append(step)
    ends = "/" if parts and steps[-1] in {"", ".", ".."} else ""
    return "/" + "/".join(parts) + ends


def belongs(path: str, prefix: str) -> bool:
    """Return whether a path is a prefix or below it."""
    return prefix in {"/", path} or path.startswith(prefix + "/")


def route_of(path: str) -> tuple[str, str, bool]:
    """Return the service that an unambiguous path belongs to, its prefix, and whether that is cut off."""
    meant = resolved(path) or "/"
    fitting = [route for route in ROUTES if belongs(meant, route[0])]
    prefix, service, strip = max(fitting, key=lambda route: len(route[0]))
    return service, prefix, strip


def spellings() -> list[str]:
    """Return every spelling to try."""
    once = itertools.product(STARTS, STEPS, ENDS)
    twice = itertools.product(STARTS, STEPS, STEPS)
    made = {f"{start}/{one}/{two}/admin" for start, one, two in twice}
    for start, step, end in once:
        made |= {f"{start}/{step}/{end}", f"{start}{step}{end}", f"{start}{step}/{end}"}
    return sorted(path for path in made if path.startswith("/"))


def ambiguous(path: str) -> bool:
    """Return whether a path can be read in two ways, so that it must be refused."""
    if any(step.split(";")[0] in {".", ".."} for step in re.split(r"[/\\]", unquote(path))):
        return True
    meant = resolved(path)
    if meant is None or path.startswith("//"):
        return True
    prefix = max((one for one, _, _ in ROUTES if belongs(meant, one)), key=len)
    return prefix != "/" and not belongs(path, prefix)


def verdict(path: str, answer: Answer) -> str:
    """Return what is wrong with an answer, empty when nothing is."""
    if ambiguous(path):
        return "" if answer.status == 400 and not answer.application else f"not refused: {answer.status}"
    service, prefix, strip = route_of(path)
    if answer.application != service:
        return f"answered by {answer.application} ({answer.status}), not by {service}"
    sent = f"/{path.removeprefix(prefix).lstrip('/')}" if strip else path
    arrived = str(answer.json()["target"])
    return "" if arrived == sent else f"{arrived} arrived, not {sent}"


def test_every_spelling_reaches_whom_it_means_as_it_was_sent_or_is_refused(edge: Edge) -> None:
    paths = spellings()
    assert len(paths) > 1000
    wrong = {}
    for path in paths:
        problem = verdict(path, edge.visit(HOST, path))
        if problem:
            wrong[path] = problem
    assert wrong == {}


@pytest.mark.parametrize(
    "mark", ["%0a", "%0d%0a", "%0aX-Injected:%201", "%20HTTP/1.1%0d%0aX-Injected:%201%0d%0a"]
)
@pytest.mark.parametrize("start", ["/app/", "/admin/", "/"])
def test_a_line_break_in_a_path_adds_no_header(edge: Edge, start: str, mark: str) -> None:
    answer = edge.visit(HOST, f"{start}a{mark}b")
    if answer.application:
        assert not [name for name, _ in answer.json()["headers"] if name.lower() == "x-injected"]
        assert "\n" not in answer.json()["target"]


def test_a_query_goes_on_as_it_is(edge: Edge) -> None:
    for query in ("a=/app/../admin", "x=%0a%2e%2e", "?", "a=b%20c&d=%2F", "//"):
        assert edge.visit(HOST, f"/app/x?{query}").json()["target"] == f"/x?{query}"
        assert edge.visit(HOST, f"/admin/x?{query}").json()["target"] == f"/admin/x?{query}"
