"""Bad days of certificates: an authority that fails, names that are not ready, files that are damaged."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flatrun_e2e.secured import Secured, names_of

HOST, OTHER = "blog.example.test", "shop.example.test"
StartSecured = Callable[..., Secured]
Spoil = Callable[[Secured], None]


@pytest.fixture
def world(start_secured: StartSecured, unique_name: str, application_image: str) -> Secured:
    """A panel with a site, whose authority is well."""
    made = start_secured()
    made.edge.site(unique_name, application_image)
    return made


FAILURES = {
    "down": (lambda world: world.pebble.stop_authority(), r"has an error of its own|cannot be reached"),
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
    world: Secured, unique_name: str, how: str
) -> None:
    spoil, reason = FAILURES[how]
    spoil(world)
    result = world.add(unique_name, HOST)
    assert re.search(reason, result["ssl_error"]), result
    assert world.edge.visit(HOST).application == unique_name

    asked = world.asked.asked("order|dir")
    again = world.publish(unique_name)
    assert re.search(r"the next one is at \d{4}-\d\d-\d\d \d\d:\d\d UTC", again["ssl_error"]), again
    assert world.asked.asked("order") <= asked
    before = world.asked.asked("order|nonce|sign-me-up")
    world.publish(unique_name)
    assert world.asked.asked("order|nonce|sign-me-up") == before


def test_a_person_may_ask_again_as_soon_as_the_authority_is_well(world: Secured, unique_name: str) -> None:
    world.asked.drop("order")
    assert "cannot be reached" in world.add(unique_name, HOST)["ssl_error"]
    world.asked.heal()
    answer = world.edge.panel.post("/api/certificates", {"domain": HOST})
    assert answer.status_code == 201, answer.text
    assert world.edge.visit(HOST, root=world.root).application == unique_name


def test_nobody_asks_before_the_time_that_the_authority_named(world: Secured, unique_name: str) -> None:
    world.asked.limit("order", retry_after="3600", detail="too many certificates of late")
    result = world.add(unique_name, HOST)
    assert "takes no more requests of this kind for now" in result["ssl_error"]
    assert "too many certificates of late" in result["ssl_error"]
    assert world.asked.asked("order") == 1
    world.asked.heal()
    answer = world.edge.panel.post("/api/certificates", {"domain": HOST})
    assert answer.status_code == 429
    assert 3000 < int(answer.headers["Retry-After"]) <= 3600
    world.publish(unique_name)
    assert world.asked.asked("order") == 1


def test_errors_that_pass_by_are_passed_over(world: Secured, unique_name: str) -> None:
    # Twice, because the library itself tries a refused nonce once more.
    world.asked.refuse("order", kind="badNonce", detail="stale", status=400, times=2)
    world.asked.drop("nonce", times=1)
    result = world.add(unique_name, HOST)
    assert "ssl_error" not in result, result
    assert names_of(world.served(HOST)) == {HOST}


def test_a_slow_authority_is_waited_for_and_the_panel_answers_meanwhile(
    world: Secured, unique_name: str
) -> None:
    world.asked.delay(seconds=0.5)
    result = world.add(unique_name, HOST)
    assert "ssl_error" not in result, result
    assert names_of(world.served(HOST)) == {HOST}


def test_a_renewal_that_fails_leaves_the_old_certificate_served(world: Secured, unique_name: str) -> None:
    world.add(unique_name, HOST)
    before = world.served(HOST)
    world.asked.refuse("order", kind="unauthorized", detail="account is closed", status=403)
    answer = world.edge.panel.post(f"/api/certificates/{HOST}/renew")
    assert answer.status_code == 500
    assert answer.json()["code"] == "CERTBOT_FAILED"
    assert "account is closed" in answer.json()["error"]
    found = world.certificate(HOST)
    assert "account is closed" in found["last_error"]
    assert found["next_attempt_at"]
    assert world.served(HOST) == before


def test_a_name_that_is_not_ready_is_not_asked_for_when_so_set(
    start_secured: StartSecured, unique_name: str, application_image: str
) -> None:
    world = start_secured(settings={"certbot": {"preflight": "require"}})
    world.edge.site(unique_name, application_image)
    world.pebble.dns.add_a(HOST, "127.0.0.9")
    result = world.add(unique_name, HOST)
    assert f"{HOST} points to 127.0.0.9" in result["ssl_error"]
    assert world.asked.asked("order") == 0
    world.pebble.dns.clear_a(HOST)
    world.pebble.dns.set_servfail(OTHER)
    assert f"name servers of {OTHER} answer with an error" in world.add(unique_name, OTHER)["ssl_error"]
    answer = world.edge.panel.post("/api/certificates", {"domain": HOST})
    assert answer.status_code == 201, answer.text
    assert world.edge.visit(OTHER).application == unique_name


def test_a_name_that_the_authority_cannot_prove_says_why(world: Secured, unique_name: str) -> None:
    world.pebble.dns.add_a(HOST, "127.0.0.9")
    result = world.add(unique_name, HOST)
    assert f"{HOST} points to 127.0.0.9" in result["ssl_message"]
    assert f"cannot connect to {HOST}" in result["ssl_error"]
    assert world.edge.visit(HOST).application == unique_name


@pytest.mark.parametrize("file", ["fullchain.pem", "privkey.pem", "cert.pem"])
def test_a_file_that_is_cut_in_half_costs_its_own_site_tls_and_no_other_site(
    world: Secured, unique_name: str, file: str
) -> None:
    world.add(unique_name, HOST)
    world.add(unique_name, OTHER)
    other = world.served(OTHER)
    path = (world.live / HOST / file).resolve()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    world.asked.drop()
    world.publish(unique_name)
    answer = world.edge.visit(HOST)
    assert (answer.status, answer.application) == (200, unique_name)
    assert world.served(OTHER) == other
    path.write_bytes(content)
    world.publish(unique_name)
    assert names_of(world.served(HOST)) == {HOST}


def test_while_the_newest_file_is_damaged_the_earlier_certificate_is_served(
    world: Secured, unique_name: str
) -> None:
    world.add(unique_name, HOST)
    first = world.served(HOST)
    assert world.edge.panel.post(f"/api/certificates/{HOST}/renew").status_code == 200
    second = world.served(HOST)
    assert second != first
    path = (world.live / HOST / "fullchain.pem").resolve()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    world.asked.drop()
    world.publish(unique_name)
    assert world.served(HOST) == first
    assert world.certificate(HOST)["warnings"]
    path.write_bytes(content)
    world.publish(unique_name)
    assert world.served(HOST) == second
