"""Proofs by DNS: certbot's plugin and the panel's side of its socket, both real."""

import json
import os
import socket
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import josepy
import pytest
from acme import challenges, messages
from certbot import achallenges, errors
from certbot._internal.plugins.disco import PluginsRegistry
from cryptography.hazmat.primitives.asymmetric import rsa

from flatrun_certificates import dns_authenticator
from flatrun_certificates.dns_authenticator import Authenticator, wait_until_visible
from flatrun_certificates.dns_bridge import dns_bridge
from flatrun_certificates.resolution import resolver_at
from flatrun_core import NotFound

NAME = "_acme-challenge.example.test"


class Records:
    """Records that a name server answers at once; `fails` is raised by every change."""

    def __init__(self, zone: Any) -> None:
        self._zone = zone
        self.fails: Exception | None = None
        self.late = False
        self.present_calls = 0

    def covers(self, name: str) -> bool:
        return True

    def present(self, name: str, type: str, value: str) -> None:
        self.present_calls += 1
        if self.fails:
            raise self.fails
        if not self.late:
            self._zone.add(name, type, f'"{value}"')

    def withdraw(self, name: str, type: str, value: str) -> None:
        if self.fails:
            raise self.fails
        values = self._zone.records.get((name, type), [])
        if f'"{value}"' in values:
            values.remove(f'"{value}"')

    def standing(self, name: str = NAME) -> list[str]:
        return [value.strip('"') for value in self._zone.records.get((name, "TXT"), [])]


@pytest.fixture
def records(zone: Any) -> Records:
    return Records(zone)


@pytest.fixture
def bridge(records: Records, tmp_path: Path, zone: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A running bridge, whose environment this process has."""
    with dns_bridge(records, tmp_path / "work", zone.address) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield Path(environment["FLATRUN_DNS_SOCKET"])


@pytest.fixture(scope="module")
def account_key() -> josepy.JWKRSA:
    return josepy.JWKRSA(key=rsa.generate_private_key(65537, 2048))


@pytest.fixture
def authenticator() -> Authenticator:
    return Authenticator(None, "flatrun-dns")  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_authenticator, "QUESTION_SECONDS", 0.5)
    monkeypatch.setattr(dns_authenticator, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(dns_authenticator.display, "notify", lambda _: None)


def challenge(key: josepy.JWKRSA, token: bytes, name: str = "example.test") -> Any:
    body = messages.ChallengeBody(
        chall=challenges.DNS01(token=token), uri="x", status=messages.STATUS_PENDING
    )
    identifier = messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=name)
    return achallenges.KeyAuthorizationAnnotatedChallenge(challb=body, identifier=identifier, account_key=key)


def ask(path: Path, *lines: bytes) -> list[Mapping[str, Any]]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        answers = []
        with connection.makefile("rb") as reader:
            for line in lines:
                connection.sendall(line + b"\n")
                answers.append(json.loads(reader.readline()))
        return answers


def request(action: str, value: str = "v", name: str = NAME) -> bytes:
    return json.dumps({"action": action, "name": name, "value": value}).encode()


def test_certbot_finds_the_plugin() -> None:
    entry = PluginsRegistry.find_all()["flatrun-dns"]
    assert entry.plugin_cls is Authenticator
    assert entry.hidden


def test_the_values_of_apex_and_wildcard_stand_together_and_both_go(
    authenticator: Authenticator, bridge: Path, records: Records, account_key: josepy.JWKRSA
) -> None:
    both = [challenge(account_key, b"a" * 32), challenge(account_key, b"b" * 32)]
    responses = authenticator.perform(both)
    assert records.standing() == [one.validation(account_key) for one in both]
    assert len(set(records.standing())) == 2
    assert all(isinstance(response, challenges.DNS01Response) for response in responses)
    authenticator.cleanup(both)
    assert records.standing() == []


def test_the_authority_is_asked_only_when_the_record_is_seen(records: Records, zone: Any) -> None:
    timer = threading.Timer(0.2, records.present, (NAME, "TXT", "second"))
    records.present(NAME, "TXT", "first")
    timer.start()
    assert wait_until_visible({NAME: {"first", "second"}}, zone.address, 30) == []
    timer.join()
    assert zone.asked.count((NAME, "TXT")) > 1


def test_a_record_that_is_not_seen_is_named_and_the_authority_asked_anyway(
    authenticator: Authenticator,
    bridge: Path,
    records: Records,
    account_key: josepy.JWKRSA,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(dns_authenticator.display, "notify", told.append)
    monkeypatch.setattr(dns_authenticator, "VISIBLE_SECONDS", 0.1)
    records.late = True
    assert len(authenticator.perform([challenge(account_key, b"a" * 32)])) == 1
    assert told == [f"The record {NAME} was made, but cannot be seen yet. The authority is asked anyway."]


def test_a_resolver_that_gives_no_answer_sees_nothing(zone: Any) -> None:
    for resolver in ("127.0.0.1:1", "no address"):
        assert wait_until_visible({NAME: {"v"}}, resolver, 0) == [NAME]


def test_the_panels_reason_reaches_certbot(
    authenticator: Authenticator, bridge: Path, records: Records, account_key: josepy.JWKRSA
) -> None:
    records.fails = NotFound("Nobody has the zone of example.test")
    with pytest.raises(errors.PluginError, match=f"{NAME}: Nobody has the zone of example.test"):
        authenticator.perform([challenge(account_key, b"a" * 32)])


def test_a_cleanup_that_fails_is_told_and_ends_nothing(
    authenticator: Authenticator,
    bridge: Path,
    records: Records,
    account_key: josepy.JWKRSA,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(dns_authenticator.display, "notify", told.append)
    records.fails = RuntimeError("the provider is away")
    authenticator.cleanup([challenge(account_key, b"a" * 32)])
    assert "the provider is away" in told[0]


def test_outside_the_panel_the_plugin_refuses_to_work(
    authenticator: Authenticator, account_key: josepy.JWKRSA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("FLATRUN_DNS_SOCKET", raising=False)
    with pytest.raises(errors.PluginError, match="only in a certbot that the panel has started"):
        authenticator.prepare()
    monkeypatch.setenv("FLATRUN_DNS_SOCKET", str(tmp_path / "gone"))
    authenticator.prepare()
    with pytest.raises(errors.PluginError, match="the panel does not answer"):
        authenticator.perform([challenge(account_key, b"a" * 32)])


def test_it_proves_by_dns_only_and_says_what_to_look_at(
    authenticator: Authenticator, account_key: josepy.JWKRSA
) -> None:
    assert list(authenticator.get_chall_pref("example.test")) == [challenges.DNS01]
    assert NAME in authenticator.auth_hint([challenge(account_key, b"a" * 32)])
    assert "panel" in authenticator.more_info()


def test_the_socket_is_the_owners_alone_and_goes_with_the_run(records: Records, tmp_path: Path) -> None:
    before = threading.active_count()
    with dns_bridge(records, tmp_path / "work") as environment:
        path = Path(environment["FLATRUN_DNS_SOCKET"])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert environment["FLATRUN_DNS_RESOLVER"] == ""
    assert list((tmp_path / "work").iterdir()) == []
    assert threading.active_count() == before


def test_a_folder_whose_name_is_too_long_for_a_socket_is_replaced(records: Records, tmp_path: Path) -> None:
    long = tmp_path / ("long" * 30)
    with dns_bridge(records, long) as environment:
        path = Path(environment["FLATRUN_DNS_SOCKET"])
        assert len(os.fsencode(path)) < 108
        assert ask(path, request("present")) == [{"ok": True}]
    assert not path.parent.exists()
    assert list(long.iterdir()) == []


def test_what_a_killed_certbot_left_is_withdrawn(records: Records, tmp_path: Path) -> None:
    with dns_bridge(records, tmp_path) as environment:
        path = Path(environment["FLATRUN_DNS_SOCKET"])
        ask(path, request("present", "one"), request("present", "two"), request("withdraw", "one"))
        assert records.standing() == ["two"]
    assert records.standing() == []


def test_a_withdrawal_that_fails_at_the_end_is_logged(
    records: Records, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with dns_bridge(records, tmp_path) as environment:
        ask(Path(environment["FLATRUN_DNS_SOCKET"]), request("present"))
        records.fails = RuntimeError("the provider is away")
    assert f"The TXT record of {NAME} could not be withdrawn" in caplog.text


def test_an_exception_of_the_run_comes_through_and_withdraws_too(records: Records, tmp_path: Path) -> None:
    def run() -> None:
        with dns_bridge(records, tmp_path) as environment:
            ask(Path(environment["FLATRUN_DNS_SOCKET"]), request("present"))
            raise KeyError("boom")

    with pytest.raises(KeyError, match="boom"):
        run()
    assert records.standing() == []


def test_a_child_that_hangs_does_not_hold_the_panel_and_can_do_nothing_afterwards(
    records: Records, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as hanging:
        with dns_bridge(records, tmp_path) as environment:
            hanging.connect(environment["FLATRUN_DNS_SOCKET"])
            hanging.settimeout(10)
            hanging.sendall(request("present") + b"\n")
            assert b"ok" in hanging.recv(100)
        hanging.sendall(request("present", "late") + b"\n")
        assert b"the panel has ended this run" in hanging.recv(100)
    assert records.standing() == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"rubbish", "does not understand"),
        (b"\xff", "does not understand"),
        (b"[]", "it is no object"),
        (b"{}", "neither present nor withdraw"),
        (request("remove"), "neither present nor withdraw"),
        (request("present", name="www.example.test"), "does not begin with _acme-challenge."),
        (b'{"action":"present","name":5,"value":"v"}', "does not begin with _acme-challenge."),
        (request("present", ""), "it has no value"),
        (b'{"action":"present","name":"_acme-challenge.a","value":7}', "it has no value"),
        (b'"' + b"x" * 5000 + b'"', "it is too long"),
        (b"[" * 4000, "does not understand"),
    ],
)
def test_anything_but_records_of_proofs_is_refused(
    bridge: Path, records: Records, line: bytes, reason: str
) -> None:
    assert reason in ask(bridge, line)[0]["error"]
    assert records.present_calls == 0


def test_a_provider_that_breaks_ends_this_proof_only(
    bridge: Path, records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    records.fails = RuntimeError("no way")
    assert ask(bridge, request("present"))[0]["error"] == "the record could not be changed: no way"
    assert "RuntimeError" in caplog.text
    records.fails = None
    assert ask(bridge, request("present")) == [{"ok": True}]


class TestWithoutANamedResolver:
    """The servers of the zone are asked, because others remember that a name was not there."""

    @pytest.fixture(autouse=True)
    def _host(self, zone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            dns_authenticator,
            "resolver_at",
            lambda text, lifetime: resolver_at(text or zone.address, lifetime),
        )

    def test_all_servers_of_the_zone_must_have_it(self, zone: Any, records: Records) -> None:
        zone.add("example.test", "SOA", "ns1.example.test. admin.example.test. 1 2 3 4 5")
        zone.add("example.test", "NS", "ns1.example.test.", "gone.example.test.")
        zone.add("ns1.example.test", "A", "127.0.0.1")
        records.present(NAME, "TXT", "v")
        assert wait_until_visible({NAME: {"v"}}, "", 0) == []
        assert ("example.test", "NS") in zone.asked
        zone.add("gone.example.test", "A", "127.0.0.9")
        assert wait_until_visible({NAME: {"v"}}, "", 0) == [NAME]

    def test_a_zone_whose_servers_have_no_address_is_asked_of_the_resolver(
        self, zone: Any, records: Records
    ) -> None:
        zone.add("example.test", "SOA", "ns1.example.test. admin.example.test. 1 2 3 4 5")
        zone.add("example.test", "NS", "ns1.example.test.")
        records.present(NAME, "TXT", "v")
        assert wait_until_visible({NAME: {"v"}}, "", 0) == []
