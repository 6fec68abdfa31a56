"""What certbot is asked, and what its words are taken for; the program itself is not run."""

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_certificates.certbot import CertbotIssuer
from flatrun_certificates.errors import NotIssued, TookTooLong, TooMany
from flatrun_certificates.faults import fault, tail
from flatrun_certificates.issuers import ISSUERS
from flatrun_certificates.paths import PLACES, Folders
from flatrun_certificates.settings import CertbotSettings
from flatrun_certificates.state import STATES
from flatrun_core import Failed, RateLimited, TimedOut
from flatrun_core.ports.certificates import CertificateRequest, DnsRecords
from flatrun_core.testing.programs import RecordingPrograms

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REQUEST = CertificateRequest("a.example.com", ("a.example.com", "www.a.example.com"))
FAILED = """Saving debug log to /x/letsencrypt.log
Requesting a certificate for a.example.com

Certbot failed to authenticate some domains. The Certificate Authority reported these problems:
  Identifier: www.a.example.com
  Type:   {kind}
  Detail: {detail}

Ask for help or search for solutions at https://community.letsencrypt.org.
"""


class Desk:
    """An issuer whose program is recorded."""

    def __init__(self, lineages: Any, webroot: Path) -> None:
        self.programs = RecordingPrograms()
        self.folders = Folders(lineages.config, webroot)
        self.lineages = lineages
        self.settings = CertbotSettings(email="admin@example.com")
        self.records: DnsRecords | None = None
        self.waits: list[float] = []
        self.issuer = CertbotIssuer(
            lambda: self.programs,
            lambda: self.folders,
            lambda: self.settings,
            lambda: self.records,
            self.waits.append,
        )

    def args(self) -> tuple[str, ...]:
        """The arguments of the last call, the interpreter's left out."""
        return self.programs.calls[-1].args[4:]

    def fails(self, output: str = "", log: str = "", times: int | None = None) -> None:
        """Let certbot end with 1, so many times or always; its log is of a moment that is still to come."""
        self.programs.answer((), stdout=output, returncode=1, times=times)
        if log:
            path = self.folders.own / "logs" / "letsencrypt.log"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(log)
            os.utime(path, (time.time() + 60, time.time() + 60))


@pytest.fixture
def desk(lineages: Any, tmp_path: Path) -> Desk:
    return Desk(lineages, tmp_path / "html")


def values(args: tuple[str, ...], option: str) -> list[str]:
    return [one.partition("=")[2] for one in args if one.startswith(f"{option}=")]


def value(args: tuple[str, ...], option: str) -> str:
    (found,) = values(args, option)
    return found


def test_certbot_runs_in_the_panels_interpreter_and_asks_for_every_name(desk: Desk) -> None:
    desk.programs.answer((), stdout="Successfully received certificate.")
    assert desk.issuer.issue(REQUEST).output == "Successfully received certificate."
    call = desk.programs.calls[0]
    assert call.args[:3] == (sys.executable, "-P", "-c")
    assert 290 < call.timeout <= 300
    assert dict(call.env) == {}
    args = desk.args()
    assert args[0] == "certonly"
    assert values(args, "--domains") == list(REQUEST.hosts)
    assert value(args, "--cert-name") == "a.example.com"
    assert value(args, "--webroot-path") == str(desk.folders.webroot)
    assert value(args, "--config-dir") == str(desk.folders.config)
    assert value(args, "--email") == "admin@example.com"
    assert {"--non-interactive", "--webroot", "--agree-tos", "--no-eff-email"} <= set(args)
    assert {"--renew-with-new-domains", "--keep-until-expiring"} <= set(args)
    assert not {"--staging", "--force-renewal"} & set(args)
    assert values(args, "--server") == values(args, "--config") == []


def test_its_own_folders_are_nobody_elses(desk: Desk) -> None:
    desk.issuer.issue(REQUEST)
    for folder in (desk.folders.own, desk.folders.own / "work", desk.folders.own / "logs"):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert desk.folders.webroot.stat().st_mode & 0o777 == 0o755


def test_another_authority_and_its_trust_come_from_the_settings(desk: Desk) -> None:
    desk.settings = CertbotSettings(
        email="a@b.example", staging=True, server="https://ca.test/dir", ca_file=Path("/etc/ca.pem")
    )
    desk.issuer.issue(REQUEST)
    assert value(desk.args(), "--server") == "https://ca.test/dir"
    assert "--staging" not in desk.args()
    assert desk.programs.calls[-1].env["REQUESTS_CA_BUNDLE"] == "/etc/ca.pem"


def test_the_test_directory_is_asked_when_so_set(desk: Desk) -> None:
    desk.settings = CertbotSettings(email="a@b.example", staging=True)
    desk.issuer.issue(REQUEST)
    assert "--staging" in desk.args()


def test_the_key_of_an_external_account_is_in_no_argument(desk: Desk) -> None:
    desk.settings = CertbotSettings(email="a@b.example", eab_kid="kid-1", eab_hmac_key="c2VjcmV0")
    desk.issuer.issue(REQUEST)
    path = Path(value(desk.args(), "--config"))
    assert path.read_text() == "eab-kid = kid-1\neab-hmac-key = c2VjcmV0\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert not any("c2VjcmV0" in argument for argument in desk.programs.calls[-1].args)


def test_a_proof_by_dns_is_the_plugins_own(desk: Desk) -> None:
    class Records:
        def covers(self, name: str) -> bool:
            return True

        def present(self, name: str, type: str, value: str) -> None:
            """Nothing asks."""

        def withdraw(self, name: str, type: str, value: str) -> None:
            """Nothing asks."""

    desk.records = Records()
    desk.issuer.issue(CertificateRequest("_wildcard.example.com", ("*.example.com",), "dns-01"))
    assert value(desk.args(), "--authenticator") == "flatrun-dns"
    assert "--webroot" not in desk.args()
    assert len(desk.programs.calls[-1].env) == 2


def test_a_lineage_is_renewed_as_it_was_had(desk: Desk) -> None:
    desk.lineages.add("a.example.com")
    desk.issuer.renew("a.example.com", force=True)
    args = desk.args()
    assert args[:2] == ("renew", "--cert-name=a.example.com")
    assert {"--force-renewal", "--no-random-sleep-on-renew", "--non-interactive"} <= set(args)


def test_where_challenges_are_answered_elsewhere_now_it_is_asked_anew(desk: Desk, tmp_path: Path) -> None:
    desk.lineages.add("a.example.com", ["a.example.com", "b.example.com"])
    desk.folders = Folders(desk.folders.config, tmp_path / "moved")
    desk.issuer.renew("a.example.com", force=True)
    args = desk.args()
    assert args[0] == "certonly"
    assert value(args, "--webroot-path") == str(tmp_path / "moved")
    assert values(args, "--domains") == ["a.example.com", "b.example.com"]
    assert "--force-renewal" in args


def test_what_certbot_did_not_get_it_is_not_asked_to_renew(desk: Desk) -> None:
    (desk.lineages.live / "by-hand").mkdir(parents=True)
    with pytest.raises(NotIssued, match="by hand"):
        desk.issuer.renew("by-hand", force=True)
    assert desk.programs.calls == []
    desk.issuer.delete("by-hand")
    assert not (desk.lineages.live / "by-hand").exists()


def test_deleting_is_certbots(desk: Desk) -> None:
    desk.lineages.add("a.example.com")
    desk.issuer.delete("a.example.com")
    assert desk.args()[:2] == ("delete", "--cert-name=a.example.com")
    desk.lineages.add("a.example.com")
    desk.fails("no such thing")
    with pytest.raises(NotIssued, match="could not delete"):
        desk.issuer.delete("a.example.com")


@pytest.mark.parametrize(
    ("kind", "word"),
    [("unauthorized", "leads to this host"), ("dns", "DNS record"), ("connection", "port 80"),
     ("caa", "CAA"), ("incorrectResponse", "leads to this host"), ("tls", "TLS"),
     ("newKind", "certbot failed")],
)  # fmt: skip
def test_a_refusal_begins_with_what_to_do_and_is_not_repeated(desk: Desk, kind: str, word: str) -> None:
    desk.fails(FAILED.format(kind=kind, detail="the very words"))
    with pytest.raises(NotIssued) as caught:
        desk.issuer.issue(REQUEST)
    first = caught.value.message.partition(" The authority said: ")[0]
    assert word in first
    assert "the very words" in caught.value.message
    assert caught.value.body()["code"] == "CERTBOT_FAILED"
    assert "certbot" not in caught.value.message or kind == "newKind"
    said = caught.value.body()["error"]
    assert said.startswith(f"{caught.value.message} certbot failed: Requesting a certificate")
    assert caught.value.details["output"] in said
    assert "Ask for help" not in said
    assert len(desk.programs.calls) == 1
    if kind in ("unauthorized", "dns", "connection", "caa"):
        assert "www.a.example.com" in first


@pytest.mark.parametrize(
    "output",
    ["An unexpected error occurred:\nrequests.exceptions.ConnectionError: Max retries exceeded",
     "An unexpected error occurred:\nacme.errors.ClientError: <Response [502]>",
     "Another instance of Certbot is already running."],
)  # fmt: skip
def test_a_passing_fault_is_tried_again_a_few_times(desk: Desk, output: str) -> None:
    desk.fails(output, times=2)
    desk.programs.answer((), stdout="done", times=0)
    desk.issuer.issue(REQUEST)
    assert len(desk.programs.calls) == 3
    assert desk.waits == [1.0, 3.0]


def test_a_passing_fault_that_stays_is_given_up(desk: Desk) -> None:
    desk.fails("Max retries exceeded")
    with pytest.raises(NotIssued, match="cannot be reached"):
        desk.issuer.issue(REQUEST)
    assert len(desk.programs.calls) == 4


def problem(kind: str, detail: str = "oops", status: int = 400, headers: str = "") -> str:
    head = f"Received response:\nHTTP {status}\nServer: nginx\n{headers}"
    return (
        f"{head}Content-Type: application/problem+json\n\n"
        f'{{\n  "type": "urn:ietf:params:acme:error:{kind}",\n  "detail": "{detail}"\n}}\n'
    )


@pytest.mark.parametrize(
    ("headers", "detail", "seconds"),
    [("Retry-After: 3600\n", "too many", 3600),
     ("Retry-After: Thu, 01 Jan 2026 02:00:00 GMT\n", "too many", 7200),
     ("", "too many certificates: retry after 2026-01-01 05:00:00 UTC: see x", 18000),
     ("Retry-After: 99999999999\n", "too many", 7 * 86400),
     ("Retry-After: soon\n", "too many", 3600),
     ("", "too many", 3600)],
)  # fmt: skip
def test_a_limit_says_until_when_it_lasts(headers: str, detail: str, seconds: int) -> None:
    log = problem("rateLimited", detail, 429, headers)
    found = fault("An unexpected error occurred:\ntoo many", log, ("a.example.com",), "https://ca", NOW)
    assert found.kind == "rateLimited"
    assert found.wait == timedelta(seconds=seconds)
    assert found.transient is False


def test_a_limit_is_an_error_of_its_own_with_its_wait(desk: Desk) -> None:
    desk.fails("too many", problem("rateLimited", "too many", 429, "Retry-After: 600\n"))
    with pytest.raises(TooMany) as caught:
        desk.issuer.issue(REQUEST)
    assert caught.value.headers["Retry-After"] == "601"
    assert len(desk.programs.calls) == 1


@pytest.mark.parametrize(
    ("log", "kind"),
    [(problem("badNonce"), "badNonce"),
     (problem("badNonce") + problem("rejectedIdentifier"), "rejectedIdentifier"),
     (problem("externalAccountRequired"), "externalAccountRequired"),
     (problem("serverInternal"), "serverInternal")],
)  # fmt: skip
def test_the_last_problem_in_the_log_is_the_reason(log: str, kind: str) -> None:
    found = fault("An unexpected error occurred:\nx", log, ("a.example.com",), "https://ca", NOW)
    assert found.kind == kind
    assert "oops" in found.reason


@pytest.mark.parametrize(
    ("output", "kind"),
    [("JSONDecodeError: Expecting value: line 1", "rubbish"),
     ("acme.errors.ClientError: Unexpected response Content-Type: text/html", "rubbish"),
     ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", "untrusted"),
     ("acme.errors.MissingNonce: Server POST response did not include a replay nonce", "serverInternal"),
     (FAILED.format(kind="connection", detail="could not resolve URL"), "dns")],
)  # fmt: skip
def test_what_is_between_here_and_the_authority_is_told_apart(output: str, kind: str) -> None:
    assert fault(output, "", ("a.example.com",), "https://ca/dir", NOW).kind == kind


@given(output=st.text(max_size=400), log=st.text(max_size=400))
def test_any_words_become_a_sentence(output: str, log: str) -> None:
    found = fault(output, log, ("a.example.com",), "https://ca/dir", NOW)
    assert found.reason
    assert NotIssued(found, output).message


def test_the_tail_is_cut_and_without_what_certbot_says_each_time() -> None:
    said = tail("Saving debug log to /x\n" + "y" * 9000 + "\nNEXT STEPS:\n- Give money")
    assert said == "y" * 4000


def test_the_limit_of_time_is_an_answer_of_its_own(desk: Desk) -> None:
    desk.programs.answer(
        (), error=TimedOut("python took longer", output="x" * 9000 + "\nwaiting for the authority")
    )
    with pytest.raises(TookTooLong) as caught:
        desk.issuer.issue(REQUEST)
    assert caught.value.status == 504
    assert "certbot took longer than 300 seconds" in caught.value.message
    assert "waiting for the authority" not in caught.value.message
    body = caught.value.body()
    assert "waiting for the authority" in body["error"]
    assert len(body["error"]) < 4500
    assert set(body) == {"error", "code"}


@pytest.fixture
def hanging(certbot_bench: Any) -> Any:
    """A panel with the real issuer, whose program is always stopped at its limit."""
    bench = certbot_bench()
    programs = RecordingPrograms()
    programs.answer((), error=TimedOut("python took longer", output="waiting for the authority"))
    bench.service(ISSUERS)._found["certbot"] = CertbotIssuer(
        lambda: programs,
        bench.service(PLACES).folders,
        lambda: CertbotSettings(email="a@b.example"),
        lambda: None,
        lambda _: None,
    )
    bench.programs = programs
    return bench


def test_an_authority_that_says_nothing_until_the_limit_is_a_counted_failure(hanging: Any) -> None:
    answer = hanging.admin.post("/api/certificates", json={"domain": "a.example.com"})
    assert (answer.status_code, answer.get_json()["code"]) == (504, "TIMED_OUT")
    assert "waiting for the authority" in answer.get_json()["error"]
    state = hanging.service(STATES).of("a.example.com")
    assert (state.failures, state.last_kind) == (1, "timeout")
    assert state.last_error.startswith("certbot took longer than 300 seconds")
    assert "waiting" not in state.last_error
    assert state.next_attempt_at > state.last_attempt_at
    with pytest.raises(RateLimited):
        hanging.certificates.ensure(["a.example.com"])
    assert len(hanging.programs.calls) == 1


def test_a_renewal_that_is_stopped_at_its_limit_keeps_the_old_one(hanging: Any) -> None:
    hanging.lineages.add("a.example.com")
    before = hanging.certificates.lookup(["a.example.com"])
    answer = hanging.admin.post("/api/certificates/a.example.com/renew")
    assert answer.status_code == 500
    assert "certbot took longer than 300 seconds" in answer.get_json()["error"]
    assert hanging.service(STATES).of("a.example.com").failures == 1
    assert hanging.certificates.lookup(["a.example.com"]) == before


def test_who_publishes_a_site_hears_the_reason_and_a_person_certbots_words_too(certbot_bench: Any) -> None:
    output = FAILED.format(kind="dns", detail="no such name") + "x" * 9000
    found = fault(output, "", ("a.example.com",), "https://ca/dir", NOW)
    bench = certbot_bench()
    bench.issuer.refuse["a.example.com"] = NotIssued(found, output)
    with pytest.raises(NotIssued) as caught:
        bench.certificates.ensure(["a.example.com"])
    assert caught.value.message == found.reason
    assert len(caught.value.details["output"]) == 4000
    answer = bench.admin.post("/api/certificates", json={"domain": "a.example.com"})
    assert set(answer.get_json()) == {"error", "code"}
    assert answer.get_json()["error"] == f"{found.reason} certbot failed: {caught.value.details['output']}"


def test_a_folder_that_cannot_be_written_is_said(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "html").write_text("no folder")
    with pytest.raises(Failed, match="cannot be written"):
        desk.issuer.issue(REQUEST)


def damage(desk: Desk, version: int) -> None:
    for kind in ("cert", "fullchain", "privkey", "chain"):
        path = desk.lineages.config / "archive" / "a.example.com" / f"{kind}{version}.pem"
        path.write_bytes(path.read_bytes()[:30])


def test_a_damaged_lineage_is_set_back_before_certbot_sees_it(desk: Desk) -> None:
    desk.lineages.add("a.example.com")
    live = desk.lineages.add("a.example.com")
    damage(desk, 2)
    desk.issuer.renew("a.example.com", force=True)
    assert (live / "cert.pem").resolve().name == "cert1.pem"
    archive = desk.lineages.config / "archive" / "a.example.com"
    assert (archive / "cert2.pem.damaged").exists()
    assert desk.lineages.newest("a.example.com") == 1


def test_a_lineage_with_nothing_sound_is_put_aside(desk: Desk) -> None:
    desk.lineages.add("a.example.com")
    damage(desk, 1)
    desk.issuer.issue(REQUEST)
    assert not (desk.lineages.live / "a.example.com").exists()
    aside = next((desk.folders.own / "damaged").iterdir())
    assert {path.name for path in aside.iterdir()} == {"live", "archive", "renewal"}
