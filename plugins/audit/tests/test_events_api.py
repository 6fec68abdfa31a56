"""Lists, single events and statistics, through the client."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flatrun_audit.canonical import microseconds
from flatrun_audit.chain import CHAIN, Draft
from flatrun_audit.events import AUDIT_LOG
from flatrun_audit.schemas import EventsAnswer, StatsAnswer
from flatrun_core.ports.auth import Actor

NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)
ADA, KEY, NOBODY = (
    Actor("user", "1", "ada"),
    Actor("api_key", "key_1", "ada", "flatrun_ab"),
    Actor("anonymous"),
)


@pytest.fixture
def filled(bench: Any) -> Any:
    """Return a panel with thirty events, an hour apart; the first is at noon."""
    drafts = []
    for number in range(30):
        drafts.append(
            Draft(
                microseconds(NOON + timedelta(hours=number)),
                (ADA, KEY, NOBODY)[number % 3],
                ("deployments.create", "users.update")[number % 2],
                ("deployment", "user")[number % 2],
                f"r{number % 5}",
                client_ip=f"10.0.0.{number % 4}",
                success=number % 10 != 0,
                response_status=200 if number % 10 else 403,
            )
        )
    with bench.database.atomic():
        bench.services.get(CHAIN).append(drafts)
    return bench


def ids(bench: Any, **query: Any) -> list[int]:
    return [event["id"] for event in bench.events(**query)]


def test_a_list_is_newest_first_with_its_total(filled: Any) -> None:
    answer = filled.client.get("/api/audit/events?limit=3&offset=2")
    assert answer.status_code == 200
    assert EventsAnswer().validate(answer.get_json()) == {}
    found = answer.get_json()
    assert [event["id"] for event in found.pop("events")] == [28, 27, 26]
    assert found == {"total": 30, "limit": 3, "offset": 2}
    assert filled.client.get("/api/audit/events").get_json()["limit"] == 50
    assert filled.client.get("/api/audit/events?limit=5000").get_json()["limit"] == 1000
    assert filled.client.get("/api/audit/events?offset=99").get_json()["events"] == []


FILTERS: dict[str, tuple[Any, Any]] = {
    "actor_id": ("key_1", lambda n: n % 3 == 1),
    "actor_type": ("anonymous", lambda n: n % 3 == 2),
    "action": ("users.update", lambda n: n % 2 == 1),
    "resource_type": ("deployment", lambda n: n % 2 == 0),
    "resource_id": ("r2", lambda n: n % 5 == 2),
    "client_ip": ("10.0.0.3", lambda n: n % 4 == 3),
    "success": ("false", lambda n: n % 10 == 0),
    "start_time": ("2024-01-31T20:00:00Z", lambda n: n >= 8),
    "end_time": ("2024-02-01T09:00:00+01:00", lambda n: n <= 20),
}


@pytest.mark.parametrize("first", FILTERS)
@pytest.mark.parametrize("second", FILTERS)
def test_filters_match_exactly_and_all_of_them(filled: Any, first: str, second: str) -> None:
    query = {name: FILTERS[name][0] for name in (first, second)}
    expected = [n + 1 for n in range(30) if FILTERS[first][1](n) and FILTERS[second][1](n)]
    answer = filled.client.get("/api/audit/events", query_string=query).get_json()
    assert [event["id"] for event in answer["events"]] == expected[::-1]
    assert answer["total"] == len(expected)


def test_success_alone_and_nothing_that_matches(filled: Any) -> None:
    answer = filled.client.get("/api/audit/events?success=TRUE&limit=1").get_json()
    assert answer["total"] == 27
    assert ids(filled, action="deployments") == []
    assert len(ids(filled, action="")) == 30


WRONG = """limit=0 limit=x limit=-5 offset=-1 offset=99999999999 success=maybe start_time=yesterday
end_time=2024-01-01T00:00:00 start_time=2024-13-01T00:00:00Z action=%00"""


@pytest.mark.parametrize("query", WRONG.split())
def test_a_bad_value_is_400(filled: Any, query: str) -> None:
    answer = filled.client.get(f"/api/audit/events?{query}")
    assert (answer.status_code, answer.get_json()["code"]) == (400, "VALIDATION_ERROR")


def test_one_event_is_found_by_its_number_and_by_its_event_id(filled: Any) -> None:
    event = filled.client.get("/api/audit/events/7").get_json()
    assert event["id"] == 7
    assert filled.client.get(f"/api/audit/events/{event['event_id']}").get_json() == event
    assert filled.client.get(f"/api/audit/events/{event['event_id'].upper()}").get_json() == event


@pytest.mark.parametrize("name", ["0", "31", "-1", "x", "9" * 19, "9" * 500, "1.0", "%D9%A1"])
def test_an_unknown_event_is_404(filled: Any, name: str) -> None:
    answer = filled.client.get(f"/api/audit/events/{name}")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "EVENT_NOT_FOUND")


def test_statistics_count_everything_of_late_and_by_day(filled: Any) -> None:
    found = filled.services.get(AUDIT_LOG).stats(NOON + timedelta(hours=29, minutes=30))
    assert StatsAnswer().validate(found) == {}
    assert found["total_events"] == 30
    assert (found["last_24_hours"], found["last_7_days"], found["failure_count"]) == (24, 30, 3)
    assert found["by_action"] == {"deployments.create": 15, "users.update": 15}
    assert found["by_actor_type"] == {"anonymous": 10, "api_key": 10, "user": 10}
    assert found["by_resource_type"] == {"deployment": 15, "user": 15}
    assert found["top_actors"][1] == {
        "actor_id": "1",
        "actor_type": "user",
        "actor_name": "ada",
        "event_count": 10,
        "last_seen": "2024-02-01T15:00:00.000000Z",
    }
    assert found["events_trend"] == [
        {"date": f"2024-01-{day}", "count": 12 if day == 31 else 0} for day in range(26, 32)
    ] + [{"date": "2024-02-01", "count": 18}]


def test_statistics_of_nothing_are_zeros(bench: Any) -> None:
    found = bench.client.get("/api/audit/stats").get_json()
    assert StatsAnswer().validate(found) == {}
    assert (found["total_events"], found["by_action"], found["top_actors"]) == (0, {}, [])
    assert [day["count"] for day in found["events_trend"]] == [0] * 7


def test_at_most_ten_actors_are_named(bench: Any) -> None:
    drafts = [Draft(n, Actor("user", str(n // 2), "x"), "x.y", "x") for n in range(30)]
    with bench.database.atomic():
        bench.services.get(CHAIN).append(drafts)
    assert len(bench.client.get("/api/audit/stats").get_json()["top_actors"]) == 10


@pytest.mark.parametrize(
    ("method", "path", "permission"),
    [
        ("GET", "/api/audit/events", "audit:read"),
        ("GET", "/api/audit/events/1", "audit:read"),
        ("GET", "/api/audit/stats", "audit:read"),
        ("POST", "/api/audit/export", "audit:read"),
        ("DELETE", "/api/audit/cleanup", "settings:write"),
    ],
)
def test_each_route_wants_its_permission(filled: Any, method: str, path: str, permission: str) -> None:
    other = "settings:write" if permission == "audit:read" else "audit:read"
    assert filled.session([permission]).open(method, path).status_code == 200
    assert filled.session([other]).open(method, path).status_code == 403
    assert filled.nobody.open(method, path).status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/audit/events?limit=x"),
        ("GET", "/api/audit/events/1"),
        ("GET", "/api/audit/stats"),
        ("POST", "/api/audit/export"),
        ("DELETE", "/api/audit/cleanup?older_than=x"),
    ],
)
def test_while_the_audit_is_off_its_routes_say_so_before_they_look_at_values(
    make_bench: Any, method: str, path: str
) -> None:
    bench = make_bench(enabled=False)
    answer = bench.client.open(method, path, json={"limit": "x"} if method == "POST" else None)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "AUDIT_DISABLED")
    assert bench.nobody.open(method, path).status_code == 401
