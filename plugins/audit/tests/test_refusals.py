"""Refusals of requests without a credential, which a flood has many of."""

from typing import Any

import pytest

from flatrun_audit.chain import Draft
from flatrun_audit.windows import MAX_WINDOWS, RefusalWindows
from flatrun_core.ports.auth import Actor


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(bench: Any) -> Clock:
    clock = Clock()
    bench.recorder.windows = RefusalWindows(clock)
    return clock


def refused(address: str = "10.0.0.1", method: str = "GET", at: int = 0) -> Draft:
    return Draft(
        at, Actor("anonymous"), "thing.read", "thing", method=method, client_ip=address, success=False
    )


def test_those_of_one_address_and_route_within_a_minute_are_counted(bench: Any, clock: Clock) -> None:
    for _ in range(10):
        assert bench.nobody.get("/api/shop/x").status_code == 401
        assert bench.nobody.put("/api/shop/y", json={}).status_code == 401
    assert [event["method"] for event in bench.events()] == ["PUT", "GET"]
    clock.now += 61
    bench.nobody.get("/api/shop/z")
    assert len(bench.events()) == 5
    counted = [event for event in bench.events() if event["metadata"]]
    assert {event["method"]: event["metadata"]["count"] for event in counted} == {"GET": 9, "PUT": 9}
    assert {event["response_status"] for event in bench.events()} == {401}
    assert bench.verify().whole


def test_a_single_one_is_one_event(bench: Any, clock: Clock) -> None:
    bench.nobody.get("/api/shop/x")
    clock.now += 61
    bench.watch.look(recover=False)
    assert len(bench.events()) == 1


def test_a_bad_token_counts_as_none_and_the_panels_end_writes_the_count(bench: Any, clock: Clock) -> None:
    for token in "abc":
        bench.nobody.get("/api/shop/x", headers={"Authorization": f"Bearer {token}"})
    bench.watch.stop()
    counted, first = bench.events()
    assert (first["error_message"], first["metadata"]) == ("Invalid or expired token", {})
    assert counted["metadata"]["count"] == 2


def test_attempts_that_the_throttle_refused_are_counted_and_those_looked_at_are_not(
    bench: Any, clock: Clock
) -> None:
    for outcome in ["no"] * 3 + ["throttled"] * 5:
        bench.nobody.post("/api/shop/login", json={"outcome": outcome})
    assert [event["response_status"] for event in bench.events()] == [429, 401, 401, 401]
    assert bench.sql("SELECT COUNT(*) FROM audit_open_request") == [(0,)]
    clock.now += 61
    bench.watch.look(recover=False)
    counted = bench.events()[0]
    assert (counted["action"], counted["response_status"], counted["request_body"]) == ("auth.login", 429, "")
    assert counted["metadata"]["count"] == 4


def test_refusals_of_somebody_known_are_an_event_each(bench: Any) -> None:
    somebody = bench.session([])
    for _ in range(3):
        somebody.get("/api/shop/x")
    assert len(bench.events()) == 3


def test_a_flood_of_addresses_is_counted_together_beyond_a_number() -> None:
    clock = Clock()
    windows = RefusalWindows(clock)
    written = [windows.first(refused(f"10.0.{n // 256}.{n % 256}"), "/x") for n in range(10_000)]
    assert sum(written) == MAX_WINDOWS
    clock.now += 61
    assert windows.due
    (summary,) = windows.closed()
    assert (summary.action, summary.client_ip) == ("audit.refusals", "")
    assert summary.metadata["count"] == 10_000 - MAX_WINDOWS
    assert not windows.due
    assert windows.closed(everything=True) == []


def test_addresses_of_one_ipv6_network_are_one() -> None:
    windows = RefusalWindows(Clock())
    assert windows.first(refused("2001:db8::1"), "/x")
    assert not windows.first(refused("2001:db8::ffff:2"), "/x")
    assert windows.first(refused("2001:db8:1::1"), "/x")
    assert windows.first(refused("no:address"), "/x")


def test_methods_and_routes_are_counted_apart() -> None:
    windows = RefusalWindows(Clock())
    assert windows.first(refused(method="GET"), "/x")
    assert windows.first(refused(method="PUT"), "/x")
    assert windows.first(refused(method="GET"), "/y")


def test_a_first_one_that_could_not_be_written_is_tried_again(bench: Any, clock: Clock, failing: Any) -> None:
    failing(True)
    bench.nobody.get("/api/shop/x")
    failing(False)
    bench.nobody.get("/api/shop/x")
    assert [event["action"] for event in bench.events()] == ["audit.resume", "thing.read"]
