"""docs/failed-certificate.md shows what a user really sees: each case is made, and its words compared."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from flatrun_e2e.bad_authority import BadAuthority
from flatrun_e2e.edge import Edge, wait_until
from flatrun_e2e.pebble import Pebble
from flatrun_e2e.ports import Ports

PAGE = Path(__file__).resolve().parents[2] / "docs/failed-certificate.md"
BLOCK = re.compile(r"<!-- case: (?P<case>[a-z-]+) -->\n```text\n(?P<text>.*?)```\n", re.DOTALL)
HOST = "blog.example.com"
OTHER = "127.0.0.9"
StartEdge = Callable[..., Edge]
Case = Callable[["Stage"], None]


class Stage:
    """A panel with a site, the authority that it asks, and what stands between."""

    def __init__(self, edge: Edge, pebble: Pebble, authority: BadAuthority, site: str) -> None:
        self.edge, self.pebble, self.authority, self.site = edge, pebble, authority, site

    def see(self) -> dict[str, Any]:
        """Ask for a certificate of a domain that is served, and return what the panel says of it."""
        entry = self.edge.add(self.site, HOST)["domain"]
        wait_until(lambda: self.edge.answered_by(HOST), self.site)
        path = f"/api/deployments/{self.site}/domains/{entry['id']}"
        answer = self.edge.panel.put(path, {"ssl": {"enabled": True, "auto_cert": True}})
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()["proxy_result"]
        assert (result["success"], result["certificate_exists"]) == (True, False), result
        assert self.edge.answered_by(HOST) == self.site
        return result

    def shown(self, text: str) -> str:
        """Put names of the page in the place of the test's own addresses and ports."""
        text = text.replace(self.authority.directory, "https://acme.example.net/dir")
        text = text.replace(f"{OTHER}:{self.edge.ports.http}", "198.51.100.23").replace(
            OTHER, "198.51.100.23"
        )
        text = text.replace(f"127.0.0.1:{self.edge.ports.http}", "203.0.113.7")
        text = text.replace(f"port {self.edge.ports.http}", "port 80")
        text = text.replace(f":{self.edge.ports.http}/", "/")
        text = re.sub(r"/acme-challenge/[A-Za-z0-9_-]{20,}", "/acme-challenge/...", text)
        text = re.sub(r'"[\w-]{20,}\.[\w-]{20,}"', '"..."', text)
        return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "2026-03-01 12:00", text)


def page() -> dict[str, str]:
    """Return what the page shows, case by case."""
    return {match["case"]: match["text"] for match in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))}


@contextmanager
def another_server(port: int) -> Iterator[None]:
    """Answer on another address of this machine as somebody else's server."""

    class Handler(BaseHTTPRequestHandler):
        def version_string(self) -> str:
            return "Apache"

        def do_GET(self) -> None:
            body = b"<h1>Parked</h1>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((OTHER, port), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def no_address(stage: Stage) -> None:
    stage.pebble.dns.set_servfail(HOST)


def closed(stage: Stage) -> None:
    stage.pebble.dns.add_a(HOST, OTHER)


def caa(stage: Stage) -> None:
    stage.pebble.dns.add_caa(HOST, "another-authority.example")
    # Pebble has no name for such records and looks at none. This is an authority that has and does.
    server = {"Host": urlsplit(stage.authority.directory).netloc}
    directory = stage.authority.forward("GET", "/dir", server, b"").json()
    directory["meta"]["caaIdentities"] = ["acme.example.net"]
    stage.authority.babble("^/dir$", body=json.dumps(directory).encode())
    detail = f"While processing CAA for {HOST}: CAA record for {HOST} prevents issuance"
    stage.authority.refuse("order", kind="caa", detail=detail, status=403)


def rate_limit(stage: Stage) -> None:
    stage.authority.limit(
        "order",
        retry_after="86400",
        detail="too many certificates already issued for this exact set of domains in the last 168h",
    )


def unreachable(stage: Stage) -> None:
    stage.authority.drop()


CASES: dict[str, Case] = {
    "no-address": no_address,
    "closed-port": closed,
    "another-server": closed,
    "caa": caa,
    "rate-limit": rate_limit,
    "unreachable": unreachable,
    "no-email": lambda stage: None,
}


@pytest.fixture
def start_stage(
    start_edge: StartEdge,
    start_pebble: Callable[..., Pebble],
    start_bad_authority: Callable[[Pebble], BadAuthority],
    ports: Ports,
    unique_name: str,
    application_image: str,
) -> Callable[..., Stage]:
    """Return a function that starts everything: `start_stage(email=...)`."""

    def start(**certbot: Any) -> Stage:
        pebble = start_pebble(http_port=ports.next())
        authority = start_bad_authority(pebble)
        settings = {
            "enabled": True,
            "email": "you@example.com",
            "server": authority.directory,
            "ca_file": str(pebble.ca_file),
            "resolver": pebble.dns.address,
            "http01_port": pebble.options.http_port,
            **certbot,
        }
        edge = start_edge(settings={"certbot": settings}, http_port=pebble.options.http_port)
        edge.site(unique_name, application_image)
        return Stage(edge, pebble, authority, unique_name)

    return start


def test_the_page_has_every_case_and_no_other() -> None:
    assert list(page()) == list(CASES)


@pytest.mark.parametrize("case", CASES)
def test_the_page_shows_what_is_seen(case: str, start_stage: Callable[..., Stage]) -> None:
    stage = start_stage(**({"email": ""} if case == "no-email" else {}))
    CASES[case](stage)
    if case == "another-server":
        with another_server(stage.edge.ports.http):
            result = stage.see()
    else:
        result = stage.see()
    text = "".join(f"{key}: {result[key]}\n" for key in ("ssl_message", "ssl_error") if key in result)
    assert stage.shown(text) == page()[case]


def test_a_failure_shows_in_the_list_and_for_the_doctor(start_stage: Callable[..., Stage]) -> None:
    stage = start_stage()
    closed(stage)
    stage.see()
    said = subprocess.run(
        [str(Path(sys.executable).with_name("flatrun")), "--config", str(stage.edge.panel.config), "doctor"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert f"{HOST}: could not be had" in said.stdout
    stage.pebble.dns.clear_a(HOST)
    again = stage.edge.panel.post("/api/certificates", {"domain": HOST})
    assert (again.status_code, again.json()["result"]["success"]) == (201, True), again.text
    status = stage.edge.panel.get(f"/api/proxy/status/{stage.site}").json()["status"]
    assert status["certificate_exists"] is True
