"""Hosts and paths that somebody made up to do harm: refused with 400, and nothing changes."""

from typing import Any

import pytest

PATH = "/api/deployments/blog/domains"

HOSTS = [
    "a.example;",
    "a.example;server{}",
    "a{b}.example",
    "a.example\n",
    "a.example\nserver_name b.example",
    "a.example\r\n",
    'a".example',
    "a'.example",
    "$host.example",
    "a.example$",
    "a b.example",
    " a.example",
    "a.example ",
    "a.example\t",
    "*.example.com",
    "*",
    "~^(.*)$",
    "_",
    "localhost",
    "a..example",
    ".a.example",
    "a.example..",
    "-a.example",
    "a-.example",
    "127.0.0.1",
    "10.1",
    "::1",
    "[::1]",
    "a.example:80",
    "a.example/",
    "http://a.example",
    "a_b.example",
    "a\\.example",
    "a.example#",
    "xn--a.example",
    "\u202ea.example",
    "a\u0000.example",
    "x\u200b.example",
    "x.\u2060example",
    "x\ufeff.example",
    "soft\u00adhyphen.example",
    "x\ufe0f.example",
    "\u200bx.example",
    "x.example\u200b",
    ("a" * 63 + ".") * 4 + "example",
    "a" * 64 + ".example",
    "a." * 149 + "example",
    "",
    ".",
]

PATHS = [
    "a",
    "/a b",
    "/a;b",
    "/a{b",
    "/a}b",
    '/a"b',
    "/a'b",
    "/a$b",
    "/a\nb",
    "/a\n",
    "/a\\b",
    "/a%2e%2e",
    "/%2e",
    "//",
    "//a",
    "/a//b",
    "/..",
    "/a/../b",
    "/./a",
    "/a/.",
    "/a/..",
    "/...",
    "/a/.../b",
    "/a//",
    "/a#b",
    "/a?b",
    "/a|b",
    "/a(b)",
    "/^a",
    "/ä",
    "/\u202e",
    "/a\u0000",
    "/" + "a" * 255,
    "/.well-known/acme-challenge",
    "/.well-known/acme-challenge/",
    "/.well-known/acme-challenge/x",
    "~ ^/a",
]

SIZES = ["", "m", "-1", "1.5m", "1t", "1m;", "9" * 11, "1 m", "unlimited", "1m\n"]

WRONG = [
    {"port": 0},
    {"port": 65536},
    {"port": "80"},
    {"port": True},
    {"proxy_timeout": 0},
    {"proxy_timeout": 86401},
    {"strip_prefix": "yes"},
    {"ssl": True},
    {"ssl": {"enabled": "true"}},
    {"aliases": "b.example"},
    {"aliases": [None]},
    {"service": 1},
    {"domain": 1},
]


def answered(bench: Any, path: str, body: dict[str, Any]) -> tuple[int, str]:
    answer = bench.client.post(path, json=body)
    return answer.status_code, answer.get_json()["code"]


def creation(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "new",
        "compose": "services: {web: {image: busybox}}",
        "metadata": {"domains": [entry]},
    }


def test_a_host_that_is_none_is_refused(bench: Any) -> None:
    before = bench.file().read_bytes()
    for host in HOSTS:
        requests = [
            (PATH, {"domain": host}),
            (PATH, {"domain": "ok.example", "aliases": [host]}),
            ("/api/proxy/setup/blog", {"domain": host}),
            ("/api/deployments", creation({"domain": host})),
            ("/api/deployments", creation({"domain": "ok.example", "aliases": [host]})),
        ]
        for path, body in requests:
            assert answered(bench, path, body) == (400, "VALIDATION_ERROR"), (host, path, body)
    assert bench.file().read_bytes() == before
    assert bench.proxy.sites == {}


def test_a_path_that_is_none_is_refused(bench: Any) -> None:
    before = bench.file().read_bytes()
    for path in PATHS:
        for key in ("path", "path_prefix"):
            entry = {"domain": "a.example", key: path}
            assert answered(bench, PATH, entry) == (400, "VALIDATION_ERROR"), (path, key)
            assert answered(bench, "/api/deployments", creation(entry)) == (400, "VALIDATION_ERROR"), path
    assert bench.file().read_bytes() == before


def test_a_size_that_is_none_is_refused(bench: Any) -> None:
    for size in SIZES:
        entry = {"domain": "a.example", "max_body_size": size}
        assert answered(bench, PATH, entry) == (400, "VALIDATION_ERROR"), size


def test_a_value_of_another_type_or_out_of_range_is_refused(bench: Any) -> None:
    for wrong in WRONG:
        assert answered(bench, PATH, {"domain": "a.example", **wrong}) == (400, "VALIDATION_ERROR"), wrong


@pytest.mark.parametrize(
    ("host", "stored"),
    [
        ("Bücher.Example", "xn--bcher-kva.example"),
        ("a.example.", "a.example"),
        ("A.EXAMPLE", "a.example"),
        ("\uff45\uff58.example", "ex.example"),
        ("b\u0075\u0308cher.example", "xn--bcher-kva.example"),
        ("stra\u00dfe.example", "xn--strae-oqa.example"),
        ("a\u3002example", "a.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
    ],
)
def test_a_host_in_another_form_is_kept_in_one(bench: Any, host: str, stored: str) -> None:
    assert bench.add(host)["domain"]["domain"] == stored
    bench.refused(409, "DOMAIN_EXISTS", "POST", PATH, domain=stored)


def test_harm_written_by_hand_is_left_out_and_the_others_are_served(bench: Any) -> None:
    entries = [{"domain": host} for host in HOSTS if host.isprintable() and host]
    entries += [{"domain": "p.example", "path_prefix": path} for path in PATHS if path.isprintable()]
    entries += [{"domain": "s.example", "service": service} for service in ("web;", "a b", "nope")]
    entries += [{"domain": "t.example", "proxy_timeout": 0}, {"domain": "b.example", "max_body_size": "1t"}]
    lines = "".join(f"  - {entry!r}\n" for entry in entries)
    bench.write(f"networking: {{expose: true}}\ndomains:\n{lines}  - {{domain: good.example}}\n")
    bench.look()
    assert [host.name for host in bench.hosts()] == ["good.example"]
    problems = [one.get("problem") for one in bench.domains()]
    assert all(problems[:-1])
    assert problems[-1] is None
    status = bench.client.get("/api/proxy/status/blog").get_json()["status"]
    assert len(status["left_out"]) == len(entries)
