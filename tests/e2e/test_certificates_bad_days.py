"""Bad days of certificates: an authority that fails, names that are not ready, files that are damaged."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator

import docker
import pytest
from cryptography import x509
from flatrun_e2e.edge import wait_until
from flatrun_e2e.secured import Secured, names_of
from flatrun_e2e.traces import Traces

StartSecured = Callable[..., Secured]
Spoil = Callable[[Secured], None]


@pytest.fixture(scope="module")
def site(module_secured: Secured, engine: docker.APIClient, application_image: str) -> Iterator[str]:
    """A deployment that the tests of this module share, each with hosts of its own."""
    name = f"e2e-{secrets.token_hex(4)}"
    module_secured.edge.site(name, application_image)
    yield name
    Traces(engine).remove({name})


@pytest.fixture
def world(module_secured: Secured) -> Iterator[Secured]:
    """A panel whose authority is well, and is well again afterwards."""
    yield module_secured
    module_secured.asked.heal()


@pytest.fixture
def host(module_secured: Secured, site: str) -> Iterator[str]:
    """A host of the test's own; the site has no domain afterwards, so that nobody asks for it again."""
    yield f"blog-{secrets.token_hex(4)}.example.test"
    panel = module_secured.edge.panel
    for entry in panel.get(f"/api/deployments/{site}/domains").json()["domains"]:
        assert panel.delete(f"/api/deployments/{site}/domains/{entry['id']}").status_code == 200


def wait_for_http(world: Secured, host: str, site: str) -> None:
    wait_until(lambda: world.edge.visit(host).application, site)


def wait_for_leaf(world: Secured, host: str, leaf: x509.Certificate) -> None:
    wait_until(lambda: world.served(host) == leaf, True)


FAILURES: dict[str, tuple[Spoil, str]] = {
    "hanging up": (lambda world: world.asked.drop(), r"cannot be reached"),
    "an error of its own": (
        lambda world: world.asked.refuse(detail="out of order", status=503),
        r"has an error of its own",
    ),
    "refusing the name": (
        lambda world: world.asked.refuse(
            "order", kind="rejectedIdentifier", detail="not this one", status=400
        ),
        r"does not issue for .*not this one",
    ),
    "full of rubbish": (lambda world: world.asked.babble(), r"is no ACME authority, or is broken"),
    "answering half": (
        lambda world: world.asked.babble("order", body=b'{"status": "pen'),
        r"is no ACME authority, or is broken|has an error of its own",
    ),
}


@pytest.mark.parametrize("how", FAILURES)
def test_without_an_authority_a_site_stays_on_http_says_why_and_nobody_is_stormed(
    world: Secured, site: str, host: str, how: str
) -> None:
    spoil, reason = FAILURES[how]
    spoil(world)
    result = world.add(site, host)
    assert re.search(reason, result["ssl_error"]), result
    wait_for_http(world, host, site)

    asked = world.asked.asked("order|nonce|sign-me-up")
    again = world.publish(site)
    assert re.search(rf"{host}: .*the next one is at \d{{4}}-\d\d-\d\d \d\d:\d\d UTC", again["ssl_error"])
    assert world.asked.asked("order|nonce|sign-me-up") == asked


def test_a_person_may_ask_again_as_soon_as_the_authority_is_well(
    world: Secured, site: str, host: str
) -> None:
    world.asked.refuse("order", kind="malformed", detail="what?", status=400)
    assert "what?" in world.add(site, host)["ssl_error"]
    world.asked.heal()
    answer = world.edge.panel.post("/api/certificates", {"domain": host})
    assert answer.status_code == 201, answer.text
    assert world.edge.visit(host, root=world.root).application == site


def test_nobody_asks_before_the_time_that_the_authority_named(world: Secured, site: str, host: str) -> None:
    world.asked.limit("order", retry_after="3600", detail="too many certificates of late")
    before = world.asked.asked("order")
    result = world.add(site, host)
    assert "takes no more requests of this kind for now" in result["ssl_error"]
    assert "too many certificates of late" in result["ssl_error"]
    assert world.asked.asked("order") == before + 1
    world.asked.heal()
    answer = world.edge.panel.post("/api/certificates", {"domain": host})
    assert answer.status_code == 429
    assert 3000 < int(answer.headers["Retry-After"]) <= 3600
    world.publish(site)
    assert world.asked.asked("order") == before + 1


def test_errors_that_pass_by_are_passed_over(world: Secured, site: str, host: str) -> None:
    # Twice, because the library itself tries a refused nonce once more.
    world.asked.refuse("order", kind="badNonce", detail="stale", status=400, times=2)
    world.asked.drop("nonce", times=1)
    result = world.add(site, host)
    assert "ssl_error" not in result, result
    assert names_of(world.served(host)) == {host}


def test_a_slow_authority_is_waited_for(world: Secured, site: str, host: str) -> None:
    world.asked.delay(seconds=0.5)
    result = world.add(site, host)
    assert "ssl_error" not in result, result
    assert names_of(world.served(host)) == {host}


def test_a_renewal_that_fails_leaves_the_old_certificate_served(world: Secured, site: str, host: str) -> None:
    world.add(site, host)
    before = world.served(host)
    world.asked.refuse("order", kind="unauthorized", detail="account is closed", status=403)
    answer = world.edge.panel.post(f"/api/certificates/{host}/renew")
    assert answer.status_code == 500
    assert answer.json()["code"] == "CERTBOT_FAILED"
    assert "account is closed" in answer.json()["error"]
    found = world.certificate(host)
    assert "account is closed" in found["last_error"]
    assert found["next_attempt_at"]
    assert world.served(host) == before


def test_a_name_that_the_authority_cannot_prove_says_why(world: Secured, site: str, host: str) -> None:
    world.pebble.dns.add_a(host, "127.0.0.9")
    result = world.add(site, host)
    assert f"{host} points to 127.0.0.9" in result["ssl_message"]
    assert f"cannot connect to {host}" in result["ssl_error"]
    wait_for_http(world, host, site)


@pytest.mark.parametrize("file", ["fullchain.pem", "privkey.pem", "cert.pem"])
def test_a_file_that_is_cut_in_half_costs_its_own_site_tls_and_no_other_site(
    world: Secured, site: str, host: str, file: str
) -> None:
    other = f"other.{host}"
    world.add(site, host)
    world.add(site, other)
    leaf = world.served(other)
    path = world.live / host / file
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    world.asked.refuse("order", kind="malformed", detail="not today", status=400)
    assert "not today" in world.publish(site)["ssl_error"]
    wait_for_http(world, host, site)
    assert world.served(other) == leaf
    world.asked.heal()
    answer = world.edge.panel.post("/api/certificates", {"domain": host})
    assert answer.status_code == 201, answer.text
    assert names_of(world.served(host)) == {host}
    assert world.served(other) == leaf


def test_while_the_newest_file_is_damaged_the_earlier_certificate_is_served(
    world: Secured, site: str, host: str
) -> None:
    world.add(site, host)
    first = world.served(host)
    assert world.edge.panel.post(f"/api/certificates/{host}/renew").status_code == 200
    second = world.served(host)
    assert second != first
    path = world.live / host / "fullchain.pem"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    world.publish(site)
    wait_for_leaf(world, host, first)
    assert any("damaged" in text for text in world.certificate(host)["warnings"])
    path.write_bytes(content)
    world.publish(site)
    wait_for_leaf(world, host, second)


def test_a_name_that_is_not_ready_is_not_asked_for_when_so_set(
    start_secured: StartSecured, unique_name: str, application_image: str
) -> None:
    world = start_secured(settings={"certbot": {"preflight": "require"}})
    host, other = "blog.example.test", "shop.example.test"
    world.edge.site(unique_name, application_image)
    world.pebble.dns.add_a(host, "127.0.0.9")
    assert f"{host} points to 127.0.0.9" in world.add(unique_name, host)["ssl_error"]
    world.pebble.dns.set_servfail(other)
    assert f"name servers of {other} answer with an error" in world.add(unique_name, other)["ssl_error"]
    assert world.asked.asked("order") == 0
    world.pebble.dns.clear_a(host)
    answer = world.edge.panel.post("/api/certificates", {"domain": host})
    assert answer.status_code == 201, answer.text
    wait_for_http(world, other, unique_name)


def test_an_authority_that_was_down_and_has_forgotten_the_account_is_asked_anew(
    start_secured: StartSecured, unique_name: str, application_image: str
) -> None:
    world = start_secured()
    world.edge.site(unique_name, application_image)
    host, other = "blog.example.test", "shop.example.test"
    world.add(unique_name, host)
    before = world.served(host)
    world.pebble.stop_authority()
    assert "cannot be reached" in world.add(unique_name, other)["ssl_error"]
    wait_for_http(world, other, unique_name)
    assert world.served(host) == before
    world.pebble.start_authority()
    world.note_root()
    answer = world.edge.panel.post("/api/certificates", {"domain": other})
    assert answer.status_code == 201, answer.text
    assert names_of(world.served(other)) == {other}
    answer = world.edge.panel.post(f"/api/certificates/{host}/renew")
    assert answer.status_code == 200, answer.text
    assert names_of(world.served(host)) == {host}
