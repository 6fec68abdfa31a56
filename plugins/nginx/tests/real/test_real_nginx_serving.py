"""What visitors and applications see through the real nginx."""

import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from flatrun_core.ports.nginx import Fragment
from flatrun_core.ports.proxy import PANEL, Host, Route, Site

pytestmark = pytest.mark.e2e

APP = 8000
INVENTED = (
    *("X_Forwarded_Scheme", "X_Forwarded_Protocol", "X_Forwarded_Ssl", "X_Scheme", "X_Url_Scheme"),
    *("Front_End_Https", "True_Client_IP", "CF_Connecting_IP", "X_Client_IP", "X_Cluster_Client_IP"),
    *("X_Forwarded", "Forwarded_For", "X_Original_Host", "X_Host", "X_Forwarded_By", "X_Forwarded_Uri"),
)


@pytest.fixture(scope="module")
def apps(running_edge: Any) -> Any:
    """Two applications that run for all tests of the module."""
    for alias in ("blog-web", "blog-api"):
        running_edge.target(alias)
        running_edge.serve(blog(Route("/", alias, APP)))
        running_edge.until(lambda: running_edge.get("blog.example.com").status == 200)
    return running_edge


@pytest.fixture
def edge(apps: Any, cleared: Any) -> Any:
    return cleared


def blog(*routes: Route, host: str = "blog.example.com", **more: Any) -> Site:
    return Site("blog", (Host(host, (f"www.{host}",), routes, **more),))


def serve(edge: Any, *sites: Site) -> None:
    applied = edge.serve(*sites)
    assert applied.serving, applied.message


def stripped(edge: Any, target: str) -> str:
    answer = edge.get("blog.example.com", target)
    return str(answer.json()["target"]) if answer.status == 200 else str(answer.status)


def test_a_site_and_its_aliases_answer(edge: Any) -> None:
    serve(edge, blog(Route("/", "blog-web", APP)))
    for host in ("blog.example.com", "www.blog.example.com"):
        assert edge.get(host).headers["X-Application"] == "blog-web"


def test_a_path_matches_itself_and_what_is_below_it_only(edge: Any) -> None:
    serve(edge, blog(Route("/", "blog-web", APP), Route("/api", "blog-api", APP)))
    found = {
        target: edge.get("blog.example.com", target).headers["X-Application"]
        for target in ("/api", "/api/", "/api/x", "/api?x=1", "/api-docs", "/apix", "/x/api", "/API")
    }
    assert [target for target, name in found.items() if name == "blog-api"] == [
        "/api",
        "/api/",
        "/api/x",
        "/api?x=1",
    ]


def test_without_a_route_for_everything_the_rest_is_not_found(edge: Any) -> None:
    serve(edge, blog(Route("/api", "blog-api", APP)))
    assert edge.get("blog.example.com", "/").status == 404
    assert edge.get("blog.example.com", "/etc/passwd").status == 404


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("/app", "/"),
        ("/app/", "/"),
        ("/app?x=1&y=%2F", "/?x=1&y=%2F"),
        ("/app/x", "/x"),
        ("/app/x/?q", "/x/?q"),
        ("/app//x", "/x"),
        ("/app///", "/"),
        ("/app//", "/"),
        ("/app//?x", "/?x"),
        ("/app/a%2fb", "/a%2fb"),
        ("/app/%2Fx", "/%2Fx"),
        ("/app/http://x/", "/http://x/"),
        ("/app/x//y", "/x//y"),
        ("/app/x?a=//&b=%2e%2e/../c?d", "/x?a=//&b=%2e%2e/../c?d"),
        ("/app/...", "/..."),
        ("/app/.x/..y", "/.x/..y"),
        ("/app/a%20b", "/a%20b"),
        ("/app/a%0Ab", "/a%0Ab"),
        ("/app/%0A", "/%0A"),
        ("/app/a%3Fb", "/a%3Fb"),
        ("/app/a%23b", "/a%23b"),
        ("/app/%252e%252e/x", "/%252e%252e/x"),
        ("/app/%C3%A4", "/%C3%A4"),
        ("/app/./x", "400"),
        ("/app/y/../x", "400"),
        ("/app/..", "400"),
        ("/app/.;x", "400"),
        ("//app/x", "400"),
        ("/app%2fx", "400"),
        ("/%61pp/x", "400"),
    ],
)
def test_a_stripped_path_is_cut_off_once_and_clean(edge: Any, asked: str, sent: str) -> None:
    serve(edge, blog(Route("/app", "blog-web", APP, strip_prefix=True)))
    assert stripped(edge, asked) == sent


@pytest.mark.parametrize(
    "asked",
    [
        "/app/../private",
        "/app/%2e%2e/private",
        "/app/.%2e/private",
        "/app/..%2fprivate",
        "/app%2f..%2fprivate",
        "/app//../private",
        "/app/./../private",
        "/app/%2e%2e%2fprivate",
        "/app/x/../../private",
        "/%61pp/../private",
        "//private",
        "/./private",
        "/%70rivate",
    ],
)
def test_no_way_through_a_stripped_path_leads_around_a_guard(edge: Any, asked: str) -> None:
    guard = Fragment("location", "deny all;", site="blog", path="/private")
    edge.contributor.fragments = [guard]
    serve(
        edge,
        blog(
            Route("/", "blog-api", APP),
            Route("/app", "blog-web", APP, strip_prefix=True),
            Route("/private", "blog-web", APP),
        ),
    )
    assert edge.get("blog.example.com", asked).status == 400
    assert edge.get("blog.example.com", "/private").status == 403


@pytest.mark.parametrize(
    "asked",
    [
        "/admin/..%2fpub/",
        "/admin%2f..%2fpub/x",
        "//admin/../pub",
        "/admin;/../pub/",
        "/admin%23/../pub/",
        "/admin%3f/../pub/",
        "/admin/%2E%2e;x/pub/",
        "/admin/..%3b/../pub/",
        "/admin%5c..%5c../pub",
        "/admin\\..\\..\\pub",
        "/pub/.",
        "/pub/..?x",
        "/pub#/../admin",
        "//pub/x",
        "/%70ub/x",
        "/pub%2fx",
        "/pub#x",
        "http://blog.example.com/admin/../pub",
    ],
)
def test_what_could_be_read_in_two_ways_reaches_nobody(edge: Any, asked: str) -> None:
    serve(edge, blog(Route("/pub", "blog-web", APP)))
    answer = edge.get("blog.example.com", asked)
    assert answer.status == 400
    assert "X-Application" not in answer.headers


@pytest.mark.parametrize("asked", ["/pub", "/pub/", "/pub?x", "/pub/a%2fb", "/pub/a//b", "/pub/x?/../y"])
def test_what_can_be_read_in_one_way_only_arrives_as_it_was_sent(edge: Any, asked: str) -> None:
    serve(edge, blog(Route("/pub", "blog-web", APP)))
    assert edge.get("blog.example.com", asked).json()["target"] == asked


def test_a_host_with_one_place_takes_every_address_but_steps_of_dots(edge: Any) -> None:
    serve(edge, blog(Route("/", "blog-web", APP)))
    for asked in ("//x", "/%61", "/group%2Fproject", "/a//b", "/.well-known/x", "/a?b=../c"):
        assert edge.get("blog.example.com", asked).json()["target"] == asked
    for asked in ("/a/../b", "/a/%2e/b", "/..%2fb", "/a/.%2E;/b"):
        assert edge.get("blog.example.com", asked).status == 400
    serve(edge, blog(Route("/", "blog-web", APP), Route("/api", "blog-api", APP)))
    assert edge.get("blog.example.com", "//x").status == 400
    assert edge.get("blog.example.com", "/x//y").json()["target"] == "/x//y"


def test_a_stripped_place_passes_a_socket_and_a_body(edge: Any) -> None:
    serve(edge, blog(Route("/app", "blog-web", APP, strip_prefix=True)))
    with socket.create_connection(("127.0.0.1", edge.http_port), 10) as one:
        one.sendall(
            b"GET /app/socket HTTP/1.1\r\nHost: blog.example.com\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert one.recv(4096).startswith(b"HTTP/1.1 101 ")


def test_a_header_that_a_plugin_sets_is_set_once_and_as_it_says(edge: Any) -> None:
    edge.contributor.fragments = [
        Fragment("location", 'proxy_set_header cf-connecting-ip "192.0.2.7";', site="blog")
    ]
    serve(edge, blog(Route("/", "blog-web", APP)))
    answer = edge.get("blog.example.com", CF_Connecting_IP="203.0.113.9", X_Client_IP="203.0.113.9")
    found = [value for name, value in answer.json()["headers"] if name.lower() == "cf-connecting-ip"]
    assert found == ["192.0.2.7"]
    assert "x-client-ip" not in answer.seen()


def test_an_application_sees_who_asks_and_nothing_that_a_client_made_up(edge: Any) -> None:
    serve(edge, blog(Route("/", "blog-web", APP), Route("/app", "blog-web", APP, strip_prefix=True)))
    lies = {
        "X_Forwarded_For": "203.0.113.9",
        "X_Real_IP": "203.0.113.9",
        "X_Forwarded_Proto": "https",
        "X_Forwarded_Host": "evil.example.com",
        "X_Forwarded_Port": "444",
        "X_Forwarded_Prefix": "/evil",
        "X_Forwarded_Server": "evil",
        **dict.fromkeys(INVENTED, "203.0.113.9"),
        "Forwarded": "for=203.0.113.9",
        "Proxy": "http://evil.example.com",
        "X_Original_URL": "/admin",
        "X_Rewrite_URL": "/admin",
    }
    seen = edge.get("blog.example.com", **lies).seen()
    assert seen["host"] == "blog.example.com"
    assert seen["x-forwarded-for"].startswith("203.0.113.9, ")
    assert seen["x-real-ip"] == seen["x-forwarded-for"].split(", ")[1] != "203.0.113.9"
    assert (seen["x-forwarded-proto"], seen["x-forwarded-host"]) == ("http", "blog.example.com")
    assert seen["x-forwarded-port"] == str(edge.http_port)
    gone = {
        *(name.lower().replace("_", "-") for name in INVENTED),
        "x-forwarded-prefix",
        "x-forwarded-server",
        "forwarded",
        "proxy",
        "x-original-url",
        "x-rewrite-url",
    }
    assert not gone & seen.keys()
    assert edge.get("blog.example.com", "/app/", **lies).seen()["x-forwarded-prefix"] == "/app"


def test_a_connection_is_upgraded_only_when_asked_and_never_to_plain_http2(edge: Any) -> None:
    serve(edge, blog(Route("/", "blog-web", APP)))
    assert "upgrade" not in edge.get("blog.example.com").seen()
    asked = edge.get("blog.example.com", Upgrade="h2c", Connection="Upgrade, HTTP2-Settings").seen()
    assert "upgrade" not in asked
    assert asked.get("connection", "").lower() in ("", "close")
    with socket.create_connection(("127.0.0.1", edge.http_port), 10) as one:
        one.sendall(
            b"GET /socket HTTP/1.1\r\nHost: blog.example.com\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert one.recv(4096).startswith(b"HTTP/1.1 101 ")


def test_tls_shows_the_sites_certificate_and_plain_http_leads_there(edge: Any) -> None:
    tls = edge.certificate("blog.example.com", "www.blog.example.com")
    serve(edge, blog(Route("/", "blog-web", APP), tls=tls))
    expected = ssl.PEM_cert_to_DER_cert(tls.chain.read_text())
    assert edge.shown("blog.example.com") == expected
    secured = edge.get("blog.example.com", tls=True)
    assert secured.status == 200
    assert secured.headers["Strict-Transport-Security"] == "max-age=63072000"
    assert secured.seen()["x-forwarded-proto"] == "https"
    assert secured.seen()["x-forwarded-port"] == str(edge.https_port)
    moved = edge.get("blog.example.com", "/x?y=1")
    assert moved.status == 301
    assert moved.headers["Location"] == f"https://blog.example.com:{edge.https_port}/x?y=1"


def test_an_unknown_name_is_shown_no_certificate_and_a_welcome_page(edge: Any) -> None:
    serve(edge, blog(Route("/", "blog-web", APP), tls=edge.certificate("blog.example.com")))
    with pytest.raises(ssl.SSLError):
        edge.shown("other.example.com")
    with pytest.raises(ssl.SSLError):
        edge.shown("www.other.example.com")
    assert b"No site has this name yet" in edge.get("other.example.com").body


def test_another_name_over_a_sites_connection_is_misdirected(edge: Any) -> None:
    secured = blog(Route("/", "blog-web", APP), tls=edge.certificate("blog.example.com"))
    plain = Site("shop", (Host("shop.example.com", (), (Route("/", "blog-api", APP),)),))
    serve(edge, secured, plain)
    for asked in ("unknown.example.com", "shop.example.com", "generation.flatrun.invalid"):
        answer = edge.get("blog.example.com", "/", tls=True, Host=asked)
        assert answer.status == 421
        assert "X-Application" not in answer.headers
    assert edge.get("shop.example.com").status == 200


def test_nginx_sees_certificates_by_their_links_and_nothing_else_of_their_folder(edge: Any) -> None:
    kept = edge.certificate("blog.example.com")
    certs = edge.folder / "certs"
    live, archive = certs / "live" / "linked", certs / "archive" / "linked"
    live.mkdir()
    archive.mkdir(parents=True)
    for name, source in (("fullchain", kept.chain), ("privkey", kept.key)):
        (archive / f"{name}1.pem").write_bytes(source.read_bytes())
        (live / f"{name}.pem").symlink_to(f"../../archive/linked/{name}1.pem")
    for secret in (certs / "accounts" / "key", certs / ".flatrun" / "eab"):
        secret.parent.mkdir()
        secret.write_text("secret")
    tls = replace(kept, chain=live / "fullchain.pem", key=live / "privkey.pem")
    serve(edge, blog(Route("/", "blog-web", APP), tls=tls))
    assert edge.shown("blog.example.com") == ssl.PEM_cert_to_DER_cert(kept.chain.read_text())
    listed = edge.docker("exec", edge.name, "ls", "-A", "/etc/letsencrypt").split()
    assert sorted(listed) == ["archive", "live"]


def test_http2_is_offered(edge: Any) -> None:
    serve(edge, blog(Route("/", "blog-web", APP), tls=edge.certificate("blog.example.com")))
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", edge.https_port), 10) as plain,
        context.wrap_socket(plain, server_hostname="blog.example.com") as secured,
    ):
        assert secured.selected_alpn_protocol() == "h2"


def test_a_challenge_is_answered_whatever_guards_the_site(edge: Any) -> None:
    edge.contributor.fragments = [
        Fragment("http", "limit_req_zone $host zone=tight:1m rate=1r/m;\nlua_shared_dict seen 1m;", lua=True),
        Fragment("http", "access_by_lua_block { ngx.exit(403) }", lua=True),
        Fragment("server", "deny all;\nauth_basic closed;\nauth_basic_user_file /dev/null;", site="blog"),
        Fragment("server", "limit_req zone=tight;", site="blog"),
    ]
    serve(edge, blog(Route("/", "blog-web", APP)))
    challenge = edge.folder / "html" / ".well-known" / "acme-challenge" / "token"
    challenge.parent.mkdir(parents=True, exist_ok=True)
    challenge.write_text("proof")
    for host in ("blog.example.com", "www.blog.example.com", "unknown.example.com"):
        for _ in range(3):
            answer = edge.get(host, "/.well-known/acme-challenge/token")
            assert (answer.status, answer.body) == (200, b"proof")
    assert edge.get("blog.example.com", "/.well-known/acme-challenge/other").status == 404


def test_lua_of_fragments_answers_and_remembers(edge: Any) -> None:
    count = 'local n = ngx.shared.seen:incr("n", 1, 0)\nngx.say("visit " .. n)\n'
    edge.contributor.fragments = [
        Fragment("http", "lua_shared_dict seen 1m;", lua=True),
        Fragment("file", count, name="count.lua"),
        Fragment(
            "server",
            "location = /count { content_by_lua_file /etc/nginx/lua/count.lua; }",
            site="blog",
            lua=True,
        ),
    ]
    serve(edge, blog(Route("/", "blog-web", APP)))
    first = int(edge.get("blog.example.com", "/count").body.split()[1])
    edge.contributor.fragments[1] = Fragment("file", count.replace("visit", "look"), name="count.lua")
    serve(edge, blog(Route("/", "blog-web", APP)))
    assert edge.get("blog.example.com", "/count").body.startswith(b"look ")
    assert int(edge.get("blog.example.com", "/count").body.split()[1]) > first
    edge.contributor.fragments = []
    serve(edge, blog(Route("/", "blog-web", APP)))
    assert edge.get("blog.example.com", "/count").headers["X-Application"] == "blog-web"
    assert list((edge.folder / "lua").iterdir()) == []


def test_a_limit_of_a_body_is_the_routes(edge: Any) -> None:
    serve(
        edge,
        blog(
            Route("/", "blog-web", APP, max_body=10),
            Route("/open", "blog-web", APP, max_body=0),
        ),
    )
    assert edge.get("blog.example.com", "/", method="POST", Content_Length="11").status == 413
    assert edge.get("blog.example.com", "/open").status == 200


def test_the_panel_is_reached_by_its_socket(edge: Any) -> None:
    path = edge.folder.parent / ".flatrun" / "proxy" / "panel.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0o666)
        listening.listen()
        listening.settimeout(20)
        serve(edge, Site(PANEL, (Host("panel.example.com", (), (Route("/", PANEL, 80),)),)))
        with socket.create_connection(("127.0.0.1", edge.http_port), 20) as visitor:
            visitor.sendall(
                b"GET /api/health HTTP/1.1\r\nHost: panel.example.com\r\nX-Forwarded-Host: x\r\n\r\n"
            )
            panel, _ = listening.accept()
            with panel:
                asked = panel.recv(4096).decode()
                assert asked.startswith("GET /api/health HTTP/1.1\r\n")
                assert "X-Forwarded-Host: panel.example.com\r\n" in asked
                panel.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: first\n\n")
                assert reads(visitor, b"data: first")
                assert not reads_end(visitor)
    path.unlink()


def reads(connection: socket.socket, text: bytes) -> bool:
    got = b""
    while text not in got:
        part = connection.recv(4096)
        if not part:
            return False
        got += part
    return True


def reads_end(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(4096) == b""
    except BlockingIOError:
        return False


def test_tells_where_it_answers_and_which_targets_are_away(edge: Any, make_site: Callable[..., Site]) -> None:
    serve(edge, make_site("blog"))
    found = edge.backend.endpoints()
    assert found.http[0] == ("127.0.0.1", edge.http_port)
    assert found.https[0] == ("127.0.0.1", edge.https_port)
    assert found.http[1][1] == 80
    with socket.create_connection(found.http[1], 5):
        pass
    routes = [Route("/", "blog-web", APP), Route("/", "blog-web", 81), Route("/", "shop-web", 80)]
    told = edge.backend.probe(routes)
    assert len(told) == 2
    assert "blog-web takes no connection on port 81" in told[0]
    assert "shop-web" in told[1]
