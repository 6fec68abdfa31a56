"""Certificates from a real authority, proved through the real proxy, served by it and renewed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flatrun_e2e.dns_plugin import DnsPlugin
from flatrun_e2e.edge import wait_until
from flatrun_e2e.pebble import Pebble
from flatrun_e2e.secured import Secured, names_of

HOST, WWW, OTHER = "blog.example.test", "www.blog.example.test", "shop.example.test"
KEY_ID, KEY = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
StartSecured = Callable[..., Secured]


@pytest.fixture
def site(unique_name: str) -> str:
    return unique_name


def test_a_domain_and_its_aliases_share_a_certificate_which_is_renewed_and_served(
    start_secured: StartSecured, site: str, application_image: str
) -> None:
    # As many refused nonces and reused proofs as a bad authority has.
    world = start_secured(nonce_reject=15, authz_reuse=100)
    world.edge.site(site, application_image)
    result = world.add(site, HOST, aliases=[WWW])
    assert "ssl_error" not in result, result
    assert result["certificate_requested"]
    first = world.served(HOST)
    assert names_of(first) == {HOST, WWW}
    assert world.served(WWW) == first
    answer = world.edge.visit(HOST, "/x?y=1", root=world.root)
    assert (answer.status, answer.application) == (200, site)
    redirect = world.edge.visit(HOST, "/x?y=1")
    assert (redirect.status, redirect.headers["Location"]) == (
        301,
        f"https://{HOST}:{world.edge.ports.https}/x?y=1",
    )

    found = world.certificate(HOST)
    assert (found["status"], found["served"], found["deployment_id"]) == ("valid", True, site)
    assert set(found["domains"]) == {HOST, WWW}
    renewed = world.edge.panel.post(f"/api/certificates/{HOST}/renew")
    assert renewed.status_code == 200, renewed.text
    second = world.served(HOST)
    assert second.serial_number != first.serial_number
    assert names_of(second) == names_of(first)
    assert world.certificate(HOST)["served"] is True


def test_a_domain_that_goes_takes_its_site_along_and_others_stay(
    start_secured: StartSecured, site: str, application_image: str
) -> None:
    world = start_secured()
    world.edge.site(site, application_image)
    kept = world.edge.add(site, OTHER, ssl={"enabled": True})
    assert kept["proxy_result"]["certificate_exists"], kept
    going = world.edge.add(site, HOST, ssl={"enabled": True})
    before = world.served(OTHER)
    world.edge.remove(site, going)
    assert world.edge.visit(OTHER, root=world.root).application == site
    assert world.served(OTHER) == before
    wait_until(lambda: world.edge.visit(HOST).application, "")
    # Old workers of nginx accept a moment longer.
    wait_until(lambda: is_served(world, HOST), False)


def is_served(world: Secured, host: str) -> bool:
    """Whether a host is served by a good certificate."""
    try:
        return bool(world.served(host))
    except OSError:
        return False


def test_a_certificate_is_deleted_as_a_whole_and_had_again_whatever_is_left_of_one(
    start_secured: StartSecured, site: str, application_image: str
) -> None:
    world = start_secured()
    world.edge.site(site, application_image)
    world.edge.add(site, HOST)
    panel, path, config = world.edge.panel, f"/api/certificates/{HOST}", world.live.parent
    for wanted in (False, True):
        assert panel.post("/api/certificates", {"domain": HOST}).status_code == 201
        marked = panel.request("PATCH", f"{path}/auto-renew", json={"auto_renew": wanted})
        assert marked.status_code == 200, marked.text
        deleted = panel.delete(path)
        assert deleted.status_code == 200, deleted.text
        assert [panel.get(path).status_code, panel.delete(path).status_code] == [404, 404]
        assert not (world.live / HOST).exists()
    for folder in ("live", "archive"):
        (config / folder / HOST).mkdir()
        (config / folder / HOST / "left.txt").touch()
    (config / "renewal" / f"{HOST}.conf").touch()
    assert panel.post("/api/certificates", {"domain": HOST}).status_code == 201
    before = world.certificate(HOST)
    # A certificate that can be used, and of which certbot knows nothing any more.
    (config / "renewal" / f"{HOST}.conf").write_text("")
    renewed = panel.post(f"{path}/renew")
    assert renewed.status_code == 200, renewed.text
    assert world.certificate(HOST)["not_before"] >= before["not_before"]
    assert (config / "renewal" / f"{HOST}.conf").read_text()
    assert [one["domain"] for one in panel.get("/api/certificates").json()["certificates"]] == [HOST]
    assert sorted(one.name for one in world.live.iterdir()) == ["README", HOST]


def test_while_the_proxy_is_stopped_the_authority_is_not_asked(
    start_secured: StartSecured, site: str, application_image: str
) -> None:
    world = start_secured()
    world.edge.site(site, application_image)
    world.edge.add(site, HOST)
    world.edge.engine.stop(world.edge.name, timeout=2)
    answer = world.edge.panel.post("/api/certificates", {"domain": HOST})
    assert (answer.status_code, answer.json()["code"]) == (503, "NGINX_NOT_RUNNING"), answer.text
    assert world.asked.asked() == 0


def test_a_revoked_certificate_is_due_at_once_because_the_authority_says_so(
    start_secured: StartSecured, site: str, application_image: str
) -> None:
    world = start_secured(validity=30 * 86400)
    world.edge.site(site, application_image)
    world.add(site, HOST)
    world.add(site, OTHER)
    before, other = world.served(HOST), world.served(OTHER)
    assert world.certificate(HOST)["status"] == "valid"
    world.revoke(HOST)
    assert world.pebble.status_of(before.serial_number) == "Revoked"
    answer = world.edge.panel.post("/api/certificates/renew")
    assert answer.json()["result"]["renewed_domains"] == [HOST], answer.text
    after = world.served(HOST)
    assert world.pebble.status_of(after.serial_number) == "Valid"
    assert world.served(OTHER) == other
    assert world.edge.panel.post("/api/certificates/renew").json()["result"]["renewed_domains"] == []


def test_in_the_background_what_the_authority_wants_renewed_is_renewed(
    start_secured: StartSecured, site: str, application_image: str
) -> None:
    world = start_secured()
    world.edge.site(site, application_image)
    world.add(site, HOST)
    first = world.served(HOST)
    world.revoke(HOST)
    change = {"certbot": {"enabled": True}}
    assert world.edge.panel.put("/api/settings", change).status_code == 200
    world.edge.panel.restart()
    wait_until(lambda: world.served(HOST) != first, True, 120)
    assert world.pebble.status_of(world.served(HOST).serial_number) == "Valid"


def test_a_wildcard_is_proved_by_the_records_of_a_dns_plugin(
    start_secured: StartSecured, site: str, application_image: str, tmp_path: Path
) -> None:
    made: list[DnsPlugin] = []

    def env(pebble: Pebble) -> dict[str, str]:
        made.append(DnsPlugin(tmp_path / "dns-plugin", pebble.dns.management, "example.test"))
        return made[0].env

    world = start_secured(env=env, nonce_reject=5)
    answer = world.edge.panel.post("/api/certificates", {"domain": "*.example.test"})
    assert answer.status_code == 201, answer.text
    changes = made[0].changes()
    assert {(name, kind) for _, name, kind, _ in changes} == {("_acme-challenge.example.test", "TXT")}
    presented = [value for action, _, _, value in changes if action == "present"]
    assert presented
    assert sorted(presented) == sorted(value for action, _, _, value in changes if action == "withdraw")

    world.edge.site(site, application_image)
    result = world.add(site, HOST)
    assert "ssl_error" not in result, result
    assert names_of(world.served(HOST)) == {"*.example.test"}
    (name,) = [one["domain"] for one in world.edge.panel.get("/api/certificates").json()["certificates"]]
    before = world.served(HOST).serial_number
    renewed = world.edge.panel.post(f"/api/certificates/{name}/renew")
    assert renewed.status_code == 200, renewed.text
    assert world.served(HOST).serial_number != before


def test_a_wildcard_without_a_dns_plugin_is_refused_with_the_reason(start_secured: StartSecured) -> None:
    world = start_secured()
    answer = world.edge.panel.post("/api/certificates", {"domain": "*.example.test"})
    assert answer.status_code == 400
    assert "set up a DNS provider" in answer.json()["error"]
    assert world.asked.asked() == 0


def test_an_authority_that_knows_its_customers_gets_the_key_that_is_set(
    start_secured: StartSecured, site: str, application_image: str
) -> None:
    world = start_secured(eab={KEY_ID: KEY})
    world.edge.site(site, application_image)
    result = world.add(site, HOST)
    assert "set certbot.eab_kid and certbot.eab_hmac_key" in result["ssl_error"]
    change: dict[str, Any] = {"certbot": {"eab_kid": KEY_ID, "eab_hmac_key": KEY}}
    assert world.edge.panel.put("/api/settings", change).status_code == 200
    answer = world.edge.panel.post("/api/certificates", {"domain": HOST})
    assert answer.status_code == 201, answer.text
    assert names_of(world.served(HOST)) == {HOST}
    assert KEY not in world.edge.panel.log
