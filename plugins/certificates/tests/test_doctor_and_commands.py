"""``flatrun doctor`` and ``flatrun certificates``."""

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flatrun_certificates.commands import certificates
from flatrun_core import Check, Failed, Finding
from flatrun_core.cli import ApiError, Session


def found(bench: Any) -> Finding:
    check: Check
    [check] = [one for slug, one in bench.panel.checks if slug == "certificates"]
    assert (check.name, check.title) == ("certificates", "Certificates")
    return check.run()


def test_doctor_counts_what_is_well(bench: Any) -> None:
    assert found(bench) == Finding("ok", "0 certificates")
    bench.lineages.add("a.example.com")
    assert found(bench) == Finding("ok", "1 certificate")


def test_doctor_finds_what_was_not_renewed(bench: Any) -> None:
    bench.lineages.add("a.example.com", age=timedelta(days=80))
    finding = found(bench)
    assert finding.status == "warning"
    assert "a.example.com: It is due for renewal" in finding.message
    assert "certbot.enabled is off" in finding.message
    assert "flatrun certificates" in finding.remedy


def test_doctor_finds_what_is_over(bench: Any) -> None:
    bench.lineages.add("a.example.com", age=timedelta(days=100))
    finding = found(bench)
    assert finding.status == "error"
    assert "not valid any more" in finding.message


def test_doctor_finds_what_could_not_be_had_while_somebody_wants_it(bench: Any) -> None:
    bench.routes.add("blog", "a.example.com")
    bench.issuer.refuse["a.example.com"] = Failed("the authority says no", code="CERTBOT_FAILED")
    bench.admin.post("/api/certificates", json={"domain": "a.example.com"})
    assert "a.example.com: could not be had: the authority says no" in found(bench).message
    bench.routes.without_tls(["a.example.com"])
    assert found(bench) == Finding("ok", "0 certificates")
    bench.routes.entries = []
    assert found(bench) == Finding("ok", "0 certificates")


def test_doctor_finds_damage_and_names_a_few_only(bench: Any) -> None:
    for number in range(5):
        live = bench.lineages.add(f"{number}.example.com")
        os.truncate((live / "privkey.pem").resolve(), 10)
    finding = found(bench)
    assert finding.status == "warning"
    assert finding.message.count("the key is damaged") == 3
    assert finding.message.endswith("and 2 more")


def test_what_doctor_calls_damaged_is_renewed_as_if_it_were_due(bench: Any) -> None:
    bench.lineages.add("a.example.com")
    live = bench.lineages.add("a.example.com")
    bench.lineages.add("fresh.example.com")
    os.truncate((live / "privkey.pem").resolve(), 10)
    assert "renewing mends it" in found(bench).message
    assert bench.one("a.example.com")["status"] == "valid"
    result = bench.admin.post("/api/certificates/renew").get_json()["result"]
    assert (result["success"], result["renewed_domains"]) == (True, ["a.example.com"])
    assert found(bench) == Finding("ok", "2 certificates")


@pytest.fixture
def broken(bench: Any) -> Any:
    """A panel with two certificates in which nothing can be used; an entry wants one."""
    bench.routes.add("blog", "a.example.com", "www.a.example.com")
    for name in ("a.example.com", "b.example.com"):
        live = bench.lineages.add(name)
        os.truncate((live / "cert.pem").resolve(), 10)
    assert bench.listed() == {}
    assert "a.example.com: nothing in it can be used" in found(bench).message
    return bench


def test_what_cannot_be_used_at_all_is_had_anew_where_an_entry_wants_it(broken: Any) -> None:
    result = broken.admin.post("/api/certificates/renew").get_json()["result"]
    assert (result["success"], result["renewed_domains"]) == (False, ["a.example.com"])
    assert [one["domain"] for one in result["failed_domains"]] == ["b.example.com"]
    assert "or delete it" in result["failed_domains"][0]["error"]
    assert broken.one("a.example.com")["domains"] == ["a.example.com", "www.a.example.com"]
    assert broken.issuer.calls == [("issue", "a.example.com")]
    # Nothing was tried, so nothing failed but what is said.
    again = broken.admin.post("/api/certificates/renew")
    assert (again.status_code, again.get_json()["result"]["renewed"]) == (200, False)
    assert "b.example.com: nothing in it can be used" in found(broken).message


@pytest.mark.parametrize("path", ["certificates/a.example.com/renew", "deployments/blog/certificates/renew"])
def test_what_cannot_be_used_at_all_is_had_anew_by_name_too(broken: Any, path: str) -> None:
    assert broken.admin.post(f"/api/{path}").status_code == 200
    assert list(broken.listed()) == ["a.example.com"]


def test_what_cannot_be_used_and_nobody_wants_says_what_to_do(broken: Any) -> None:
    answer = broken.admin.post("/api/certificates/b.example.com/renew")
    assert answer.status_code == 500
    assert "request a certificate for its names, or delete it" in answer.get_json()["error"]
    assert broken.admin.delete("/api/certificates/b.example.com").status_code == 200
    broken.issuer.refuse["a.example.com"] = Failed("the authority says no", code="CERTBOT_FAILED")
    assert broken.admin.post("/api/certificates/renew").status_code == 500


@pytest.mark.parametrize("dns", [True, False])
def test_doctor_finds_settings_that_cannot_work(make_bench: Any, tmp_path: Path, dns: bool) -> None:
    settings = {"certbot.ca_file": str(tmp_path / "gone.pem"), "certbot.dns_provider": "acme-dns"}
    finding = found(make_bench(settings, dns=dns))
    assert finding.status == "warning"
    assert f"certbot.ca_file: {tmp_path / 'gone.pem'} cannot be read" in finding.message
    assert ("certbot.dns_provider names 'acme-dns'" in finding.message) is not dns


class Api:
    """A client of a panel in this process."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def get(self, path: str, **_: Any) -> Any:
        return self._answer(self._client.get(path))

    def post(self, path: str, body: Any = None, **_: Any) -> Any:
        return self._answer(self._client.post(path, json=body) if body else self._client.post(path))

    def _answer(self, answer: Any) -> Any:
        body = answer.get_json()
        if answer.status_code >= 300:
            raise ApiError(body["error"], status=answer.status_code, code=body["code"], body=body)
        return body


@pytest.fixture
def run(bench: Any) -> Callable[..., Result]:
    def run(*arguments: str, as_json: bool = False) -> Result:
        session = Session(api=Api(bench.admin), json=as_json)
        return CliRunner().invoke(certificates, arguments, obj=session)

    return run


def test_the_list_shows_each_and_what_is_wrong(bench: Any, run: Any) -> None:
    assert "no certificates" in run("list").output
    bench.lineages.add("a.example.com")
    bench.lineages.add("b.example.com", age=timedelta(days=80))
    result = run("list")
    assert result.exit_code == 0
    assert "a.example.com" in result.stdout
    assert "expiring" in result.stdout
    assert "Warning: b.example.com: It is due" in result.stderr
    assert [one["domain"] for one in json.loads(run("list", as_json=True).stdout)] == [
        "a.example.com", "b.example.com",
    ]  # fmt: skip


def test_one_is_requested_and_renewed(bench: Any, run: Any) -> None:
    assert "Successfully received certificate" in run("request", "a.example.com").stdout
    assert "Successfully received certificate" in run("renew", "a.example.com").stdout
    assert "No certificate is due" in run("renew").stdout
    assert [call for call, _ in bench.issuer.calls] == ["issue", "renew"]


def test_a_failure_ends_with_its_reason(bench: Any, run: Any) -> None:
    bench.issuer.refuse["a.example.com"] = Failed("the authority says no", code="CERTBOT_FAILED")
    result = run("request", "a.example.com")
    assert result.exit_code == 1
    assert "the authority says no" in result.output


def test_when_some_fail_the_command_fails_and_names_them(bench: Any, run: Any) -> None:
    for name in ("a.example.com", "b.example.com"):
        bench.lineages.add(name, age=timedelta(days=80))
    bench.issuer.refuse["a.example.com"] = Failed("no", code="CERTBOT_FAILED")
    result = run("renew")
    assert result.exit_code == 1
    assert "Warning: a.example.com: no" in result.stderr
