"""The ACME authority of the tests does what tests of certificates count on."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.resolver
import pytest
import requests
from flatrun_e2e.bad_authority import BadAuthority
from flatrun_e2e.pebble import Pebble


@pytest.fixture
def pebble(start_pebble: Callable[..., Pebble]) -> Pebble:
    return start_pebble()


@pytest.fixture
def bad(pebble: Pebble, start_bad_authority: Callable[[Pebble], BadAuthority]) -> BadAuthority:
    return start_bad_authority(pebble)


@pytest.fixture
def fetch(pebble: Pebble) -> Iterator[Callable[..., requests.Response]]:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(pebble.ca_file)
        yield lambda url, **options: session.get(url, **{"timeout": 10, **options})


def answers(pebble: Pebble, name: str, kind: str) -> list[str]:
    address, _, port = pebble.dns.address.partition(":")
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [address], int(port)
    return [answer.to_text() for answer in resolver.resolve(name, kind, lifetime=5)]


def test_the_authority_offers_renewal_information_and_has_a_root(pebble: Pebble, fetch: Any) -> None:
    assert "renewalInfo" in fetch(pebble.directory).json()
    assert pebble.root().subject == pebble.root().issuer


def test_names_resolve_to_this_machine_until_told_otherwise(pebble: Pebble) -> None:
    assert answers(pebble, "a.example.test", "A") == ["127.0.0.1"]
    pebble.dns.add_a("a.example.test", "127.0.0.9")
    assert answers(pebble, "a.example.test", "A") == ["127.0.0.9"]
    pebble.dns.set_servfail("a.example.test")
    with pytest.raises(dns.resolver.NoNameservers):
        answers(pebble, "a.example.test", "A")


def test_two_txt_values_stand_beside_each_other(pebble: Pebble) -> None:
    pebble.dns.add_txt("_acme-challenge.example.test", "one")
    pebble.dns.add_txt("_acme-challenge.example.test", "two")
    assert sorted(answers(pebble, "_acme-challenge.example.test", "TXT")) == ['"one"', '"two"']
    pebble.dns.add_caa("example.test", "pebble.test")
    assert answers(pebble, "example.test", "CAA") == ['0 issue "pebble.test"']


def test_an_authority_that_was_ended_refuses_connections_and_comes_back_with_another_root(
    pebble: Pebble, fetch: Any
) -> None:
    before = pebble.root()
    pebble.stop_authority()
    with pytest.raises(requests.ConnectionError):
        fetch(pebble.directory)
    pebble.start_authority()
    assert pebble.root() != before


def test_the_server_before_the_authority_names_itself(bad: BadAuthority, fetch: Any) -> None:
    found = fetch(bad.directory).json()
    assert found["newNonce"].startswith(bad.directory.removesuffix("/dir"))
    assert fetch(found["newNonce"]).headers["Replay-Nonce"]
    assert (bad.asked("dir"), bad.asked()) == (1, 2)


def test_a_bad_day_is_one_of_all_kinds_and_ends(bad: BadAuthority, fetch: Any) -> None:
    bad.limit("dir", retry_after="120", detail="too many")
    answer = fetch(bad.directory)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "120")
    assert answer.json()["type"] == "urn:ietf:params:acme:error:rateLimited"
    bad.heal()
    bad.refuse("dir", detail="down for maintenance", status=503)
    assert fetch(bad.directory).json()["detail"] == "down for maintenance"
    bad.heal()
    bad.babble()
    assert b"Welcome" in fetch(bad.directory).content
    bad.heal()
    bad.drop(times=1)
    with pytest.raises(requests.ConnectionError):
        fetch(bad.directory)
    assert fetch(bad.directory).ok
    bad.delay(seconds=30)
    with pytest.raises(requests.Timeout):
        fetch(bad.directory, timeout=0.2)


def test_the_log_of_the_authority_is_kept(pebble: Pebble, tmp_path: Path) -> None:
    assert tmp_path in pebble.log_file.parents
    assert "ACME directory available" in pebble.log
