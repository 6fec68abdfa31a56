"""The routes, through the client."""

from datetime import timedelta
from typing import Any

import pytest

from flatrun_certificates.schemas import CertificatesAnswer, OneCertificateAnswer
from flatrun_core import Failed, Level
from flatrun_core.ports.proxy import PANEL

READ, WRITE, DELETE = "certificates:read", "certificates:write", "certificates:delete"


def test_without_a_folder_there_are_no_certificates(bench: Any) -> None:
    answer = bench.admin.get("/api/certificates")
    assert (answer.status_code, answer.get_json()) == (200, {"certificates": []})


def test_a_certificate_is_shown_with_everything_that_is_known_of_it(bench: Any) -> None:
    bench.routes.add("my-app", "app.example.com", "www.app.example.com")
    live = bench.lineages.add("app.example.com", ["app.example.com", "www.app.example.com"])
    answer = bench.admin.get("/api/certificates").get_json()
    assert CertificatesAnswer().validate(answer) == {}
    found = answer["certificates"][0]
    times = [found.pop(name) for name in ("not_before", "not_after", "renewal_at")]
    assert all(time.endswith("Z") for time in times)
    assert times[0] < times[2] < times[1]
    assert found == {
        "domain": "app.example.com",
        "issuer": "Test Root",
        "days_left": 88,
        "status": "valid",
        "path": str(live / "cert.pem"),
        "auto_renew": True,
        "deployment_id": "my-app",
        "domains": ["app.example.com", "www.app.example.com"],
    }


def test_one_certificate_is_shown_as_in_the_list(bench: Any) -> None:
    bench.lineages.add("app.example.com")
    answer = bench.admin.get("/api/certificates/app.example.com").get_json()
    assert OneCertificateAnswer().validate(answer) == {}
    assert answer["certificate"] == bench.one("app.example.com")
    assert "deployment_id" not in answer["certificate"]


def test_an_unknown_certificate_is_not_found(bench: Any) -> None:
    for method, path in (
        ("GET", ""), ("DELETE", ""), ("POST", "/renew"),
    ):  # fmt: skip
        answer = bench.admin.open(method, f"/api/certificates/none.example.com{path}")
        assert (answer.status_code, answer.get_json()["code"]) == (404, "CERTIFICATE_NOT_FOUND")
    answer = bench.admin.open(
        "PATCH", "/api/certificates/none.example.com/auto-renew", json={"auto_renew": True}
    )
    assert answer.status_code == 404


@pytest.mark.parametrize("name", ["..", ".hidden", "a%0Ab", "a%5Cb", "%00", "x" * 300])
def test_a_name_that_is_no_folders_is_refused(bench: Any, name: str) -> None:
    answer = bench.admin.get(f"/api/certificates/{name}")
    assert answer.status_code in (400, 404)
    assert "certificate" not in answer.get_json()


def test_a_requested_certificate_covers_its_entry_and_is_served(bench: Any) -> None:
    bench.routes.add("my-app", "app.example.com", "www.app.example.com")
    answer = bench.admin.post("/api/certificates", json={"domain": "WWW.app.example.com."})
    assert answer.status_code == 201, answer.get_json()
    assert answer.get_json() == {
        "message": "Certificate requested",
        "result": {
            "domain": "www.app.example.com",
            "success": True,
            "message": "Successfully received certificate app.example.com.",
        },
    }
    request = bench.issuer.requests[0]
    assert (request.name, request.challenge, request.force) == ("app.example.com", "http-01", False)
    assert request.hosts == ("app.example.com", "www.app.example.com")
    assert bench.proxy.reloads == 1
    assert bench.one("app.example.com")["domains"] == ["app.example.com", "www.app.example.com"]
    event = bench.events.issued[0]
    assert (event.name, event.deployment, event.error) == ("app.example.com", "my-app", "")


def test_a_certificate_that_does_is_kept_and_asked_for_no_more(bench: Any) -> None:
    bench.lineages.add("app.example.com")
    answer = bench.admin.post("/api/certificates", json={"domain": "app.example.com"})
    assert answer.status_code == 201
    assert bench.issuer.calls == []


def test_a_failure_says_why_and_shows_until_it_succeeds(bench: Any) -> None:
    bench.lineages.add("app.example.com", age=timedelta(days=80))
    bench.issuer.refuse["app.example.com"] = Failed("the authority says no", code="CERTBOT_FAILED")
    answer = bench.admin.post("/api/certificates", json={"domain": "app.example.com"})
    assert (answer.status_code, answer.get_json()["code"]) == (500, "CERTBOT_FAILED")
    shown = bench.one("app.example.com")
    assert shown["last_error"] == "the authority says no"
    assert shown["next_attempt_at"]
    assert any("the authority says no" in warning for warning in shown["warnings"])
    assert bench.events.failed[0].error == "the authority says no"
    bench.issuer.refuse.clear()
    assert bench.admin.post("/api/certificates", json={"domain": "app.example.com"}).status_code == 201
    assert {"last_error", "next_attempt_at", "warnings"}.isdisjoint(bench.one("app.example.com"))


@pytest.mark.parametrize(
    "domain",
    ["", "localhost", "10.0.0.1", "a b.example.com", "a;b.example.com", "$x.example.com", "a{.example.com",
     "x.example.com:80", "-a.example.com", f"{'a' * 64}.example.com", f"{'a.' * 150}com", "a\nb.example.com",
     "**.example.com", "*.", "a.*.example.com", "\x00.example.com", None, 5, ["a.example.com"]],
)  # fmt: skip
def test_what_is_no_host_is_refused(bench: Any, domain: Any) -> None:
    answer = bench.admin.post("/api/certificates", json={"domain": domain})
    assert (answer.status_code, answer.get_json()["code"]) == (400, "VALIDATION_ERROR")
    assert bench.issuer.calls == []


def test_a_name_in_another_script_becomes_ascii(bench: Any) -> None:
    answer = bench.admin.post("/api/certificates", json={"domain": "bücher.example.com"})
    assert answer.status_code == 201
    assert bench.issuer.requests[0].hosts == ("xn--bcher-kva.example.com",)


def test_without_an_address_nothing_is_asked(make_bench: Any) -> None:
    bench = make_bench({"certbot.email": "", "certificates.issuer": "certbot"})
    answer = bench.admin.post("/api/certificates", json={"domain": "app.example.com"})
    assert answer.status_code == 400
    assert "certbot.email" in answer.get_json()["error"]


def test_a_wildcard_needs_somebody_who_can_change_its_zone(bench: Any) -> None:
    answer = bench.admin.post("/api/certificates", json={"domain": "*.example.com"})
    assert answer.status_code == 400
    assert "DNS" in answer.get_json()["error"]
    bench.records.zones = ("example.com",)
    assert bench.admin.post("/api/certificates", json={"domain": "*.example.com"}).status_code == 201
    request = bench.issuer.requests[0]
    assert (request.name, request.hosts, request.challenge) == (
        "_wildcard.example.com", ("*.example.com",), "dns-01",
    )  # fmt: skip
    assert bench.certificates.lookup(["shop.example.com"]).name == "_wildcard.example.com"
    assert bench.certificates.lookup(["example.com"]) is None


def test_renewing_what_is_due_names_what_is_new(bench: Any) -> None:
    bench.lineages.add("due.example.com", age=timedelta(days=80))
    bench.lineages.add("fresh.example.com")
    answer = bench.admin.post("/api/certificates/renew")
    assert (answer.status_code, answer.get_json()) == (200, {
        "message": "Renewal completed",
        "result": {
            "success": True,
            "renewed": True,
            "message": "due.example.com: Successfully received certificate due.example.com.",
            "renewed_domains": ["due.example.com"],
        },
    })  # fmt: skip
    assert bench.issuer.calls == [("renew", "due.example.com")]
    assert bench.proxy.reloads == 1


def test_with_nothing_due_nothing_is_renewed(bench: Any) -> None:
    bench.lineages.add("fresh.example.com")
    result = bench.admin.post("/api/certificates/renew").get_json()["result"]
    assert (result["success"], result["renewed"], result["renewed_domains"]) == (True, False, [])
    assert bench.proxy.reloads == 0


def test_one_that_fails_does_not_stop_the_others(bench: Any) -> None:
    for name in ("a.example.com", "b.example.com"):
        bench.lineages.add(name, age=timedelta(days=80))
    bench.issuer.refuse["a.example.com"] = Failed("no", code="CERTBOT_FAILED")
    answer = bench.admin.post("/api/certificates/renew")
    result = answer.get_json()["result"]
    assert answer.status_code == 200
    assert (result["success"], result["renewed_domains"]) == (False, ["b.example.com"])
    assert result["failed_domains"] == [{"domain": "a.example.com", "error": "no"}]
    assert bench.proxy.reloads == 1


def test_when_all_fail_the_answer_is_a_failure(bench: Any) -> None:
    bench.lineages.add("a.example.com", age=timedelta(days=80))
    bench.issuer.refuse["a.example.com"] = Failed("no", code="CERTBOT_FAILED")
    answer = bench.admin.post("/api/certificates/renew")
    assert (answer.status_code, answer.get_json()["code"]) == (500, "CERTBOT_FAILED")
    assert answer.get_json()["result"]["failed_domains"] == [{"domain": "a.example.com", "error": "no"}]
    assert bench.proxy.reloads == 0


def test_one_is_renewed_at_once_due_or_not(bench: Any) -> None:
    bench.lineages.add("a.example.com")
    before = bench.certificates.lookup(["a.example.com"]).fingerprint
    answer = bench.admin.post("/api/certificates/a.example.com/renew")
    assert answer.status_code == 200
    assert answer.get_json() == {
        "message": "Certificate renewed",
        "domain": "a.example.com",
        "result": {
            "domain": "a.example.com",
            "success": True,
            "message": "Successfully received certificate a.example.com.",
        },
    }
    assert bench.certificates.lookup(["a.example.com"]).fingerprint != before


def test_a_deployments_certificates_are_renewed(bench: Any) -> None:
    bench.routes.add("blog", "a.example.com")
    bench.routes.add("shop", "b.example.com")
    for name in ("a.example.com", "b.example.com"):
        bench.lineages.add(name)
    answer = bench.admin.post("/api/deployments/blog/certificates/renew")
    assert answer.status_code == 200
    assert answer.get_json()["deployment"] == "blog"
    assert [one["domain"] for one in answer.get_json()["result"]["results"]] == ["a.example.com"]
    assert answer.get_json()["result"]["success"] is True
    assert bench.issuer.calls == [("renew", "a.example.com")]


def test_the_mark_of_a_certificate_wins_over_the_setting(bench: Any) -> None:
    live = bench.lineages.add("a.example.com")
    for wanted in (False, True, True, False):
        answer = bench.admin.open(
            "PATCH", "/api/certificates/a.example.com/auto-renew", json={"auto_renew": wanted}
        )
        assert (answer.status_code, answer.get_json()) == (
            200, {"domain": "a.example.com", "auto_renew": wanted},
        )  # fmt: skip
        assert bench.one("a.example.com")["auto_renew"] is wanted
        marks = sorted(path.name for path in live.glob(".flatrun*"))
        assert marks == [f".flatrun-auto-renew-{'enabled' if wanted else 'disabled'}"]


def test_a_certificate_in_use_is_not_deleted(bench: Any) -> None:
    bench.routes.add("blog", "a.example.com")
    bench.lineages.add("a.example.com")
    answer = bench.admin.delete("/api/certificates/a.example.com")
    assert (answer.status_code, answer.get_json()["code"]) == (409, "CERTIFICATE_IN_USE")
    assert answer.get_json()["vhosts"] == ["blog"]
    assert answer.get_json()["hint"]
    assert bench.issuer.calls == []


def test_by_force_its_sites_lose_tls_before_it_goes(bench: Any) -> None:
    bench.routes.add("blog", "a.example.com")
    bench.lineages.add("a.example.com")
    answer = bench.admin.delete("/api/certificates/a.example.com?force=true")
    assert (answer.status_code, answer.get_json()) == (
        200, {"message": "Certificate deleted", "domain": "a.example.com"},
    )  # fmt: skip
    assert not bench.routes.wants_tls("a.example.com")
    assert bench.listed() == {}


@pytest.mark.parametrize("query", ["", "?force=true"])
def test_the_panels_own_certificate_is_of_no_deployment_and_stays_while_it_is_wanted(
    bench: Any, query: str
) -> None:
    bench.routes.add(PANEL, "panel.example.com")
    assert bench.admin.post("/api/certificates", json={"domain": "panel.example.com"}).status_code == 201
    assert bench.events.issued[0].deployment is None
    assert "deployment_id" not in bench.one("panel.example.com")
    answer = bench.admin.delete(f"/api/certificates/panel.example.com{query}")
    assert (answer.status_code, answer.get_json()["code"]) == (409, "CERTIFICATE_IN_USE")
    assert "domain.panel_ssl" in answer.get_json()["hint"]
    assert bench.routes.wants_tls("panel.example.com")
    bench.routes.without_tls(["panel.example.com"])
    assert bench.admin.delete("/api/certificates/panel.example.com").status_code == 200


def test_one_that_no_site_uses_is_deleted_at_once(bench: Any) -> None:
    bench.routes.add("blog", "a.example.com", tls=False)
    bench.lineages.add("a.example.com")
    assert bench.admin.delete("/api/certificates/a.example.com").status_code == 200
    assert bench.issuer.calls == [("delete", "a.example.com")]


def test_others_certificates_are_neither_seen_nor_touched(bench: Any, reader: Any) -> None:
    bench.routes.add("blog", "a.example.com")
    bench.routes.add("shop", "b.example.com")
    for name in ("a.example.com", "b.example.com", "free.example.com"):
        bench.lineages.add(name, age=timedelta(days=80))
    client = reader([READ, WRITE, DELETE], {"blog": Level.WRITE})
    assert sorted(bench.listed(client)) == ["a.example.com", "free.example.com"]
    for method, path, body in (
        ("GET", "/b.example.com", None),
        ("DELETE", "/b.example.com?force=1", None),
        ("POST", "/b.example.com/renew", None),
        ("PATCH", "/b.example.com/auto-renew", {"auto_renew": False}),
        ("POST", "", {"domain": "b.example.com"}),
    ):
        answer = client.open(method, f"/api/certificates{path}", json=body)
        assert (answer.status_code, answer.get_json()["code"]) == (403, "DEPLOYMENT_FORBIDDEN"), path
    assert bench.issuer.calls == []
    renewed = client.post("/api/certificates/renew").get_json()["result"]["renewed_domains"]
    assert renewed == ["a.example.com", "free.example.com"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("PATCH", "/auto-renew", {}), ("PATCH", "/auto-renew", {"auto_renew": "maybe"}),
     ("DELETE", "?force=maybe", None)],
)  # fmt: skip
def test_who_has_no_access_learns_nothing_of_the_body(
    bench: Any, reader: Any, method: str, path: str, body: Any
) -> None:
    bench.routes.add("shop", "b.example.com")
    bench.lineages.add("b.example.com")
    bench.lineages.add("free.example.com")
    for grants, name, expected in (
        ({"blog": Level.WRITE}, "b.example.com", 403),
        ({"shop": Level.READ}, "b.example.com", 403),
        ({"shop": Level.WRITE}, "b.example.com", 400),
        ({}, "free.example.com", 400),
    ):
        client = reader([READ, WRITE, DELETE], grants)
        answer = client.open(method, f"/api/certificates/{name}{path}", json=body)
        assert answer.status_code == expected, (grants, name, answer.get_json())
    assert reader([READ], {}).open(method, f"/api/certificates/free.example.com{path}").status_code == 403


def test_reading_a_deployment_is_not_enough_to_change_its_certificates(bench: Any, reader: Any) -> None:
    bench.routes.add("blog", "a.example.com")
    bench.lineages.add("a.example.com")
    client = reader([READ, WRITE, DELETE], {"blog": Level.READ})
    assert client.get("/api/certificates/a.example.com").status_code == 200
    assert client.post("/api/certificates/a.example.com/renew").status_code == 403
    assert client.post("/api/deployments/blog/certificates/renew").status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "action", "resource"),
    [
        ("POST", "/api/certificates", "certificates.request", "new.example.com"),
        ("POST", "/api/certificates/renew", "certificates.renew", ""),
        ("POST", "/api/certificates/a.example.com/renew", "certificates.renew_one", "a.example.com"),
        ("PATCH", "/api/certificates/a.example.com/auto-renew", "certificates.auto_renew", "a.example.com"),
        ("DELETE", "/api/certificates/a.example.com", "certificates.delete", "a.example.com"),
    ],
)
def test_what_changes_something_is_recorded(
    bench: Any, method: str, path: str, action: str, resource: str
) -> None:
    bench.lineages.add("a.example.com")
    body = {"domain": "new.example.com", "auto_renew": True}
    assert bench.admin.open(method, path, json=body).status_code in (200, 201)
    request, outcome = bench.notebook.finished[0]
    assert (request.action, request.resource_type) == (action, "certificate")
    assert (outcome.resource_id or request.resource_id) == resource


def test_the_renewal_of_a_deployment_is_recorded_as_the_deployments(bench: Any) -> None:
    assert bench.admin.post("/api/deployments/blog/certificates/renew").status_code == 200
    request, _ = bench.notebook.finished[0]
    recorded = (request.action, request.resource_type, request.resource_id)
    assert recorded == ("certificates.renew_deployment", "deployment", "blog")
