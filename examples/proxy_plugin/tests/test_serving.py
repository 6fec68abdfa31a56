"""The real Caddy serves what the backend wrote: names, paths, certificates, reloads that nobody notices."""

import http.client
import json
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flatrun_caddy.backend import CaddyBackend
from flatrun_caddy.program import CaddyProgram
from flatrun_caddy.settings import Layout
from flatrun_core import Failed
from flatrun_core.ports.proxy import PANEL, Host, Route, Site, Tls
from flatrun_core.testing.pem import self_signed

pytestmark = pytest.mark.e2e

LIMIT = 20  # seconds
Ask = Callable[..., tuple[int, Any, dict[str, str]]]


@pytest.fixture
def backend(caddy: Any, root: Path) -> CaddyBackend:
    found: CaddyBackend = caddy.backend(root)
    return found


@pytest.fixture
def ask(caddy: Any) -> Ask:
    """Return a function that sends a request for a host, and gives status, JSON (or text) and headers."""

    def send(
        host: str, path: str = "/", *, headers: dict[str, str] | None = None, body: Any = None, port: int = 0
    ) -> tuple[int, Any, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", port or caddy.http_port, timeout=LIMIT)
        try:
            sent = {"Host": host, **(headers or {})}
            connection.request("GET" if body is None else "POST", path, body=body, headers=sent)
            answer = connection.getresponse()
            data = answer.read()
            is_json = data.startswith(b"{")
            return answer.status, json.loads(data) if is_json else data.decode(), dict(answer.headers)
        finally:
            connection.close()

    return send


def routed(deployment: str, *routes: Route, aliases: tuple[str, ...] = (), tls: Tls | None = None) -> Site:
    return Site(deployment, (Host(f"{deployment}.example.com", aliases, routes, tls),))


def to(target: Any, path: str = "/", **more: Any) -> Route:
    return Route(path, "localhost", target.port, **more)


def handshake(port: int, name: str, trusted: Path) -> tuple[ssl.SSLSocket, str]:
    """Connect by TLS and trust one certificate alone; the connection and its protocol."""
    context = ssl.create_default_context(cafile=str(trusted))
    context.set_alpn_protocols(["h2", "http/1.1"])
    raw = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
    try:
        connection = context.wrap_socket(raw, server_hostname=name)
    except BaseException:
        raw.close()
        raise
    return connection, connection.selected_alpn_protocol() or ""


def test_each_name_leads_to_its_own_application(
    backend: CaddyBackend, ask: Ask, target: Callable[[str], Any]
) -> None:
    blog, shop = target("blog"), target("shop")
    sites = [routed("blog", to(blog), aliases=("*.blog.example.com",)), routed("shop", to(shop))]
    assert backend.apply(sites, {"blog"}, False).serving
    assert ask("blog.example.com")[1]["name"] == "blog"
    assert ask("any.blog.example.com")[1]["name"] == "blog"
    assert ask("shop.example.com")[1]["name"] == "shop"
    assert backend.apply(sites[:1], {"shop"}, False).serving
    with pytest.raises((http.client.HTTPException, OSError)):
        ask("shop.example.com")
    assert ask("blog.example.com")[1]["name"] == "blog"


def test_applications_learn_who_asked_and_nothing_that_was_made_up(
    backend: CaddyBackend, ask: Ask, target: Callable[[str], Any]
) -> None:
    backend.apply([routed("blog", to(target("blog")))], {"blog"}, False)
    names = ("X-Forwarded-For", "X-Real-IP", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Prefix")
    _, told, _ = ask("blog.example.com", "/a?b=%20c", headers=dict.fromkeys(names, "192.0.2.1"))
    assert told["path"] == "/a?b=%20c"
    headers = {name.lower(): value for name, value in told["headers"].items()}
    assert headers["host"] == "blog.example.com"
    assert [headers.get(name.lower()) for name in names] == [
        *("127.0.0.1", "127.0.0.1", "http", "blog.example.com"),
        None,
    ]


def test_a_path_leads_to_what_is_below_it_and_is_stripped(
    backend: CaddyBackend, ask: Ask, target: Callable[[str], Any]
) -> None:
    web, api = target("web"), target("api")
    backend.apply([routed("blog", to(web), to(api, "/api", strip_prefix=True))], {"blog"}, False)
    for asked, name, seen in (
        *(("/api", "api", "/"), ("/api/", "api", "/"), ("/api/x/y?q=//", "api", "/x/y?q=//")),
        *(("/api?q=1", "api", "/?q=1"), ("/api/a%20b%2Bc", "api", "/a%20b%2Bc")),
        *(("/apix", "web", "/apix"), ("/API/x", "web", "/API/x"), ("/api-docs", "web", "/api-docs")),
    ):
        _, told, _ = ask("blog.example.com", asked)
        assert (told["name"], told["path"]) == (name, seen)
        assert told["headers"].get("X-Forwarded-Prefix") == ("/api" if name == "api" else None)


def test_a_path_of_every_character_that_a_path_may_have_is_stripped(
    backend: CaddyBackend, ask: Ask, target: Callable[[str], Any]
) -> None:
    odd = "/~a.b_c-d!*+,=:@&/-"
    backend.apply([routed("blog", to(target("odd"), odd, strip_prefix=True))], {"blog"}, False)
    for asked, seen in ((odd, "/"), (f"{odd}/x", "/x"), (odd.replace("+", "%2B") + "/x", "/x")):
        _, told, _ = ask("blog.example.com", asked)
        assert told["path"] == seen
    for other in (odd.replace(".", "x"), odd.replace("*", "cd"), f"{odd}x"):
        assert ask("blog.example.com", other)[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        *("/api//x", "//api/x", "/api/../x", "/x/../api/y", "/./api/x", "/api/%2e%2e/x", "/api/..%2fx"),
        *("/%61pi/x", "/api%2fx", "/api\\x", "/api/%5c..%5cx", "/api/..", "/api/."),
    ],
)
def test_a_path_that_can_be_read_in_two_ways_is_refused(
    backend: CaddyBackend, ask: Ask, target: Callable[[str], Any], path: str
) -> None:
    web, api = target("web"), target("api")
    backend.apply([routed("blog", to(web), to(api, "/api", strip_prefix=True))], {"blog"}, False)
    assert ask("blog.example.com", path)[0] == 400


def test_where_one_application_gets_every_path_it_gets_them_as_they_came(
    backend: CaddyBackend, ask: Ask, target: Callable[[str], Any]
) -> None:
    backend.apply([routed("blog", to(target("blog")))], {"blog"}, False)
    for path in ("/a//b", "/a%2Fb", "/%61", "/web/2026/https://example.org/"):
        assert ask("blog.example.com", path)[1]["path"] == path


def test_a_path_that_nobody_routed_is_not_found(
    backend: CaddyBackend, ask: Ask, target: Callable[[str], Any]
) -> None:
    backend.apply([routed("blog", to(target("api"), "/api"))], {"blog"}, False)
    assert ask("blog.example.com", "/api/x")[1]["path"] == "/api/x"
    assert ask("blog.example.com", "/")[0] == 404


def test_a_body_over_the_limit_never_reaches_the_application_whole(
    backend: CaddyBackend, ask: Ask, target: Callable[[str], Any]
) -> None:
    blog = target("blog")
    backend.apply([routed("blog", to(blog, max_body=1000))], {"blog"}, False)
    assert ask("blog.example.com", body=b"x" * 1000)[0] == 200
    # Which of the two depends on who notices first: the one that reads, or the one that writes.
    assert ask("blog.example.com", body=b"x" * 1001)[0] in (413, 502)
    backend.apply([routed("blog", to(blog, max_body=0))], {"blog"}, False)
    assert ask("blog.example.com", body=b"x" * 5_000_000)[0] == 200
    assert blog.bodies == [1000, 5_000_000]


def test_an_application_that_does_not_answer_in_time_is_given_up(
    backend: CaddyBackend, ask: Ask, target: Callable[[str], Any]
) -> None:
    blog = target("blog")
    backend.apply([routed("blog", to(blog, timeout=1))], {"blog"}, False)
    assert ask("blog.example.com", "/never")[0] == 504
    blog.go.set()
    assert ask("blog.example.com", "/never")[0] == 200


def test_a_target_that_is_away_is_told_from_a_name_that_is_not_served(
    backend: CaddyBackend, ask: Ask, closed_port: int
) -> None:
    backend.apply([routed("blog", Route("/", "localhost", closed_port))], {"blog"}, False)
    assert ask("blog.example.com")[0] == 502


def test_a_websocket_passes_both_ways(
    backend: CaddyBackend, caddy: Any, target: Callable[[str], Any]
) -> None:
    backend.apply([routed("blog", to(target("blog")))], {"blog"}, False)
    with socket.create_connection(("127.0.0.1", caddy.http_port), timeout=LIMIT) as raw:
        raw.sendall(
            b"GET /ws HTTP/1.1\r\nHost: blog.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        reader = raw.makefile("rb")
        assert reader.readline().startswith(b"HTTP/1.1 101")
        while reader.readline() != b"\r\n":
            pass
        for text in (b"there\n", b"and back\n"):
            raw.sendall(text)
            assert reader.readline() == text
        reader.close()


def test_a_reload_drops_no_answer_that_is_on_its_way(
    backend: CaddyBackend, caddy: Any, ask: Ask, target: Callable[[str], Any]
) -> None:
    blog = target("blog")
    backend.apply([routed("blog", to(blog))], {"blog"}, False)
    connection = http.client.HTTPConnection("127.0.0.1", caddy.http_port, timeout=LIMIT)
    connection.request("GET", "/stream", headers={"Host": "blog.example.com"})
    answer = connection.getresponse()
    # The first part comes through at once, long before there is a second one.
    assert answer.read1(100) == b"first"
    applied = backend.apply([routed("blog", to(blog)), routed("shop", to(target("shop")))], {"shop"}, False)
    assert applied.reloaded
    assert ask("shop.example.com")[1]["name"] == "shop"
    blog.go.set()
    assert answer.read() == b"last"
    connection.close()


def test_a_host_with_a_certificate_is_served_with_it_and_plain_http_leads_there(
    backend: CaddyBackend, caddy: Any, ask: Ask, target: Callable[[str], Any], root: Path
) -> None:
    tls = self_signed(root / "pem", "shop.example.com")
    sites = [routed("shop", to(target("shop")), tls=tls), routed("blog", to(target("blog")))]
    backend.apply(sites, {"shop"}, False)
    connection, protocol = handshake(caddy.https_port, "shop.example.com", tls.chain)
    assert protocol == "h2"
    connection.close()
    status, _, headers = ask("shop.example.com", "/a?b")
    assert (status, headers["Location"]) == (301, f"https://shop.example.com:{caddy.https_port}/a?b")
    assert ask("blog.example.com")[0] == 200
    for other in ("blog.example.com", "unknown.example.com"):
        with pytest.raises((ssl.SSLError, OSError)):
            handshake(caddy.https_port, other, tls.chain)


def test_a_host_with_a_certificate_is_answered_by_its_application(
    backend: CaddyBackend, caddy: Any, target: Callable[[str], Any], root: Path
) -> None:
    tls = self_signed(root / "pem", "shop.example.com")
    backend.apply([routed("shop", to(target("shop")), tls=tls)], {"shop"}, False)
    context = ssl.create_default_context(cafile=str(tls.chain))
    raw = socket.create_connection(("127.0.0.1", caddy.https_port), timeout=LIMIT)
    with context.wrap_socket(raw, server_hostname="shop.example.com") as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    assert "Strict-Transport-Security: max-age=63072000\r\n" in answer
    assert '"X-Forwarded-Proto": "https"' in answer


def test_a_certificate_renewed_in_its_place_is_the_one_that_is_shown(
    backend: CaddyBackend, caddy: Any, target: Callable[[str], Any], root: Path
) -> None:
    shop = target("shop")
    for _ in range(2):
        tls = self_signed(root / "pem", "shop.example.com")
        assert backend.apply([routed("shop", to(shop), tls=tls)], {"shop"}, False).reloaded
        connection, _ = handshake(caddy.https_port, "shop.example.com", tls.chain)
        connection.close()


def test_an_authority_s_challenge_is_answered_under_every_name(
    backend: CaddyBackend, ask: Ask, target: Callable[[str], Any], root: Path
) -> None:
    folder = root / "nginx/html/.well-known/acme-challenge"
    folder.mkdir(parents=True)
    (folder / "token").write_text("token.thumbprint")
    tls = self_signed(root / "pem", "shop.example.com")
    sites = [routed("shop", to(target("shop")), tls=tls), routed("blog", to(target("blog"), "/api"))]
    backend.apply(sites, {"shop"}, False)
    for host in ("shop.example.com", "blog.example.com", "unknown.example.com"):
        assert ask(host, "/.well-known/acme-challenge/token")[:2] == (200, "token.thumbprint")
    for way_out in ("../" * 5, "%2e%2e/" * 5, "..%2f" * 5):
        path = f"/.well-known/acme-challenge/{way_out}caddy/Caddyfile"
        assert ask("shop.example.com", path)[0] in (301, 404)
        assert ask("blog.example.com", path)[0] in (400, 404)


def test_the_panel_is_reached_by_its_socket(
    backend: CaddyBackend, ask: Ask, root: Path, panel_socket: Callable[[Path, str], None]
) -> None:
    panel_socket(root / ".flatrun/proxy/panel.sock", "the panel")
    site = Site(PANEL, (Host("panel.example.com", (), (Route("/", PANEL, 8090),)),))
    backend.apply([site], {PANEL}, False)
    status, told, _ = ask("panel.example.com", "/api/health")
    assert (status, told["name"], told["path"]) == (200, "the panel", "/api/health")


def test_a_change_that_caddy_refuses_leaves_everybody_served(
    backend: CaddyBackend, ask: Ask, target: Callable[[str], Any], root: Path
) -> None:
    blog = target("blog")
    backend.apply([routed("blog", to(blog))], {"blog"}, False)
    tls = self_signed(root / "pem", "shop.example.com")
    tls.key.write_text("no key")
    with pytest.raises(Failed):
        backend.apply([routed("blog", to(blog)), routed("shop", to(blog), tls=tls)], {"shop"}, False)
    assert ask("blog.example.com")[1]["name"] == "blog"


def test_a_caddy_that_starts_later_serves_what_was_written_before(
    caddy: Any,
    ask: Ask,
    target: Callable[[str], Any],
    root: Path,
    start_caddy: Callable[[Layout], None],
    free_ports: Callable[[int], list[int]],
) -> None:
    ports = dict(zip(("http_port", "https_port"), free_ports(2), strict=True))
    layout = replace(caddy.layout(root), admin=f"unix/{root / 'caddy' / 'admin.sock'}", **ports)
    backend = CaddyBackend(lambda: layout, CaddyProgram(caddy.programs))
    applied = backend.apply([routed("blog", to(target("blog")))], {"blog"}, False)
    assert (applied.changed, applied.serving) == (True, False)
    start_caddy(layout)
    assert ask("blog.example.com", port=layout.http_port)[1]["name"] == "blog"
    assert backend.apply([routed("blog", to(target("blog")))], {"blog"}, False).serving


def test_the_running_caddy_is_told_apart_from_one_that_is_away(
    backend: CaddyBackend, caddy: Any, target: Callable[[str], Any]
) -> None:
    backend.apply([routed("blog", to(target("blog")))], {"blog"}, False)
    assert backend.endpoints().http == (("127.0.0.1", caddy.http_port),)
    assert backend.endpoints().https == (("127.0.0.1", caddy.https_port),)
