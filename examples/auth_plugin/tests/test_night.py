"""Nothing is deleted at night, whoever asks."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from flatrun_core.ports.auth import Access
from flatrun_core.testing.client import ADMIN_KEY
from flatrun_proxy_login.night import NIGHT_REST, is_deletion, is_night, now
from flatrun_proxy_login.settings import ProxyLoginSettings

Make = Callable[..., Flask]
Ask = Callable[..., TestResponse]
SetClock = Callable[[Flask, str], None]
NIGHT = {"night_from": "22:00", "night_until": "06:00"}
AT_NIGHT, BY_DAY = "2026-01-15T23:30:00+00:00", "2026-01-15T12:00:00+00:00"
KEY = {"Authorization": f"Bearer {ADMIN_KEY}"}


def at(hour: int, minute: int = 0, day: int = 15, month: int = 1) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def settings(start: str, end: str, zone: str = "UTC") -> ProxyLoginSettings:
    return ProxyLoginSettings(night_from=start, night_until=end, night_time_zone=zone)


# --- when it is night ---


@pytest.mark.parametrize(
    ("moment", "expected"),
    [(at(21, 59), False), (at(22), True), (at(0), True), (at(5, 59), True), (at(6), False), (at(12), False)],
)
def test_a_night_over_midnight(moment: datetime, expected: bool) -> None:
    assert is_night(moment, settings("22:00", "06:00")) is expected


@pytest.mark.parametrize(
    ("moment", "expected"), [(at(0, 59), False), (at(1), True), (at(4, 59), True), (at(5), False)]
)
def test_a_night_within_one_day(moment: datetime, expected: bool) -> None:
    assert is_night(moment, settings("01:00", "05:00")) is expected


def test_a_night_that_ends_when_it_begins_is_none() -> None:
    assert not any(is_night(at(hour), settings("22:00", "22:00")) for hour in range(24))
    assert not any(is_night(at(hour), settings("", "")) for hour in range(24))


@pytest.mark.parametrize(
    ("zone", "month", "utc_hour", "expected"),
    [
        ("Europe/Berlin", 1, 21, True),
        ("Europe/Berlin", 1, 5, False),
        ("Europe/Berlin", 7, 20, True),
        ("Europe/Berlin", 7, 4, False),
        ("America/New_York", 1, 3, True),
        ("America/New_York", 1, 22, False),
        ("Asia/Kolkata", 1, 17, True),
    ],
)
def test_the_night_is_that_of_the_time_zone_summer_and_winter(
    zone: str, month: int, utc_hour: int, expected: bool
) -> None:
    assert is_night(at(utc_hour, month=month), settings("22:00", "06:00", zone)) is expected
    assert (
        is_night(at(utc_hour, 0 if expected else 30, month=month), settings("22:00", "06:00", zone))
        is expected
    )


def test_the_clock_is_that_of_the_machine(behind_proxy: Make) -> None:
    rest = behind_proxy().extensions["flatrun"].services.get(NIGHT_REST)
    before = datetime.now(UTC)
    assert before <= rest.clock() <= datetime.now(UTC)
    assert rest.clock is now


# --- what is a deletion ---


@pytest.mark.parametrize(
    ("method", "permissions", "expected"),
    [
        ("DELETE", ("settings:write",), True),
        ("DELETE", (), True),
        ("POST", ("apikeys:delete",), True),
        ("POST", ("things:read", "things:delete"), True),
        ("POST", ("deployments:write",), False),
        ("PUT", ("deletes:write",), False),
        ("GET", ("deployments:read",), False),
    ],
)
def test_a_deletion_is_known_by_its_method_or_by_its_permission(
    method: str, permissions: tuple[str, ...], expected: bool
) -> None:
    assert is_deletion(Access("permission", permissions), method) is expected


# --- in a panel ---


def test_nothing_is_deleted_at_night_not_even_by_an_admin(
    behind_proxy: Make, ask: Ask, set_clock: SetClock
) -> None:
    app = behind_proxy("deployments", **NIGHT)
    set_clock(app, AT_NIGHT)
    for who in ({"user": "root", "groups": "admins"}, {"headers": KEY}):
        answer = ask(app, "/api/deployments/blog", method="DELETE", **who)
        assert answer.status_code == 403
        assert answer.get_json() == {
            "error": "Nothing is deleted between 22:00 and 06:00 (UTC)",
            "code": "NIGHT_REST",
        }
        assert ask(app, "/api/deployments", **who).status_code == 200
        assert ask(app, "/api/deployments/blog/start", method="POST", **who).status_code == 404


def test_by_day_things_are_deleted(behind_proxy: Make, ask: Ask, set_clock: SetClock) -> None:
    app = behind_proxy("deployments", **NIGHT)
    set_clock(app, BY_DAY)
    answer = ask(app, "/api/deployments/blog", method="DELETE", user="root", groups="admins")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "DEPLOYMENT_NOT_FOUND")


def test_who_may_not_delete_is_told_that_and_nothing_of_the_night(
    behind_proxy: Make, ask: Ask, set_clock: SetClock
) -> None:
    app = behind_proxy("deployments", **NIGHT)
    set_clock(app, AT_NIGHT)
    answer = ask(app, "/api/deployments/blog", method="DELETE", user="ada", groups="makers")
    assert (answer.status_code, answer.get_json()["code"]) == (403, "PERMISSION_DENIED")
    assert ask(app, "/api/deployments/blog", method="DELETE").status_code == 401


@pytest.mark.parametrize("plugins", [("deployments",), ("deployments", "templates", "users")], ids=len)
def test_every_route_that_deletes_is_closed_at_night(
    behind_proxy: Make, ask: Ask, set_clock: SetClock, plugins: tuple[str, ...]
) -> None:
    app = behind_proxy(*plugins, **NIGHT)
    set_clock(app, AT_NIGHT)
    routes = ask(app, "/api/permissions", headers=KEY).get_json()["routes"]
    closed = [
        route
        for route in routes
        if route["access"] != "public"
        and (route["method"] == "DELETE" or any(name.endswith(":delete") for name in route["permissions"]))
    ]
    assert {("DELETE", "/api/deployments/{name}"), ("DELETE", "/api/containers/{container_id}")} <= {
        (route["method"], route["path"]) for route in closed
    }
    for route in closed:
        path = "/".join("1" if part.startswith("{") else part for part in route["path"].split("/"))
        answer = ask(app, path, method=route["method"], headers=KEY)
        assert (answer.status_code, answer.get_json()["code"]) == (403, "NIGHT_REST"), route


def test_an_action_that_is_allowed_is_no_deletion(behind_proxy: Make, ask: Ask, set_clock: SetClock) -> None:
    app = behind_proxy("deployments", night_allows=["containers.delete"], **NIGHT)
    set_clock(app, AT_NIGHT)
    assert ask(app, "/api/containers/none", method="DELETE", headers=KEY).status_code == 404
    assert ask(app, "/api/deployments/none", method="DELETE", headers=KEY).status_code == 403
    actions: Any = {access.action for _, access in app.extensions["flatrun"].accesses.values()}
    assert "containers.delete" in actions
