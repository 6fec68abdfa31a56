"""What other plugins ask: lookups, certificates they need, what is served, what nobody uses."""

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flatrun_certificates import handshake
from flatrun_certificates.models import State
from flatrun_certificates.paths import PLACES
from flatrun_certificates.preflight import Finding, Preflight
from flatrun_certificates.renewal import RENEWALS
from flatrun_certificates.schemas import CertificateSchema
from flatrun_certificates.state import STATES
from flatrun_core import Conflict, Failed, FlatrunError, Invalid
from flatrun_core.ports.scheduling import LOCKS

OLD = timedelta(days=80)


@contextmanager
def tls_server(live: Path) -> Iterator[tuple[str, int]]:
    """Answer TLS handshakes with the files of a lineage as they are now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(live / "fullchain.pem", live / "privkey.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    plain, _ = listener.accept()
                    with plain, context.wrap_socket(plain, server_side=True):
                        pass
                except OSError:
                    continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            over.set()
            thread.join()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "CONFIRM_SECONDS", 0.3)


def test_looking_up_asks_nobody(bench: Any) -> None:
    bench.lineages.add("a.example.com")
    assert bench.certificates.lookup(["a.example.com"]).due is False
    assert bench.certificates.lookup(["b.example.com"]) is None
    assert bench.issuer.calls == []


def test_many_lookups_ask_the_database_once(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = [f"{number}.example.com" for number in range(30)]
    for host in hosts:
        bench.lineages.add(host)
    asked: list[int] = []
    every = State.every
    monkeypatch.setattr(State, "every", lambda: (asked.append(1), every())[1])
    bench.service(STATES).succeeded(hosts[0])
    for host in hosts:
        assert bench.certificates.lookup([host]).name == host
    assert asked == [1]


def test_what_is_due_says_so(bench: Any) -> None:
    bench.lineages.add("a.example.com", age=OLD)
    assert bench.certificates.lookup(["a.example.com"]).due is True


def test_one_that_is_there_is_enough_due_or_not(bench: Any) -> None:
    bench.lineages.add("a.example.com", ["a.example.com", "b.example.com"], age=OLD)
    found = bench.certificates.ensure(["b.example.com", "a.example.com"])
    assert found.name == "a.example.com"
    assert bench.issuer.calls == []


@pytest.mark.parametrize("age", [timedelta(days=100), timedelta(days=2)])
def test_one_that_is_over_or_covers_too_little_is_replaced(bench: Any, age: timedelta) -> None:
    bench.lineages.add("a.example.com", age=age)
    hosts = ["a.example.com", "www.a.example.com"] if age < OLD else ["a.example.com"]
    found = bench.certificates.ensure(hosts, deployment="blog")
    assert found.covers(hosts)
    assert bench.issuer.requests[0].hosts == tuple(hosts)
    assert bench.events.issued[0].deployment == "blog"


def test_one_of_the_test_directory_is_replaced_when_another_is_set(make_bench: Any) -> None:
    bench = make_bench({"certbot.server": ""})
    bench.lineages.add("a.example.com", server="https://acme-staging-v02.api.letsencrypt.org/directory")
    bench.certificates.ensure(["a.example.com"])
    assert bench.issuer.requests[0].force is True


def test_a_person_gets_a_new_one_where_the_names_of_the_entry_changed(bench: Any) -> None:
    bench.lineages.add("a.example.com", ["a.example.com", "gone.example.com"])
    bench.routes.add("blog", "a.example.com")
    assert bench.admin.post("/api/certificates", json={"domain": "a.example.com"}).status_code == 201
    assert bench.issuer.requests[0].hosts == ("a.example.com",)


def test_who_hears_of_a_certificate_may_take_any_lock(bench: Any) -> None:
    locks, taken = bench.service(LOCKS), []

    def hear(event: Any) -> None:
        with locks.hold("deployment", "blog"):
            taken.append(event.name)

    bench.events.issued = Ears(hear)
    bench.events.failed = Ears(hear)
    bench.certificates.ensure(["a.example.com"])
    bench.issuer.refuse["b.example.com"] = Failed("no", code="CERTBOT_FAILED")
    with pytest.raises(Failed):
        bench.certificates.ensure(["b.example.com"])
    assert taken == ["a.example.com", "b.example.com"]


class Ears:
    """A list of events that tells of each."""

    def __init__(self, hear: Callable[[Any], None]) -> None:
        self.append = hear


def test_a_name_that_stands_twice_is_asked_for_once(bench: Any) -> None:
    bench.certificates.ensure(["a.example.com", "a.example.com"])
    assert bench.issuer.requests[0].hosts == ("a.example.com",)
    with pytest.raises(Invalid):
        bench.certificates.ensure([])


def test_an_issuer_that_leaves_rubbish_has_failed(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bench.issuer.lineages.add

    def spoil(name: str, hosts: Any, **options: Any) -> Any:
        live = made(name, hosts, **options)
        (live / "fullchain.pem").resolve().write_text("rubbish")
        return live

    monkeypatch.setattr(bench.issuer.lineages, "add", spoil)
    with pytest.raises(Failed, match="no certificate that can be used"):
        bench.certificates.ensure(["a.example.com"])
    assert bench.service(STATES).of("a.example.com").failures == 1


def test_any_error_of_an_issuer_counts_as_a_failure(bench: Any) -> None:
    bench.issuer.refuse["a.example.com"] = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        bench.certificates.ensure(["a.example.com"])
    assert bench.service(STATES).of("a.example.com").last_error == "RuntimeError: a bug"
    assert bench.events.failed[0].error == "RuntimeError: a bug"


def test_one_is_asked_for_at_a_time_and_who_waited_takes_what_came(bench: Any) -> None:
    inside, most, errors = [0], [0], []

    def during() -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        threading.Event().wait(0.05)
        inside[0] -= 1

    bench.issuer.during = during

    def work(name: str) -> None:
        try:
            with bench.panel.database.session():
                bench.certificates.ensure([name])
        except FlatrunError as exc:
            errors.append(exc)

    names = ["a.example.com", "a.example.com", "b.example.com", "a.example.com"]
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert most == [1]
    assert sorted(name for _, name in bench.issuer.calls) == ["a.example.com", "b.example.com"]


def test_the_running_proxy_is_asked_and_what_it_serves_is_kept(bench: Any) -> None:
    bench.routes.add("blog", "a.example.com")
    live = bench.lineages.add("a.example.com")
    with tls_server(live) as address:
        bench.proxy.https = (address,)
        old = bench.certificates.lookup(["a.example.com"])
        assert bench.certificates.confirm(old) == ""
        shown = bench.one("a.example.com")
        assert shown["served"] is True
        assert CertificateSchema().validate(shown) == {}
        asked = datetime.fromisoformat(shown["served_checked_at"])
        assert abs(datetime.now(UTC) - asked) < timedelta(hours=1)
        bench.proxy.https = ()
        assert not {"served", "served_checked_at"} & bench.one("a.example.com").keys()
        bench.proxy.https = (address,)
        bench.lineages.add("a.example.com")
        new = bench.certificates.lookup(["a.example.com"])
        assert "served" not in bench.one("a.example.com")
        problem = bench.certificates.confirm(new)
    assert problem
    shown = bench.one("a.example.com")
    assert shown["served"] is False
    assert shown["warnings"] == [problem]


def test_without_a_running_proxy_nothing_is_claimed(bench: Any) -> None:
    bench.routes.add("blog", "a.example.com")
    bench.lineages.add("a.example.com")
    assert bench.certificates.confirm(bench.certificates.lookup(["a.example.com"]))
    assert "served" not in bench.one("a.example.com")


def test_one_that_no_site_uses_is_not_asked_for(bench: Any) -> None:
    bench.routes.add("blog", "a.example.com", tls=False)
    bench.lineages.add("a.example.com")
    assert bench.certificates.confirm(bench.certificates.lookup(["a.example.com"])) == ""


def test_a_request_leaves_a_certificate_that_is_shown_to_be_served(bench: Any) -> None:
    bench.routes.add("blog", "a.example.com")
    live = bench.lineages.add("a.example.com", age=OLD)
    with tls_server(live) as address:
        bench.proxy.https = (address,)
        assert bench.admin.post("/api/certificates/a.example.com/renew").status_code == 200
        assert bench.one("a.example.com")["served"] is False


def test_what_nobody_uses_goes_and_what_is_used_stays(bench: Any) -> None:
    bench.routes.add("shop", "b.example.com")
    bench.lineages.add("a.example.com")
    bench.lineages.add("b.example.com")
    bench.lineages.add("shared", ["a.example.com", "b.example.com"])
    assert bench.certificates.release(["a.example.com"]) == ["a.example.com"]
    assert sorted(bench.listed()) == ["b.example.com", "shared"]
    assert bench.certificates.release(["b.example.com"]) == ["b.example.com"]
    assert bench.certificates.release(["nobody.example.com"]) == []


@pytest.fixture
def worries(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Let each look beforehand find something; the hosts of each look."""
    looked: list[list[str]] = []

    def check(self: Preflight, hosts: list[str], *, wildcard: bool = False) -> list[Finding]:
        looked.append(list(hosts))
        return [
            Finding(hosts[0], "dns", False, "The name does not lead here."),
            Finding(hosts[0], "caa", True, ""),
        ]

    monkeypatch.setattr(Preflight, "check", check)
    return looked


def test_a_warning_goes_on_and_stays_with_the_certificate(certbot_bench: Any, worries: Any) -> None:
    bench = certbot_bench({"certbot.preflight": "warn"})
    bench.certificates.ensure(["a.example.com"])
    assert bench.one("a.example.com")["warnings"] == ["The name does not lead here."]


def test_what_is_required_is_not_asked_for_without_it(certbot_bench: Any, worries: Any) -> None:
    bench = certbot_bench({"certbot.preflight": "require"})
    answer = bench.admin.post("/api/certificates", json={"domain": "a.example.com"})
    assert (answer.status_code, answer.get_json()["code"]) == (409, "PREFLIGHT_FAILED")
    assert answer.get_json()["error"] == "The name does not lead here."
    assert bench.issuer.calls == []


def test_nobody_looks_where_that_is_off(certbot_bench: Any, worries: Any) -> None:
    bench = certbot_bench({"certbot.preflight": "off"})
    bench.certificates.ensure(["a.example.com"])
    assert bench.certificates.advice(["a.example.com"]) == ()
    assert worries == []


def test_advice_just_given_is_not_looked_for_again(certbot_bench: Any, worries: Any) -> None:
    bench = certbot_bench({"certbot.preflight": "warn"})
    assert bench.certificates.advice(["a.example.com"]) == ["The name does not lead here."]
    bench.certificates.ensure(["a.example.com"])
    bench.certificates.ensure(["b.example.com"])
    assert worries == [["a.example.com"], ["b.example.com"]]


def test_the_folders_are_beside_nginx_unless_set(make_bench: Any, tmp_path: Path) -> None:
    beside = make_bench().service(PLACES).folders()
    assert beside.live == tmp_path / "deployments" / "nginx" / "certs" / "live"
    assert beside.webroot == tmp_path / "deployments" / "nginx" / "html"
    named = make_bench({"certbot.certs_path": "/srv/c/live", "certbot.webroot_path": "/srv/w"})
    folders = named.service(PLACES).folders()
    assert (folders.config, folders.webroot) == (Path("/srv/c"), Path("/srv/w"))


def test_an_issuer_that_is_not_there_is_named(make_bench: Any) -> None:
    bench = make_bench({"certificates.issuer": "nobody"})
    answer = bench.admin.post("/api/certificates", json={"domain": "a.example.com"})
    assert answer.status_code == 400
    assert "nobody" in answer.get_json()["error"]
    assert "certbot, fake" in answer.get_json()["error"]


def test_deleting_waits_for_nobody_for_ever(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flatrun_certificates.service.WAIT_TO_DELETE", 0.05)
    bench.lineages.add("a.example.com")
    inside, go = threading.Event(), threading.Event()
    bench.issuer.during = lambda: (inside.set(), go.wait(30))

    def work() -> None:
        with bench.panel.database.session():
            bench.certificates.ensure(["b.example.com"])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert inside.wait(30)
        with pytest.raises(Conflict):
            bench.certificates.release(["a.example.com"])
    finally:
        go.set()
        thread.join(30)


def test_events_and_log_tell_of_a_failure(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    bench.issuer.refuse["a.example.com"] = Failed("the authority says no", code="CERTBOT_FAILED")
    with caplog.at_level(logging.WARNING), pytest.raises(Failed):
        bench.certificates.ensure(["a.example.com"], deployment="blog")
    assert bench.events.failed[0].deployment == "blog"
    assert any("the authority says no" in record.getMessage() for record in caplog.records)


def test_one_signed_by_itself_is_served_and_never_renewed_by_itself(make_bench: Any) -> None:
    bench = make_bench({"certbot.enabled": True})
    files = bench.maker.self_signed(["a.example.com"], age=OLD)
    live = bench.lineages.by_hand("a.example.com", files)
    bench.routes.add("blog", "a.example.com")
    shown = bench.one("a.example.com")
    assert (shown["issuer"], shown["auto_renew"]) == ("Ourselves", False)
    (live / ".flatrun-auto-renew-enabled").touch()
    assert bench.service(RENEWALS).pass_over() == {"renewed": [], "failed": [], "published": []}
    path = "/api/certificates/a.example.com/auto-renew"
    answer = bench.admin.open("PATCH", path, json={"auto_renew": True})
    assert (answer.status_code, answer.get_json()["code"]) == (409, "CONFLICT")
    assert bench.admin.open("PATCH", path, json={"auto_renew": False}).status_code == 200
    with tls_server(live) as address:
        bench.proxy.https = (address,)
        assert bench.certificates.confirm(bench.certificates.ensure(["a.example.com"])) == ""
    assert bench.issuer.calls == []


def test_an_authoritys_comes_before_one_signed_by_itself(bench: Any) -> None:
    files = bench.maker.self_signed(["a.example.com"], lifetime=timedelta(days=3650))
    bench.lineages.by_hand("ours", files)
    assert bench.certificates.lookup(["a.example.com"]).name == "ours"
    bench.lineages.add("a.example.com")
    assert bench.certificates.lookup(["a.example.com"]).name == "a.example.com"


def test_one_signed_by_itself_that_an_authority_issued_is_renewed(make_bench: Any) -> None:
    bench = make_bench({"certbot.enabled": True})
    live = bench.lineages.add("a.example.com", age=OLD, server="")
    for kind, data in bench.maker.self_signed(["a.example.com"], age=OLD).items():
        (live / f"{kind}.pem").resolve().write_bytes(data)
    assert bench.service(RENEWALS).pass_over()["renewed"] == ["a.example.com"]
