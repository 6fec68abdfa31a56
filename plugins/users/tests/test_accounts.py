"""Accounts as administrators see and change them."""

import re
from typing import Any

import pyotp
import pytest

from flatrun_core import Level

USER_KEYS = {
    "id",
    "uid",
    "username",
    "email",
    "role",
    "permissions",
    "is_active",
    "created_at",
    "updated_at",
    "last_login_at",
    "deployment_count",
}
JOHN = {
    "username": "john",
    "email": "john@example.com",
    "password": "secure-password",
    "role": "operator",
    "permissions": ["deployments:read", "deployments:write"],
}


def refused(answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.get_json()["code"]) == (status, code), answer.get_json()


def test_a_user_is_created_as_the_contract_says(house: Any) -> None:
    answer = house.admin.post("/api/users", json=JOHN)
    assert answer.status_code == 201
    assert set(answer.get_json()) == {"user"}
    user = answer.get_json()["user"]
    assert set(user) == USER_KEYS
    assert re.fullmatch(r"[0-9a-f]{32}", user["uid"])
    assert (user["username"], user["email"], user["role"]) == ("john", "john@example.com", "operator")
    assert user["permissions"] == ["deployments:read", "deployments:write"]
    assert user["is_active"] is True
    assert user["last_login_at"] is None
    assert user["created_at"].endswith("Z")
    assert user["deployment_count"] == 0


def test_a_new_user_logs_in_with_the_password_given(house: Any) -> None:
    house.admin.post("/api/users", json=JOHN)
    answer = house.admin.post("/api/auth/login", json={"username": "John", "password": JOHN["password"]})
    assert answer.status_code == 200
    assert answer.get_json()["user"]["username"] == "john"


def test_only_what_is_needed_must_be_given(house: Any) -> None:
    bare = {"username": "jane", "password": "secure-password", "role": "viewer", "unknown": 1}
    user = house.admin.post("/api/users", json=bare).get_json()["user"]
    assert (user["email"], user["permissions"]) == ("", [])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", "jo"),
        ("username", "x" * 65),
        ("username", "john doe"),
        ("username", "john\n"),
        ("username", "jöhn"),
        ("username", "../john"),
        ("username", 1),
        ("email", "nobody"),
        ("email", None),
        ("role", "root"),
        ("role", ""),
        ("permissions", "deployments:read"),
        ("permissions", [1]),
        ("permissions", ["x:y"] * 501),
        ("password", 12345678),
    ],
)
def test_what_has_the_wrong_shape_is_400(house: Any, field: str, value: Any) -> None:
    refused(house.admin.post("/api/users", json={**JOHN, field: value}), 400, "VALIDATION_ERROR")
    number = house.user("jane")
    refused(house.admin.put(f"/api/users/{number}", json={field: value}), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    "hidden",
    [
        "\u202e",
        "\u2066",
        "\u200b",
        "\u200f",
        "\u061c",
        "\u00ad",
        "\ufeff",
        "\x07",
        "\x7f",
        "\x85",
        "\n",
        "\u2028",
    ],
)
def test_an_address_has_no_character_that_hides_or_turns_what_is_shown(house: Any, hidden: str) -> None:
    number = house.user("jane")
    clients = {"/api/users/me": house.session(number), f"/api/users/{number}": house.admin}
    shapes = (
        f"jo{hidden}hn@example.com",
        f"john@exam{hidden}ple.com",
        f"{hidden}j@example.com",
        f"j@e.com{hidden}",
    )
    for email in (*shapes, f'"j{hidden}"@example.com'):
        refused(house.admin.post("/api/users", json={**JOHN, "email": email}), 400, "VALIDATION_ERROR")
        for path, client in clients.items():
            refused(client.put(path, json={"email": email}), 400, "VALIDATION_ERROR")
    assert house.row(number).email == ""


@pytest.mark.parametrize("email", ["", "j\u00f6hn+panel@example.com", "j@b\u00fccher.example"])
def test_an_address_of_any_letters_is_taken(house: Any, email: str) -> None:
    answer = house.admin.post("/api/users", json={**JOHN, "email": email})
    assert answer.get_json()["user"]["email"] == email


@pytest.mark.parametrize("missing", ["username", "password", "role"])
def test_what_is_required_is_required(house: Any, missing: str) -> None:
    body = {name: value for name, value in JOHN.items() if name != missing}
    refused(house.admin.post("/api/users", json=body), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize("password", ["", "short", "x" * 257])
def test_a_weak_password_is_refused_at_creation_and_at_a_reset(house: Any, password: str) -> None:
    refused(house.admin.post("/api/users", json={**JOHN, "password": password}), 400, "WEAK_PASSWORD")
    number = house.user("jane")
    refused(house.admin.put(f"/api/users/{number}", json={"password": password}), 400, "WEAK_PASSWORD")


def test_an_unknown_permission_is_named(house: Any) -> None:
    answer = house.admin.post("/api/users", json={**JOHN, "permissions": ["deployments:read", "moon:fly"]})
    refused(answer, 400, "UNKNOWN_PERMISSION")
    assert "moon:fly" in answer.get_json()["error"]
    number = house.user("jane")
    refused(house.admin.put(f"/api/users/{number}", json={"permissions": ["a:b"]}), 400, "UNKNOWN_PERMISSION")


def test_names_are_unique_whatever_their_case(house: Any) -> None:
    house.admin.post("/api/users", json=JOHN)
    refused(house.admin.post("/api/users", json={**JOHN, "username": "JOHN"}), 409, "USER_EXISTS")
    number = house.user("jane")
    refused(house.admin.put(f"/api/users/{number}", json={"username": "JOHN"}), 409, "USER_EXISTS")


def test_a_name_may_change_its_case_and_become_another(house: Any) -> None:
    number = house.user("jane")
    for name in ("Jane", "Joan"):
        answer = house.admin.put(f"/api/users/{number}", json={"username": name})
        assert answer.get_json()["user"]["username"] == name
    assert house.admin.post("/api/users", json={**JOHN, "username": "jane"}).status_code == 201


def test_users_are_listed_newest_first_with_how_much_they_were_given(house: Any) -> None:
    first = house.user("first", grants={"a": Level.READ, "b": Level.WRITE})
    second = house.user("second")
    users = house.admin.get("/api/users").get_json()["users"]
    assert [(user["id"], user["deployment_count"]) for user in users] == [(second, 0), (first, 2)]
    assert all(set(user) == USER_KEYS for user in users)


def test_a_user_is_shown_with_what_was_given(house: Any) -> None:
    number = house.user("john", grants={"blog": Level.WRITE})
    answer = house.admin.get(f"/api/users/{number}").get_json()
    assert set(answer) == {"user", "deployments"}
    assert set(answer["user"]) == USER_KEYS
    assert answer["user"]["deployment_count"] == 1
    [access] = answer["deployments"]
    assert set(access) == {"deployment_name", "access_level", "granted_by", "created_at"}
    assert (access["deployment_name"], access["access_level"]) == ("blog", "write")
    assert access["granted_by"] is None


@pytest.mark.parametrize("path", ["", "/deployments"])
@pytest.mark.parametrize("number", ["abc", "1.5", "1e3", "\N{ARABIC-INDIC DIGIT ONE}", "1_0", "0x1", " 1"])
def test_an_id_that_is_no_whole_number_is_400(house: Any, path: str, number: str) -> None:
    refused(house.admin.get(f"/api/users/{number}{path}"), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize("number", ["0", "-1", "999", str(2**31), str(2**63), "9" * 5000])
def test_a_number_that_nobody_has_is_404(house: Any, number: str) -> None:
    for method, path, body in (
        ("GET", "", None),
        ("PUT", "", {"email": "a@example.com"}),
        ("DELETE", "", None),
        ("GET", "/deployments", None),
        ("POST", "/deployments", {"deployment_name": "blog", "access_level": "read"}),
        ("PUT", "/deployments/blog", {"access_level": "read"}),
        ("DELETE", "/deployments/blog", None),
    ):
        refused(house.admin.open(method, f"/api/users/{number}{path}", json=body), 404, "USER_NOT_FOUND")


def test_a_change_touches_only_what_it_names(house: Any) -> None:
    number = house.admin.post("/api/users", json=JOHN).get_json()["user"]["id"]
    before = house.admin.get(f"/api/users/{number}").get_json()["user"]
    after = house.admin.put(f"/api/users/{number}", json={"role": "viewer"}).get_json()["user"]
    assert after["role"] == "viewer"
    assert after["updated_at"] > before["updated_at"]
    same = USER_KEYS - {"role", "updated_at"}
    assert {name: after[name] for name in same} == {name: before[name] for name in same}


def test_a_change_of_nothing_changes_nothing(house: Any) -> None:
    number = house.user("jane")
    before = house.admin.get(f"/api/users/{number}").get_json()["user"]
    for body in ({}, {"username": "jane", "is_active": True}):
        assert house.admin.put(f"/api/users/{number}", json=body).get_json()["user"] == before


def test_a_list_of_permissions_replaces_those_of_the_role_until_it_is_empty(house: Any) -> None:
    number = house.user("jane")
    jane = house.session(number)
    assert jane.get("/api/users/me").get_json()["permissions"] != ["users:read"]
    house.admin.put(f"/api/users/{number}", json={"permissions": ["users:read", "users:read"]})
    assert jane.get("/api/users/me").get_json()["permissions"] == ["users:read"]
    assert house.row(number).permissions == ["users:read"]
    assert jane.get("/api/users").status_code == 200
    house.admin.put(f"/api/users/{number}", json={"permissions": []})
    assert jane.get("/api/users").status_code == 403
    assert "deployments:write" in jane.get("/api/users/me").get_json()["permissions"]


def test_a_change_of_role_counts_on_the_next_request_of_an_open_session(house: Any) -> None:
    number = house.user("jane")
    jane = house.session(number)
    assert jane.get("/api/users").status_code == 403
    house.admin.put(f"/api/users/{number}", json={"role": "admin"})
    assert jane.get("/api/users").status_code == 200
    house.user("other", role="admin")
    house.admin.put(f"/api/users/{number}", json={"role": "viewer"})
    assert jane.get("/api/users").status_code == 403


def test_deactivation_ends_sessions_and_keys_and_a_revival_only_keys(house: Any) -> None:
    number = house.user("jane")
    jane = house.session(number)
    key = house.key(jane)
    house.admin.put(f"/api/users/{number}", json={"is_active": False})
    assert jane.get("/api/users/me").status_code == 401
    assert key.get("/api/users/me").status_code == 401
    house.admin.put(f"/api/users/{number}", json={"is_active": True})
    assert jane.get("/api/users/me").status_code == 401
    assert key.get("/api/users/me").status_code == 200


def test_who_switches_himself_off_finds_no_session_when_he_is_back(house: Any) -> None:
    house.user("other", "admin")
    number = house.user("boss", "admin")
    boss = house.session(number)
    assert boss.put(f"/api/users/{number}", json={"is_active": False}).status_code == 200
    house.admin.put(f"/api/users/{number}", json={"is_active": True})
    assert boss.get("/api/users/me").status_code == 401


def test_a_reset_password_ends_sessions_and_lets_nobody_in_by_the_old_one(house: Any) -> None:
    number = house.user("jane")
    jane = house.session(number)
    house.admin.put(f"/api/users/{number}", json={"password": "another password"})
    assert jane.get("/api/users/me").status_code == 401
    old = {"username": "jane", "password": "correct horse battery"}
    assert house.admin.post("/api/auth/login", json=old).status_code == 401
    new = {"username": "jane", "password": "another password"}
    assert house.admin.post("/api/auth/login", json=new).status_code == 200


def test_an_administrator_resets_every_password_but_his_own(house: Any) -> None:
    number, other = house.user("boss", role="admin"), house.user("other", role="admin")
    boss, session = house.session(number), house.session(other)
    refused(boss.put(f"/api/users/{number}", json={"password": "another password"}), 403, "PERMISSION_DENIED")
    assert boss.put(f"/api/users/{other}", json={"password": "another password"}).status_code == 200
    assert session.get("/api/users/me").status_code == 401
    assert boss.get("/api/users/me").status_code == 200


def test_an_administrator_takes_a_lost_second_factor_away(house: Any) -> None:
    number = house.user("jane")
    jane = house.session(number)
    code = pyotp.TOTP(jane.post("/api/users/me/totp").get_json()["secret"]).now()
    assert jane.post("/api/users/me/totp/confirm", json={"code": code}).status_code == 200
    assert house.row(number).totp_secret
    assert house.admin.put(f"/api/users/{number}", json={"totp": False}).status_code == 200
    assert house.row(number).totp_secret is None
    refused(house.admin.put(f"/api/users/{number}", json={"totp": True}), 400, "VALIDATION_ERROR")


def test_a_deleted_user_takes_everything_along(house: Any) -> None:
    number = house.user("jane", grants={"blog": Level.READ})
    jane = house.session(number)
    key = house.key(jane)
    answer = house.admin.delete(f"/api/users/{number}")
    assert (answer.status_code, answer.get_json()) == (200, {"message": "User deleted"})
    assert jane.get("/api/users/me").status_code == 401
    assert key.get("/api/users/me").status_code == 401
    assert (house.key_rows(), house.grants(number), house.live_sessions()) == ([], {}, 0)
    refused(house.admin.get(f"/api/users/{number}"), 404, "USER_NOT_FOUND")


def test_nobody_gets_the_number_of_who_was_deleted(house: Any) -> None:
    gone = house.user("jane")
    house.admin.delete(f"/api/users/{gone}")
    assert house.user("joan") > gone


def test_nobody_deletes_himself_not_even_with_a_key(house: Any) -> None:
    house.user("other", role="admin")
    number = house.user("boss", role="admin")
    boss = house.session(number)
    for client in (boss, house.key(boss)):
        refused(client.delete(f"/api/users/{number}"), 400, "CANNOT_DELETE_SELF")


def test_answers_and_records_hold_no_password_and_no_hash(house: Any, notebook: Any) -> None:
    answers = [house.admin.post("/api/users", json=JOHN)]
    number = answers[0].get_json()["user"]["id"]
    answers.append(house.admin.put(f"/api/users/{number}", json={"password": "another-password"}))
    answers.append(house.admin.get("/api/users"))
    answers.append(house.admin.get(f"/api/users/{number}"))
    text = "".join(answer.get_data(as_text=True) for answer in answers)
    assert not any(word in text for word in ("argon2", "password", "totp", "secret"))
    told = str([(outcome.metadata, outcome.error) for _, outcome in notebook.finished])
    assert not any(word in told for word in ("another-password", "secure-password"))


def test_the_record_names_the_account_and_what_changed(house: Any, notebook: Any) -> None:
    number = house.admin.post("/api/users", json=JOHN).get_json()["user"]["id"]
    change = {"email": "new@example.com", "role": "operator", "password": "another-password", "totp": False}
    house.admin.put(f"/api/users/{number}", json=change)
    house.admin.delete(f"/api/users/{number}")
    told = [
        (request.action, outcome.resource_id or request.resource_id, dict(outcome.metadata))
        for request, outcome in notebook.finished
        if request.mutation
    ]
    assert told == [
        ("users.create", str(number), {}),
        ("users.update", str(number), {"changed": ["email", "password", "totp"]}),
        ("users.delete", str(number), {}),
    ]
