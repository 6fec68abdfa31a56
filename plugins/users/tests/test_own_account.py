"""What everybody may see and change of the own account."""

from typing import Any

import pytest

from flatrun_core import Level
from flatrun_core.testing.client import ApiClient

CURRENT = "correct horse battery"
CHANGE = {"current_password": CURRENT, "new_password": "another password"}


def refused(answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.get_json()["code"]) == (status, code), answer.get_json()


def test_me_tells_who_one_is_and_what_one_may(house: Any) -> None:
    number = house.user("jane", "viewer", grants={"blog": Level.WRITE})
    me = house.session(number).get("/api/users/me").get_json()
    assert set(me) == {"user", "permissions", "deployments"}
    assert (me["user"]["id"], me["user"]["username"], me["user"]["deployment_count"]) == (number, "jane", 1)
    assert me["permissions"] == sorted(me["permissions"])
    assert {"deployments:read", "deployments:write"} & {*me["permissions"]} == {"deployments:read"}
    [access] = me["deployments"]
    assert (access["deployment_name"], access["access_level"]) == ("blog", "write")


def test_a_key_is_told_what_it_may_and_not_what_its_owner_may(house: Any) -> None:
    jane = house.person("jane", grants={"blog": Level.WRITE, "shop": Level.READ})
    house.deployment("blog")
    key = house.key(jane, permissions=["deployments:read"], deployments=["blog"])
    me = key.get("/api/users/me").get_json()
    assert me["user"]["username"] == "jane"
    assert me["permissions"] == ["deployments:read"]
    assert [access["deployment_name"] for access in me["deployments"]] == ["blog"]
    assert me["user"]["deployment_count"] == 1
    assert jane.get("/api/users/me").get_json()["user"]["deployment_count"] == 2


def test_who_has_no_account_is_told_so_and_may_everything(make_house: Any) -> None:
    house = make_house()
    for client in (house.admin, ApiClient(make_house(**{"auth.enabled": False}).app, None)):
        me = client.get("/api/users/me").get_json()
        assert me["user"] is None
        assert me["deployments"] == []
        known = client.get("/api/permissions").get_json()["permissions"]
        assert me["permissions"] == [one["name"] for one in known]


def test_an_identity_of_another_provider_is_told_its_own_permissions(house: Any, flatrun_login: Any) -> None:
    guest = flatrun_login(house.app, ["deployments:read"], {"blog": Level.READ})
    me = guest.get("/api/users/me").get_json()
    assert me == {"user": None, "permissions": ["deployments:read"], "deployments": []}


def test_everybody_changes_his_address_and_nothing_else(house: Any, notebook: Any) -> None:
    number = house.user("jane", "viewer")
    jane = house.session(number)
    body = {"email": "jane@example.com", "role": "admin", "permissions": ["users:write"], "username": "root"}
    user = jane.put("/api/users/me", json=body).get_json()["user"]
    assert (user["email"], user["role"], user["username"]) == ("jane@example.com", "viewer", "jane")
    assert house.row(number).permissions == []
    request, outcome = notebook.finished[-1]
    assert (request.action, dict(outcome.metadata)) == ("users.update_self", {"changed": ["email"]})
    assert jane.put("/api/users/me", json={}).get_json()["user"]["email"] == "jane@example.com"
    assert jane.put("/api/users/me", json={"email": ""}).get_json()["user"]["email"] == ""


def test_a_new_password_ends_the_other_sessions_and_leaves_this_one_and_the_keys(house: Any) -> None:
    number = house.user("jane")
    jane, elsewhere = house.session(number), house.session(number)
    text = house.key_text(jane)
    of_key = house.session_of_key(text)
    answer = jane.put("/api/users/me/password", json=CHANGE)
    assert (answer.status_code, answer.get_json()) == (200, {"message": "Password updated"})
    assert jane.get("/api/users/me").status_code == 200
    assert elsewhere.get("/api/users/me").status_code == 401
    assert of_key.get("/api/users/me").status_code == 401
    assert ApiClient(house.app, text).get("/api/users/me").status_code == 200
    login = {"username": "jane", "password": "another password"}
    assert house.admin.post("/api/auth/login", json=login).status_code == 200


def test_without_the_current_password_it_stays(house: Any) -> None:
    number = house.user("jane")
    jane = house.session(number)
    before = house.row(number).password_hash
    wrong = jane.put("/api/users/me/password", json={**CHANGE, "current_password": "a guess"})
    refused(wrong, 400, "INVALID_CURRENT_PASSWORD")
    refused(jane.put("/api/users/me/password", json={"new_password": "x" * 10}), 400, "VALIDATION_ERROR")
    weak = jane.put("/api/users/me/password", json={**CHANGE, "new_password": "short"})
    refused(weak, 400, "WEAK_PASSWORD")
    assert house.row(number).password_hash == before


def test_the_password_cannot_be_found_by_trying_in_an_open_session(house: Any) -> None:
    jane = house.person("jane")
    guesses = [
        jane.put("/api/users/me/password", json={**CHANGE, "current_password": f"guess {n}"}).status_code
        for n in range(6)
    ]
    assert guesses == [400, 400, 400, 400, 400, 429]
    right = jane.put("/api/users/me/password", json=CHANGE)
    refused(right, 429, "RATE_LIMITED")
    assert int(right.headers["Retry-After"]) > 0
    login = {"username": "jane", "password": CURRENT}
    refused(house.admin.post("/api/auth/login", json=login), 429, "RATE_LIMITED")


def test_right_changes_count_for_nothing(house: Any) -> None:
    jane = house.person("jane")
    for number in range(8):
        body = {"current_password": CURRENT, "new_password": CURRENT}
        assert jane.put("/api/users/me/password", json=body).status_code == 200, number


@pytest.mark.parametrize(("path", "body"), [("", {"email": "a@example.com"}), ("/password", CHANGE)])
def test_keys_and_sessions_of_keys_cannot_change_their_owner(house: Any, path: str, body: Any) -> None:
    text = house.key_text(house.person("boss", "admin"))
    for client in (ApiClient(house.app, text), house.session_of_key(text)):
        refused(client.put(f"/api/users/me{path}", json=body), 403, "PERMISSION_DENIED")


def test_there_is_nothing_to_change_without_an_account(house: Any) -> None:
    refused(house.admin.put("/api/users/me", json={"email": "a@example.com"}), 403, "PERMISSION_DENIED")
    refused(house.admin.put("/api/users/me/password", json=CHANGE), 403, "PERMISSION_DENIED")
