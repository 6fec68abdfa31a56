"""A proof is fetched as an authority fetches it."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_certificates.fetching import Deadline, Fetched, Fetcher, Outcome, Target

HOST, LOCAL, TOKEN = "blog.example.test", "127.0.0.1", "the token"
START = Target("http", HOST, 80, "/.well-known/acme-challenge/x")


@pytest.fixture
def fetch() -> Callable[..., Fetched]:
    fetcher = Fetcher(lambda _: [LOCAL], Deadline(10), 5)
    return lambda port, target=START, address=LOCAL: fetcher.fetch(target, address, TOKEN, port)


def test_the_answer_must_be_the_token_and_may_end_in_a_line(pages: Any, fetch: Any) -> None:
    port = pages.start(lambda *_: (200, {}, b"the token\n"))
    assert fetch(port) == Fetched(Outcome.RIGHT)
    other = pages.start(lambda *_: (201, {}, b"the token"), "127.0.0.2")
    assert fetch(other, address="127.0.0.2") == Fetched(Outcome.WRONG, "status 201")


def test_a_redirect_to_tls_is_followed_whatever_the_certificate(
    fetch: Any, make_pair: Any, serve_tls_page: Callable[[Any, bytes], int], pages: Any
) -> None:
    secure = serve_tls_page(make_pair("other.example.test"), b"the token")
    location = f"https://{HOST}:{secure}/elsewhere"
    port = pages.start(lambda *_: (308, {"Location": location}, b""))
    target = Target("http", HOST, port, "/x")
    assert fetch(None, target) == Fetched(Outcome.RIGHT)


def test_from_port_80_no_authority_goes_to_odd_ports(pages: Any, fetch: Any) -> None:
    port = pages.start(lambda *_: (302, {"Location": f"https://{HOST}:8443/"}, b""))
    assert fetch(port) == Fetched(Outcome.REDIRECT, "it redirects to port 8443, where no authority goes")


def test_a_server_that_speaks_no_http_is_broken(fetch: Any, listen: Callable[..., int]) -> None:
    port = listen(lambda connection: connection.sendall(b"220 mail.example.test ESMTP\r\n\r\n"))
    assert fetch(port).outcome is Outcome.BROKEN


def test_an_address_without_a_way_to_it_is_unreachable(fetch: Any) -> None:
    assert fetch(80, address="255.255.255.255").outcome is Outcome.UNREACHABLE


def test_a_name_of_a_server_that_cannot_be_printed_is_left_out(pages: Any, fetch: Any) -> None:
    port = pages.start(lambda *_: (404, {"Server": "\x1b[31mred"}, b""))
    assert fetch(port).seen == "status 404"


@given(st.text())
def test_any_location_leads_somewhere_or_is_refused(location: str) -> None:
    try:
        target = START.follow(location)
    except ValueError:
        return
    assert target.scheme in ("http", "https")
    assert target.host
    assert 0 < target.port < 65536
    assert target.path.startswith("/")


def test_the_port_is_named_only_where_it_is_not_the_usual_one() -> None:
    assert str(Target("https", HOST, 443, "/a?b")) == f"https://{HOST}/a?b"
    assert str(Target("https", HOST, 80, "/")) == f"https://{HOST}:80/"
    assert START.follow("//other.example.test?q=1") == Target("http", "other.example.test", 80, "/?q=1")
