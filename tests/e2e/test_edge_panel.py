"""The panel under a domain of its own, through the proxy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flatrun_e2e.authority import OwnAuthority
from flatrun_e2e.edge import Edge
from flatrun_e2e.sites import compose_of
from flatrun_e2e.visitors import FIRST, SECOND, Visitors, visitors_of

HOST = "panel.example.test"
PASSWORD = "the administrator's own pass phrase"
StartEdge = Callable[..., Edge]


@pytest.fixture
def edge(start_edge: StartEdge) -> Edge:
    """Return a panel that is served under a domain of its own, by plain HTTP."""
    started = start_edge(
        settings={"domain": {"panel_domain": HOST, "panel_ssl": False}},
        env={"FLATRUN_ADMIN_PASSWORD": PASSWORD},
    )
    started.wait(HOST, 200, "/api/health", seconds=60)
    return started


@pytest.fixture
def visitors(edge: Edge) -> Iterator[Visitors]:
    with visitors_of(edge.container()["State"]["Pid"]) as made:
        yield made


def test_the_api_answers_under_the_panels_domain(edge: Edge) -> None:
    assert edge.visit(HOST, "/api/health").json()["status"] == "ok"
    assert edge.visit(HOST, "/api/deployments").status == 401
    key = {"Authorization": f"Bearer {edge.panel.key}"}
    assert edge.visit(HOST, "/api/deployments", headers=key).json() == []


def test_a_deployment_cannot_take_the_panels_domain(
    edge: Edge, unique_name: str, application_image: str
) -> None:
    edge.site(unique_name, application_image)
    answer = edge.ask_add(unique_name, HOST)
    assert (answer.status_code, answer.json()["code"]) == (409, "DOMAIN_EXISTS")
    assert edge.status(HOST, "/api/health") == 200


def test_logs_arrive_while_they_are_written(edge: Edge, unique_name: str, busybox_image: str) -> None:
    talk = {"command": ["sh", "-c", "i=0; while true; do echo line $i; i=$((i+1)); sleep 0.2; done"]}
    body = {"name": unique_name, "compose": compose_of(busybox_image, web=talk), "auto_start": True}
    assert edge.panel.post("/api/deployments", body).status_code == 201
    path = f"/api/deployments/{unique_name}/logs?follow=true"
    request = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {edge.panel.key}\r\n\r\n"
    seen = b""
    with edge.connect(HOST) as there:
        there.sendall(request.encode())
        # It never ends by itself: whatever is seen came while it was written.
        while seen.count(b"event: log") < 10:
            part = there.recv(65536)
            assert part, seen
            seen += part
    assert b"text/event-stream" in seen


def test_the_record_names_the_visitor_and_nobody_who_is_made_up(edge: Edge, visitors: Visitors) -> None:
    body = json.dumps({"username": "admin", "password": "wrong"})
    told = ("-H", "Content-Type: application/json", "-d", body)
    spoofed = ("-H", "X-Forwarded-For: 203.0.113.9", "-H", "X-Real-IP: 203.0.113.9")
    for address, more in ((FIRST, ()), (SECOND, spoofed)):
        answer = visitors.curl(address, f"http://{HOST}/api/auth/login", *told, *more)
        assert "error" in json.loads(answer)
    events = edge.panel.get("/api/audit/events?success=false").json()["events"]
    assert [event["client_ip"] for event in events if event["action"] == "auth.login"] == [SECOND, FIRST]


@pytest.fixture
def secure(start_edge: StartEdge, tmp_path: Path) -> tuple[Edge, Path]:
    """Return a panel with a certificate for its domain, and the root to check it with."""
    started = start_edge(settings={"domain": {"panel_domain": HOST, "panel_ssl": True}})
    authority = OwnAuthority(tmp_path / "authority")
    authority.leave(started.folder, HOST)
    started.panel.restart()
    started.wait(HOST, 301, seconds=60)
    return started, authority.root


def test_the_panel_is_served_by_tls(secure: tuple[Edge, Path]) -> None:
    edge, root = secure
    assert edge.visit(HOST, "/api/health", root=root).json()["status"] == "ok"
    assert edge.visit(HOST, "/api/health").headers["Location"].startswith(f"https://{HOST}")
