"""While the proxy does not run the authority is not asked for what it would fetch from it."""

import logging
from datetime import timedelta
from typing import Any

import pytest

from flatrun_certificates.renewal import RENEWALS
from flatrun_certificates.state import STATES
from flatrun_core import Unavailable

NAME = "a.example.com"
OLD = timedelta(days=80)


@pytest.fixture
def stopped(certbot_bench: Any) -> Any:
    """A panel with a deployment that wants a certificate and a proxy that is stopped."""
    bench = certbot_bench({"certbot.enabled": True})
    bench.routes.add("blog", NAME)
    bench.proxy.running, bench.proxy.http = False, ()
    return bench


@pytest.mark.parametrize(
    "path",
    ["", "/renew", f"/{NAME}/renew", "../deployments/blog/certificates/renew"],
)
def test_a_person_is_told_to_start_it_and_nothing_counts_as_a_failure(stopped: Any, path: str) -> None:
    stopped.lineages.add(NAME, age=OLD)
    where = f"/api/{path.removeprefix('../')}" if path.startswith("..") else f"/api/certificates{path}"
    answer = stopped.admin.post(where, json=None if path else {"domain": NAME})
    assert (answer.status_code, answer.get_json()["code"]) == (503, "NGINX_NOT_RUNNING")
    assert "start it" in answer.get_json()["error"]
    assert stopped.issuer.calls == []
    assert stopped.service(STATES).of(NAME).failures == 0


def test_a_proxy_that_refuses_its_sites_and_answers_nowhere_is_down(stopped: Any, monkeypatch: Any) -> None:
    def refuse(*_: Any) -> None:
        raise Unavailable("no Engine")

    monkeypatch.setattr(stopped.proxy, "apply", refuse)
    assert stopped.admin.post("/api/certificates", json={"domain": NAME}).status_code == 503


def test_as_soon_as_it_runs_the_certificate_is_had(stopped: Any) -> None:
    assert stopped.admin.post("/api/certificates", json={"domain": NAME}).status_code == 503
    stopped.proxy.running, stopped.proxy.http = True, (("127.0.0.1", 9),)
    assert stopped.admin.post("/api/certificates", json={"domain": NAME}).status_code == 201


def test_without_any_proxy_the_authority_is_asked(stopped: Any) -> None:
    stopped.panel.proxy._chosen = lambda: "none"
    assert stopped.admin.post("/api/certificates", json={"domain": NAME}).status_code == 201


def test_a_proof_by_dns_needs_no_proxy(stopped: Any) -> None:
    stopped.records.zones = ("example.com",)
    assert stopped.admin.post("/api/certificates", json={"domain": "*.example.com"}).status_code == 201


def test_one_that_is_good_is_kept_without_asking(stopped: Any) -> None:
    stopped.lineages.add(NAME)
    assert stopped.admin.post("/api/certificates", json={"domain": NAME}).status_code == 201
    assert stopped.issuer.calls == []


def test_in_the_background_renewal_waits_without_counting_a_failure(
    stopped: Any, caplog: pytest.LogCaptureFixture
) -> None:
    stopped.lineages.add(NAME, age=OLD)
    stopped.lineages.add("_wildcard.example.com", ["*.example.com"], age=OLD)
    conf = stopped.lineages.config / "renewal" / "_wildcard.example.com.conf"
    conf.write_text(conf.read_text().replace("= webroot", "= flatrun-dns"))
    stopped.records.zones = ("example.com",)
    with caplog.at_level(logging.WARNING):
        found = stopped.service(RENEWALS).pass_over()
    assert (found["renewed"], found["failed"]) == (["_wildcard.example.com"], [])
    assert "the proxy does not run" in caplog.text
    assert stopped.service(STATES).of(NAME).failures == 0
    assert [event.resource_id for event in stopped.notebook.events] == ["_wildcard.example.com"]
