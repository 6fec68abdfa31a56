"""What the running proxy serves is asked by a real handshake."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from flatrun_certificates import handshake
from flatrun_core.ports.proxy import Endpoints

LOCAL = "127.0.0.1"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "CONFIRM_SECONDS", 0.9)
    monkeypatch.setattr(handshake, "HANDSHAKE_SECONDS", 0.3)


def test_the_leaf_for_the_asked_name_is_what_counts(make_pair: Any, serve_tls: Callable[..., int]) -> None:
    first, second = make_pair("a.example.test"), make_pair("b.example.test")
    port = serve_tls({"a.example.test": first, "b.example.test": second}.get)
    for name, pair in (("a.example.test", first), ("b.example.test", second)):
        assert handshake.served_fingerprint(name, (LOCAL, port), 5) == pair.fingerprint


def test_a_name_below_stands_for_a_wildcard(make_pair: Any, serve_tls: Callable[..., int]) -> None:
    pair, names = make_pair("*.example.test"), []

    def choose(name: str) -> Any:
        names.append(name)
        return pair

    port = serve_tls(choose)
    assert handshake.served_fingerprint("*.example.test", (LOCAL, port), 5) == pair.fingerprint
    assert names == ["flatrun-check.example.test"]


def test_no_handshake_is_no_fingerprint(
    listen: Callable[..., int], serve_tls: Callable[..., int], free_port: int
) -> None:
    assert handshake.served_fingerprint("a.test", (LOCAL, free_port), 1) is None
    silent = listen(lambda connection: connection.recv(10_000) and connection.recv(1))
    assert handshake.served_fingerprint("a.test", (LOCAL, silent), 0.2) is None
    plain = listen(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    assert handshake.served_fingerprint("a.test", (LOCAL, plain), 1) is None
    assert handshake.served_fingerprint("a.test", (LOCAL, serve_tls(lambda _: None)), 1) is None
    assert handshake.served_fingerprint("a..test", (LOCAL, free_port), 1) is None


def test_a_served_certificate_is_confirmed_at_whichever_endpoint_answers(
    make_pair: Any, serve_tls: Callable[..., int], free_port: int
) -> None:
    pair = make_pair("a.example.test", "*.example.test")
    port = serve_tls(lambda _: pair)
    endpoints = Endpoints(https=((LOCAL, free_port), (LOCAL, port)))
    assert handshake.confirm(pair.seen(), endpoints, ["a.example.test", "*.example.test"]) == ""


def test_a_reload_that_takes_a_moment_is_waited_for(make_pair: Any, serve_tls: Callable[..., int]) -> None:
    old, new = make_pair("a.example.test"), make_pair("a.example.test")
    answers = iter([old, None, old])
    port = serve_tls(lambda _: next(answers, new))
    assert handshake.confirm(new.seen(), Endpoints(https=((LOCAL, port),)), ["a.example.test"]) == ""


def test_an_old_worker_that_still_answers_now_and_then_is_outwaited(
    make_pair: Any, serve_tls: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "CONFIRM_SECONDS", 30)
    old, new = make_pair("a.example.test"), make_pair("a.example.test")
    answers, asked = iter([new, old, new, old]), []

    def choose(name: str) -> Any:
        asked.append(name)
        return next(answers, new)

    port = serve_tls(choose)
    assert handshake.confirm(new.seen(), Endpoints(https=((LOCAL, port),)), ["a.example.test"]) == ""
    assert len(asked) > 5


def test_another_certificate_is_one_sentence(make_pair: Any, serve_tls: Callable[..., int]) -> None:
    old, new = make_pair("a.example.test"), make_pair("a.example.test")
    port = serve_tls(lambda name: new if name.startswith("good") else old)
    endpoints = Endpoints(https=((LOCAL, port),))
    text = handshake.confirm(new.seen(), endpoints, ["good.test", "a.example.test", "b.example.test"])
    assert text.startswith("The proxy serves another certificate for a.example.test (and 1 more)")


def test_a_proxy_that_answers_nothing_is_one_sentence(make_pair: Any, free_port: int) -> None:
    pair = make_pair("a.example.test")
    text = handshake.confirm(pair.seen(), Endpoints(https=((LOCAL, free_port),)), ["a.example.test"])
    assert text.startswith(
        f"The proxy answers no TLS handshake for a.example.test at {LOCAL} port {free_port}"
    )
    assert "does not answer TLS now" in handshake.confirm(pair.seen(), Endpoints(), ["a.example.test"])


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        return int(probe.getsockname()[1])
