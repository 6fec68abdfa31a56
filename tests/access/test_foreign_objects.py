"""What is somebody else's, and what was valid a moment ago: 401, 403 or 404 as the contract says."""

from typing import Any

import pytest

HERE, ELSEWHERE = "shop", "news"
PASSWORD = "correct horse battery"
FORBIDDEN = (403, "DEPLOYMENT_FORBIDDEN", "No access to this deployment")
CONTAINER_ROUTES = (
    *("GET /api/containers/{}/logs", "GET /api/containers/{}/logs?follow=true"),
    *("POST /api/containers/{}/start", "POST /api/containers/{}/stop", "POST /api/containers/{}/restart"),
    "DELETE /api/containers/{}",
)
JOB_ROUTES = ("GET /api/stranger/jobs/{}", "POST /api/stranger/jobs/{}", "DELETE /api/stranger/jobs/{}")


def refusal(answer: Any) -> tuple[int, Any, Any]:
    body = answer.json()
    return answer.status, body.get("code"), body.get("error")


def headers_of(world: Any, name: str) -> dict[str, str]:
    return dict(world.actors[name].headers)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def status_of_me(world: Any, headers: dict[str, str]) -> int:
    return int(world.ask("GET /api/users/me", headers).status)


class Newcomer:
    """An operator of the test's own, with a session and a key."""

    def __init__(self, world: Any, account: Any) -> None:
        self.id = world.make_account("newcomer", account)
        self.token = bearer(world.login("newcomer"))
        self.key_id, text = world.make_key(self.token, world.whole_key)
        self.key = {"Authorization": f"ApiKey {text}"}
        login = world.done("POST /api/auth/login", {}, {"api_key": text})
        self.token_of_key = bearer(login["token"])
        self.all = (self.token, self.key, self.token_of_key)


@pytest.fixture
def newcomer(world: Any) -> Newcomer:
    account = type(world.actors["operator with write here"].account)
    return Newcomer(world, account("operator", (), {HERE: "write"}))


@pytest.mark.parametrize("route", CONTAINER_ROUTES)
@pytest.mark.parametrize("container", ["of another deployment", "of none", "unknown"])
def test_a_container_that_is_not_of_ones_deployment_is_forbidden(
    world: Any, route: str, container: str
) -> None:
    world.engine.add("nobodys", state="exited")
    ref = {"of another deployment": f"{ELSEWHERE}-old-1", "of none": "nobodys", "unknown": "never-was"}
    before = world.state.picture()
    for name in ("custom permissions", "operator with admin here", "admin's key narrowed to here"):
        actor = world.actors[name]
        answer = world.ask(route.format(ref[container]), headers_of(world, name))
        assert answer.status == 403, (name, answer)
        if actor.account.role == "admin":
            assert refusal(answer) == FORBIDDEN
    assert world.state.changes(before) == []


@pytest.mark.parametrize("route", CONTAINER_ROUTES)
def test_a_container_of_no_deployment_is_an_administrators(world: Any, route: str) -> None:
    world.engine.add("nobodys", state="exited")
    assert world.ask(route.format("nobodys"), headers_of(world, "admin")).status == 200
    unknown = world.ask(route.format("never-was"), headers_of(world, "admin"))
    assert refusal(unknown)[:2] == (404, "CONTAINER_NOT_FOUND")


def test_the_full_id_of_a_foreign_container_opens_nothing(world: Any) -> None:
    found = world.engine.container(f"{ELSEWHERE}-old-1").id
    for ref in (found, found[:12], found[:4]):
        answer = world.ask(f"POST /api/containers/{ref}/start", headers_of(world, "operator with admin here"))
        assert refusal(answer) == FORBIDDEN


def test_lists_hold_only_what_one_may_read(world: Any) -> None:
    world.engine.add("nobodys", state="exited")
    for name, deployments in (
        ("operator with read here", {HERE}),
        ("operator with admin elsewhere", {ELSEWHERE}),
        ("operator with admin on both", {HERE, ELSEWHERE}),
        ("operator's key narrowed to here", {HERE}),
        ("token of admin's key narrowed to elsewhere", {ELSEWHERE}),
        ("operator", set()),
        ("admin", {HERE, ELSEWHERE, None}),
    ):
        headers = headers_of(world, name)
        listed = world.done("GET /api/deployments", headers)
        assert {one["name"] for one in listed} == deployments - {None}, name
        containers = world.done("GET /api/containers", headers)["containers"]
        assert {one["deployment"] for one in containers} == deployments, name


@pytest.mark.parametrize("route", JOB_ROUTES)
def test_a_job_by_its_number_is_its_deployments(world: Any, route: str) -> None:
    foreign = world.of_deployment[ELSEWHERE]["job_id"]
    nobodys = world.done("POST /api/stranger/mine")["id"]
    before = world.state.picture()
    for name in ("operator with admin here", "admin's key narrowed to here"):
        headers = headers_of(world, name)
        assert refusal(world.ask(route.format(foreign), headers)) == FORBIDDEN
        assert refusal(world.ask(route.format(nobodys), headers)) == FORBIDDEN
        for number in ("999999", "0", "-1", "1e3", "job"):
            assert refusal(world.ask(route.format(number), headers))[:2] == (404, "JOB_NOT_FOUND")
    assert world.state.changes(before) == []
    assert world.ask(route.format(nobodys), headers_of(world, "admin")).status == 200


@pytest.mark.parametrize(
    "route", ["GET /api/apikeys/{}", "DELETE /api/apikeys/{}", "POST /api/apikeys/{}/revoke"]
)
def test_another_users_key_is_not_found(world: Any, newcomer: Newcomer, route: str) -> None:
    before = world.state.picture()
    for name in ("operator with admin here", "operator's key", "admin's key narrowed to here"):
        answer = world.ask(route.format(newcomer.key_id), headers_of(world, name))
        assert refusal(answer)[:2] == (404, "API_KEY_NOT_FOUND"), name
    assert world.state.changes(before) == []
    assert status_of_me(world, newcomer.key) == 200
    assert world.ask(route.format(newcomer.key_id), newcomer.token).status == 200


def test_keys_of_others_are_not_listed(world: Any, newcomer: Newcomer) -> None:
    mine = world.done("GET /api/apikeys", newcomer.token)["api_keys"]
    assert [one["id"] for one in mine] == [newcomer.key_id]
    every = world.done("GET /api/apikeys", headers_of(world, "admin"))["api_keys"]
    assert newcomer.key_id in {one["id"] for one in every}


def test_another_users_session_is_not_found(world: Any, newcomer: Newcomer) -> None:
    own = world.done("GET /api/auth/sessions", newcomer.token)["sessions"]
    current = next(one["id"] for one in own if one["current"])
    for name in ("operator", "admin", "admin's key", "key of the settings"):
        headers = headers_of(world, name)
        others = world.done("GET /api/auth/sessions", headers)["sessions"]
        assert current not in {one["id"] for one in others}, name
        answer = world.ask(f"DELETE /api/auth/sessions/{current}", headers)
        assert refusal(answer)[:2] == (404, "SESSION_NOT_FOUND"), name
    assert status_of_me(world, newcomer.token) == 200
    world.done(f"DELETE /api/auth/sessions/{current}", newcomer.token)
    assert status_of_me(world, newcomer.token) == 401


def test_a_logout_ends_the_token_and_no_other(world: Any, newcomer: Newcomer) -> None:
    other = bearer(world.login("newcomer"))
    world.done("POST /api/auth/logout", newcomer.token)
    assert status_of_me(world, newcomer.token) == 401
    assert [status_of_me(world, one) for one in (other, newcomer.key, newcomer.token_of_key)] == [200] * 3


def test_a_changed_password_ends_the_other_sessions(world: Any, newcomer: Newcomer) -> None:
    other = bearer(world.login("newcomer"))
    body = {"current_password": PASSWORD, "new_password": f"{PASSWORD} 2"}
    world.done("PUT /api/users/me/password", newcomer.token, body)
    assert status_of_me(world, newcomer.token) == 200
    assert status_of_me(world, other) == 401


@pytest.mark.parametrize(
    ("method", "body", "left"),
    [
        ("PUT", {"password": f"{PASSWORD} 2"}, [401, 200, 401]),
        ("PUT", {"is_active": False}, [401, 401, 401]),
        ("DELETE", None, [401, 401, 401]),
    ],
)
def test_what_an_administrator_ends_is_over_with_the_next_request(
    world: Any, newcomer: Newcomer, method: str, body: Any, left: list[int]
) -> None:
    assert [status_of_me(world, one) for one in newcomer.all] == [200, 200, 200]
    world.done(f"{method} /api/users/{newcomer.id}", body=body)
    assert [status_of_me(world, one) for one in newcomer.all] == left


@pytest.mark.parametrize("end", ["POST /api/apikeys/{}/revoke", "DELETE /api/apikeys/{}"])
def test_a_key_takes_its_tokens_along(world: Any, newcomer: Newcomer, end: str) -> None:
    world.done(end.format(newcomer.key_id), newcomer.token)
    assert [status_of_me(world, one) for one in newcomer.all] == [200, 401, 401]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("role", "PERMISSION_DENIED"),
        ("permissions", "PERMISSION_DENIED"),
        ("level", "DEPLOYMENT_FORBIDDEN"),
        ("grant", "DEPLOYMENT_FORBIDDEN"),
    ],
)
def test_rights_that_are_taken_are_gone_with_the_next_request(
    world: Any, newcomer: Newcomer, change: str, code: str
) -> None:
    route = f"POST /api/deployments/{HERE}/restart"
    grant = f"/api/users/{newcomer.id}/deployments/{HERE}"
    assert [world.ask(route, one).status for one in newcomer.all] == [200, 200, 200]
    operation, body = {
        "role": (f"PUT /api/users/{newcomer.id}", {"role": "viewer"}),
        "permissions": (f"PUT /api/users/{newcomer.id}", {"permissions": ["deployments:read"]}),
        "level": (f"PUT {grant}", {"access_level": "read"}),
        "grant": (f"DELETE {grant}", None),
    }[change]
    world.done(operation, body=body)
    for headers in newcomer.all:
        assert refusal(world.ask(route, headers))[:2] == (403, code)


def test_a_namesake_of_a_deployment_inherits_no_access(world: Any, newcomer: Newcomer) -> None:
    admin = headers_of(world, "admin")
    _, text = world.make_key(admin, world.whole_key, deployments=[HERE])
    narrowed = {"Authorization": f"ApiKey {text}"}
    world.done(f"DELETE /api/deployments/{HERE}?remove_files=true", admin)
    world.done("POST /api/deployments", admin, {"name": HERE, "compose": "services: {web: {image: x}}"})
    for headers in newcomer.all:
        assert refusal(world.ask(f"GET /api/deployments/{HERE}", headers)) == FORBIDDEN
    # With an empty list it would be a key to everything.
    assert world.ask(f"GET /api/deployments/{HERE}", narrowed).status == 401
    assert world.ask(f"GET /api/deployments/{HERE}", admin).status == 200


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("PUT /api/users/me", {"email": "thief@example.com"}),
        ("PUT /api/users/me/password", {"current_password": PASSWORD, "new_password": f"{PASSWORD} 2"}),
    ],
)
def test_a_key_does_not_change_its_owners_account(
    world: Any, newcomer: Newcomer, route: str, body: Any
) -> None:
    before = world.state.picture()
    for headers in (newcomer.key, newcomer.token_of_key):
        assert world.ask(route, headers, body).status == 403
    assert world.state.changes(before) == []


@pytest.mark.parametrize("route", ["POST /api/deployments", "POST /api/plugins/stranger/deployments"])
def test_a_key_that_is_limited_to_deployments_creates_none(world: Any, route: str) -> None:
    before = world.state.picture()
    for name in ("admin's key narrowed to here", "token of admin's key narrowed to elsewhere"):
        body = {"name": "fresh", "compose": "services: {web: {image: x}}"}
        assert refusal(world.ask(route, headers_of(world, name), body)) == FORBIDDEN
    assert world.state.changes(before) == []


def test_a_key_that_is_limited_to_deployments_makes_no_key_for_others(world: Any) -> None:
    before = world.state.picture()
    for deployments in ([ELSEWHERE], [HERE, ELSEWHERE], ["never-was"]):
        body = {"name": "wider", "deployments": deployments}
        answer = world.ask("POST /api/apikeys", headers_of(world, "operator's key narrowed to here"), body)
        assert refusal(answer) == FORBIDDEN, deployments
    assert world.state.changes(before) == []
