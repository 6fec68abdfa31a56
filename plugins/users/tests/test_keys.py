"""API keys: made, shown once, listed, revoked and deleted."""

import hashlib
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from flatrun_core import Level
from flatrun_core.testing.client import ApiClient

KEY_KEYS = {
    "id",
    "key_id",
    "user_id",
    "name",
    "description",
    "key_prefix",
    "role",
    "permissions",
    "deployments",
    "expires_at",
    "last_used_at",
    "last_used_ip",
    "is_active",
    "created_at",
}


def refused(answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.get_json()["code"]) == (status, code), answer.get_json()


@pytest.fixture
def john(house: Any) -> Any:
    """A session of an operator."""
    return house.person("john")


@pytest.mark.parametrize("number", [0, -1, 999, 2**31, 2**63, -(2**63) - 1, 2**64, 10**39])
def test_an_owner_that_no_account_can_be_is_not_found(house: Any, number: int) -> None:
    refused(house.admin.post("/api/apikeys", json={"name": "CI", "user_id": number}), 404, "USER_NOT_FOUND")
    assert house.key_rows() == []


@pytest.mark.parametrize("seconds", [0, 59, 315_360_001, 2**31, 2**63, 2**64, -(2**64), 10**39])
def test_a_time_that_no_key_can_have_is_refused(john: Any, seconds: int) -> None:
    refused(john.post("/api/apikeys", json={"name": "CI", "expires_in": seconds}), 400, "VALIDATION_ERROR")


# --- what a key is -----------------------------------------------------------------------------


def test_a_key_is_made_as_the_contract_says_and_works(house: Any, john: Any) -> None:
    answer = john.post("/api/apikeys", json={"name": "CI/CD Key"})
    assert answer.status_code == 201
    made = answer.get_json()
    assert set(made) == {"id", "key", "name", "created_at"}
    assert made["name"] == "CI/CD Key"
    assert re.fullmatch(r"flatrun_[A-Za-z0-9_-]{43}", made["key"])
    for headers in (
        {"Authorization": f"Bearer {made['key']}"},
        {"Authorization": f"ApiKey {made['key']}"},
        {"X-API-Key": made["key"]},
    ):
        client = ApiClient(house.app, None)
        assert client.get("/api/users/me", headers=headers).get_json()["user"]["username"] == "john"


def test_a_key_is_shown_without_its_text(house: Any, john: Any) -> None:
    limits = {"role": "viewer", "permissions": ["deployments:read"], "expires_in": 3600}
    body = {"name": "CI", "description": "For GitHub Actions", "unknown": 1, **limits}
    made = john.post("/api/apikeys", json=body).get_json()
    answers = [john.get("/api/apikeys"), john.get(f"/api/apikeys/{made['id']}")]
    assert all(made["key"] not in answer.get_data(as_text=True) for answer in answers)
    [listed] = answers[0].get_json()["api_keys"]
    assert answers[1].get_json() == {"api_key": listed}
    assert set(listed) == KEY_KEYS
    assert listed["key_prefix"] == made["key"][:16] + "..."
    assert re.fullmatch(r"[0-9a-f]{12}", listed["key_id"])
    assert (listed["name"], listed["description"]) == ("CI", "For GitHub Actions")
    assert (listed["role"], listed["permissions"], listed["deployments"]) == (
        "viewer",
        ["deployments:read"],
        [],
    )
    assert (listed["last_used_at"], listed["last_used_ip"], listed["is_active"]) == (None, "", True)
    created, expires = (datetime.fromisoformat(listed[name]) for name in ("created_at", "expires_at"))
    assert expires - created == timedelta(hours=1)


def test_without_limits_a_key_says_so(john: Any) -> None:
    john.post("/api/apikeys", json={"name": "CI"})
    [listed] = john.get("/api/apikeys").get_json()["api_keys"]
    assert (listed["role"], listed["permissions"], listed["deployments"], listed["expires_at"]) == (
        "",
        [],
        [],
        None,
    )


def test_only_the_hash_of_a_key_is_kept_and_its_text_is_told_nobody(
    house: Any, john: Any, notebook: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        text = house.key_text(john)
        ApiClient(house.app, text).get("/api/users/me")
    assert text not in caplog.text
    [row] = house.key_rows()
    assert row.key_hash == hashlib.sha256(text.encode()).hexdigest()
    assert text not in str(row.__data__)
    assert text not in str(notebook.finished)
    database = house.root / ".flatrun"
    assert all(text.encode() not in path.read_bytes() for path in database.iterdir() if path.is_file())
    request, outcome = next(one for one in notebook.finished if one[0].action == "apikeys.create")
    assert (request.resource_type, outcome.resource_id) == ("api_key", str(row.id))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 101),
        ("name", None),
        ("name", " "),
        ("name", "\t \n\u3000"),
        ("name", "\u200b\u202e"),
        ("role", "root"),
        ("permissions", "deployments:read"),
        ("permissions", [None]),
        ("deployments", ["../blog"]),
        ("deployments", ["blog\n"]),
        ("deployments", [1]),
        ("deployments", ["blog"] * 501),
        ("expires_in", 59),
        ("expires_in", 315_360_001),
        ("expires_in", 3600.5),
        ("expires_in", "3600"),
        ("expires_in", True),
        ("user_id", "1"),
        ("description", "x" * 2001),
    ],
)
def test_what_has_the_wrong_shape_is_400(house: Any, field: str, value: Any) -> None:
    refused(house.admin.post("/api/apikeys", json={"name": "CI", field: value}), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize("name", ["x", " x ", "\u9375", "cl\u00e9 \U0001f511\ufe0f", "\u200bx"])
def test_a_name_has_something_to_be_seen(john: Any, name: str) -> None:
    assert john.post("/api/apikeys", json={"name": name}).get_json()["name"] == name


@pytest.mark.parametrize("seconds", [60, 315_360_000])
def test_the_shortest_and_the_longest_life_are_given(john: Any, seconds: int) -> None:
    assert john.post("/api/apikeys", json={"name": "CI", "expires_in": seconds}).status_code == 201


def test_an_unknown_permission_is_400_and_an_unknown_id_is_404(house: Any, john: Any) -> None:
    refused(john.post("/api/apikeys", json={"name": "CI", "permissions": ["a:b"]}), 400, "UNKNOWN_PERMISSION")
    for number in ("0", "999", str(2**31), "9" * 5000):
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/revoke")):
            refused(house.admin.open(method, f"/api/apikeys/{number}{path}"), 404, "API_KEY_NOT_FOUND")
    for number in ("abc", "1.5"):
        refused(house.admin.get(f"/api/apikeys/{number}"), 400, "VALIDATION_ERROR")


# --- whose they are ----------------------------------------------------------------------------


def test_everybody_sees_his_own_keys_newest_first_and_administrators_all(house: Any, john: Any) -> None:
    boss, jane = (
        house.person("boss", "admin"),
        house.person("jane", "viewer", ["apikeys:read", "apikeys:write"]),
    )
    for maker, name in ((john, "j1"), (boss, "b1"), (john, "j2"), (jane, "a1")):
        maker.post("/api/apikeys", json={"name": name})

    def names(client: Any) -> list[str]:
        return [one["name"] for one in client.get("/api/apikeys").get_json()["api_keys"]]

    assert names(john) == ["j2", "j1"]
    assert names(jane) == ["a1"]
    assert names(boss) == names(house.admin) == ["a1", "j2", "b1", "j1"]


def test_a_key_of_somebody_else_is_not_there(house: Any, john: Any) -> None:
    house.key_text(house.person("jane"))
    [row] = house.key_rows()
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/revoke")):
        refused(john.open(method, f"/api/apikeys/{row.id}{path}"), 404, "API_KEY_NOT_FOUND")
    assert house.key_rows()[0].is_active


def test_a_narrowed_key_of_an_administrator_sees_its_owners_keys_only(house: Any, john: Any) -> None:
    house.key_text(john)
    key = house.key(house.person("boss", "admin"), permissions=["apikeys:read"], role="admin")
    assert len(key.get("/api/apikeys").get_json()["api_keys"]) == 1


def test_administrators_make_and_end_keys_of_others(house: Any) -> None:
    number = house.user("john")
    boss = house.person("boss", "admin")
    text = house.key_text(boss, user_id=number)
    key = ApiClient(house.app, text)
    assert key.get("/api/users/me").get_json()["user"]["username"] == "john"
    assert key.get("/api/users").status_code == 403
    assert boss.post(f"/api/apikeys/{house.key_rows()[0].id}/revoke").status_code == 200
    assert key.get("/api/users/me").status_code == 401


def test_nobody_else_makes_keys_for_others(house: Any, john: Any) -> None:
    other = house.user("other", "viewer")
    for number in (other, 999):
        answer = john.post("/api/apikeys", json={"name": "CI", "user_id": number})
        refused(answer, 403, "PERMISSION_DENIED")
    refused(house.admin.post("/api/apikeys", json={"name": "CI", "user_id": 999}), 404, "USER_NOT_FOUND")


def test_ones_own_number_may_be_named(house: Any) -> None:
    number = house.user("john")
    made = house.session(number).post("/api/apikeys", json={"name": "CI", "user_id": number})
    assert made.status_code == 201


# --- their end ---------------------------------------------------------------------------------


def test_a_revoked_key_stays_in_the_list_and_ends_with_its_sessions(house: Any, john: Any) -> None:
    text = house.key_text(john)
    session = house.session_of_key(text)
    number = house.key_rows()[0].id
    for _ in range(2):
        answer = john.post(f"/api/apikeys/{number}/revoke")
        assert (answer.status_code, answer.get_json()) == (200, {"message": "API key revoked"})
    assert session.get("/api/users/me").status_code == 401
    assert house.live_sessions() == 1, "only the session of the person"
    refused(ApiClient(house.app, text).get("/api/users/me"), 401, "INVALID_TOKEN")
    refused(
        ApiClient(house.app, None).post("/api/auth/login", json={"api_key": text}), 401, "INVALID_CREDENTIALS"
    )
    assert john.get(f"/api/apikeys/{number}").get_json()["api_key"]["is_active"] is False


def test_a_deleted_key_is_gone_with_its_sessions(house: Any, john: Any) -> None:
    text = house.key_text(john)
    session = house.session_of_key(text)
    number = house.key_rows()[0].id
    answer = john.delete(f"/api/apikeys/{number}")
    assert (answer.status_code, answer.get_json()) == (200, {"message": "API key deleted"})
    for client in (session, ApiClient(house.app, text)):
        assert client.get("/api/users/me").status_code == 401
    refused(john.delete(f"/api/apikeys/{number}"), 404, "API_KEY_NOT_FOUND")


@pytest.mark.parametrize("end", ["revoke", "delete"])
def test_what_a_key_made_ends_with_it_through_all_generations(house: Any, john: Any, end: str) -> None:
    text = house.key_text(john)
    root = house.key_rows()[0].id
    other = house.key(john)
    texts = [text]
    for _ in range(3):
        texts.append(house.key_text(house.session_of_key(texts[-1])))
    clients = [ApiClient(house.app, one) for one in texts] + [house.session_of_key(one) for one in texts]
    assert all(client.get("/api/users/me").status_code == 200 for client in clients)
    if end == "revoke":
        john.post(f"/api/apikeys/{root}/revoke")
        assert [row.is_active for row in house.key_rows()] == [False, False, False, True, False]
    else:
        john.delete(f"/api/apikeys/{root}")
        assert len(house.key_rows()) == 1
    assert all(client.get("/api/users/me").status_code == 401 for client in clients)
    assert other.get("/api/users/me").status_code == 200


def test_a_key_made_for_somebody_else_ends_with_the_key_that_made_it(house: Any) -> None:
    number = house.user("john")
    boss = house.person("boss", "admin")
    maker = house.key(boss)
    key = house.key(maker, user_id=number)
    made, of_boss = house.key_rows()
    assert (made.user_id, made.made_by_id) == (number, of_boss.id)
    boss.post(f"/api/apikeys/{of_boss.id}/revoke")
    assert key.get("/api/users/me").status_code == 401


def test_the_record_names_the_key_that_was_ended(house: Any, john: Any, notebook: Any) -> None:
    house.key_text(john)
    number = house.key_rows()[0].id
    john.post(f"/api/apikeys/{number}/revoke")
    john.delete(f"/api/apikeys/{number}")
    told = [(request.action, request.resource_id) for request, _ in notebook.finished[-2:]]
    assert told == [("apikeys.revoke", str(number)), ("apikeys.delete", str(number))]


# --- without an account ------------------------------------------------------------------------


def test_a_key_made_without_an_account_belongs_to_the_oldest_active_administrator(house: Any) -> None:
    refused(house.admin.post("/api/apikeys", json={"name": "CI"}), 409, "NO_ADMINISTRATOR")
    house.user("former", "admin", active=False)
    house.user("worker")
    oldest = house.user("boss", "admin")
    house.user("other", "admin")
    key = house.key(house.admin)
    assert house.key_rows()[0].user_id == oldest
    assert key.get("/api/users").status_code == 200


# --- many at once ------------------------------------------------------------------------------


def test_of_fifty_keys_made_at_once_none_is_lost(house: Any) -> None:
    number = house.user("john")
    clients = [house.session(number) for _ in range(5)]

    def make(place: int) -> Any:
        return clients[place % 5].post("/api/apikeys", json={"name": f"key {place}"}).get_json()

    with ThreadPoolExecutor(50) as pool:
        made = list(pool.map(make, range(50)))
    assert len({one["key"] for one in made}) == 50
    assert {(row.id, row.name) for row in house.key_rows()} == {(one["id"], one["name"]) for one in made}
    for one in made:
        assert ApiClient(house.app, one["key"]).get("/api/users/me").status_code == 200


def test_of_all_that_is_made_while_its_maker_is_revoked_nothing_stays(house: Any, john: Any) -> None:
    text = house.key_text(john)
    root = house.key_rows()[0].id

    def make(_: int) -> Any:
        answer = ApiClient(house.app, text).post("/api/apikeys", json={"name": "child"})
        return answer.get_json().get("key"), answer.status_code

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(make, 0)
        first.result()
        outcomes = pool.map(make, range(12))
        john.post(f"/api/apikeys/{root}/revoke")
        made = [*outcomes, first.result()]
    assert {status for _, status in made} <= {201, 401}
    assert not any(row.is_active for row in house.key_rows())
    assert house.live_sessions() == 1, "only the session of the person"


def test_a_deployment_needs_level_read_and_no_more(house: Any) -> None:
    house.deployment("blog")
    reader = house.person("reader", grants={"blog": Level.READ})
    key = house.key(reader, deployments=["blog", "blog"])
    assert house.key_rows()[0].deployments == ["blog"]
    assert key.get("/api/deployments/blog").status_code == 200
    assert key.post("/api/deployments/blog/start").status_code == 403
