"""Nobody gets more by the accounts of others, by his own, or by a key."""

from collections.abc import Callable
from typing import Any

import pytest

from flatrun_core import Level

STAFF = ["users:read", "users:write", "users:delete"]
CLERK = [*STAFF, "deployments:read", "apikeys:read", "apikeys:write"]


def denied(answer: Any, code: str = "PERMISSION_DENIED") -> None:
    assert (answer.status_code, answer.get_json()["code"]) == (403, code), answer.get_json()


def new(**fields: Any) -> dict[str, Any]:
    return {"username": "fresh", "password": "secure-password", "role": "viewer", **fields}


@pytest.fixture
def clerk(house: Any) -> Any:
    """A session of somebody who may keep accounts, and read the deployment blog."""
    return house.person("clerk", permissions=CLERK, grants={"blog": Level.READ})


# --- administrators ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "", {"email": "a@example.com"}),
        ("PUT", "", {"role": "viewer"}),
        ("PUT", "", {"password": "secure-password"}),
        ("PUT", "", {"is_active": False}),
        ("PUT", "", {"totp": False}),
        ("PUT", "", {"username": "other"}),
        ("PUT", "", {"permissions": []}),
        ("PUT", "", {}),
        ("DELETE", "", None),
        ("POST", "/deployments", {"deployment_name": "mine", "access_level": "read"}),
        ("PUT", "/deployments/mine", {"access_level": "read"}),
        ("DELETE", "/deployments/mine", None),
    ],
)
@pytest.mark.parametrize("active", [True, False])
def test_accounts_of_administrators_are_for_administrators(
    house: Any, method: str, path: str, body: Any, active: bool
) -> None:
    house.deployment("mine")
    boss = house.user("boss", "admin", grants={"mine": Level.READ}, active=active)
    staff = house.person("staff", permissions=CLERK, grants={"mine": Level.ADMIN})
    denied(staff.open(method, f"/api/users/{boss}{path}", json=body))
    row = house.row(boss)
    assert (row.role, row.username, row.is_active) == ("admin", "boss", active)
    assert house.grants(boss) == {"mine": Level.READ}


def test_only_administrators_make_administrators(house: Any, clerk: Any) -> None:
    denied(clerk.post("/api/users", json=new(role="admin")))
    other = house.user("other", "viewer")
    denied(clerk.put(f"/api/users/{other}", json={"role": "admin"}))
    assert house.row(other).role == "viewer"


@pytest.mark.parametrize(
    "limits",
    [
        {"role": "operator", "permissions": STAFF},
        {"permissions": STAFF},
        {"deployments": ["blog"]},
        {"role": "admin", "deployments": ["blog"]},
    ],
)
def test_a_narrowed_key_of_an_administrator_is_none(house: Any, limits: Any) -> None:
    house.deployment("blog")
    boss = house.user("boss", "admin")
    other = house.user("other", "admin")
    key = house.key(house.session(boss), **limits)
    denied(key.post("/api/users", json=new(role="admin")))
    for number in (boss, other):
        denied(key.put(f"/api/users/{number}", json={"password": "secure-password"}))
        denied(key.put(f"/api/users/{number}", json={"email": "a@example.com"}))
    denied(key.delete(f"/api/users/{other}"))
    worker = house.user("worker", permissions=["users:read"])
    denied(key.put(f"/api/users/{worker}", json={"role": "admin"}))
    assert house.row(worker).role == "operator"


def test_a_key_of_an_administrator_with_nothing_taken_away_is_one(house: Any) -> None:
    key = house.key(house.person("boss", "admin"))
    assert key.post("/api/users", json=new(role="admin")).status_code == 201


# --- what one gives ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"permissions": ["deployments:read", "deployments:write"]},
        {"permissions": ["audit:read"]},
        {"permissions": []},
        {"role": "operator", "permissions": []},
    ],
)
def test_nobody_gives_permissions_he_lacks(house: Any, clerk: Any, fields: Any) -> None:
    answers = [clerk.post("/api/users", json=new(**fields))]
    other = house.user("other", "viewer", permissions=["users:read"])
    answers.append(clerk.put(f"/api/users/{other}", json=fields))
    for answer in answers:
        denied(answer)
        assert "You cannot give what you do not hold: " in answer.get_json()["error"]
    assert house.row(other).permissions == ["users:read"]


def test_what_one_holds_one_may_give(house: Any, clerk: Any) -> None:
    answer = clerk.post("/api/users", json=new(permissions=["deployments:read", "users:read"]))
    assert answer.status_code == 201
    number = answer.get_json()["user"]["id"]
    assert clerk.put(f"/api/users/{number}", json={"permissions": ["apikeys:read"]}).status_code == 200


def test_nobody_gives_a_role_above_his_own(house: Any) -> None:
    clerk = house.person("clerk", "viewer", permissions=CLERK)
    denied(clerk.post("/api/users", json=new(role="operator", permissions=["users:read"])))
    other = house.user("other", "viewer", permissions=["users:read"])
    denied(clerk.put(f"/api/users/{other}", json={"role": "operator"}))
    assert clerk.post("/api/users", json=new(permissions=["users:read"])).status_code == 201


def test_less_may_be_left_to_somebody_who_has_more(house: Any, clerk: Any) -> None:
    other = house.user("other", permissions=["backups:delete", "audit:read"])
    answer = clerk.put(f"/api/users/{other}", json={"permissions": ["backups:delete"], "role": "viewer"})
    assert answer.status_code == 200
    denied(clerk.put(f"/api/users/{other}", json={"permissions": ["backups:delete", "audit:read"]}))


def test_a_permission_is_not_given_to_work_on_deployments_one_has_no_access_to(house: Any) -> None:
    clerk = house.person("clerk", permissions=[*CLERK, "deployments:delete"], grants={"blog": Level.ADMIN})
    other = house.user("other", permissions=["deployments:read"], grants={"shop": Level.ADMIN})
    denied(clerk.put(f"/api/users/{other}", json={"permissions": ["deployments:read", "deployments:delete"]}))
    same = house.user("same", permissions=["deployments:read"], grants={"blog": Level.WRITE})
    answer = clerk.put(f"/api/users/{same}", json={"permissions": ["deployments:read", "deployments:delete"]})
    assert answer.status_code == 200


# --- other people's accounts -------------------------------------------------------------------

TAKING_OVER = [{"password": "secure-password"}, {"totp": False}, {"username": "renamed"}]


@pytest.mark.parametrize("change", [*TAKING_OVER, {"is_active": True}])
@pytest.mark.parametrize(
    "stronger",
    [
        {"permissions": ["audit:read"]},
        {"role": "operator"},
        {"permissions": ["users:read"], "grants": {"shop": Level.READ}},
        {"permissions": ["users:read"], "grants": {"blog": Level.WRITE}},
    ],
)
def test_nobody_takes_over_an_account_that_may_do_more(
    house: Any, clerk: Any, change: Any, stronger: Any
) -> None:
    other = house.user("other", **stronger, active="is_active" not in change)
    before = house.row(other)
    denied(clerk.put(f"/api/users/{other}", json=change))
    after = house.row(other)
    assert (after.password_hash, after.username, after.is_active) == (
        before.password_hash,
        before.username,
        before.is_active,
    )


@pytest.mark.parametrize("change", [*TAKING_OVER, {"is_active": True}])
def test_an_account_that_may_do_less_is_in_ones_care(house: Any, clerk: Any, change: Any) -> None:
    permissions = ["deployments:read"]
    other = house.user("other", "viewer", permissions, {"blog": Level.READ}, active="is_active" not in change)
    assert clerk.put(f"/api/users/{other}", json=change).status_code == 200


def test_more_powerful_accounts_may_still_be_switched_off(house: Any, clerk: Any) -> None:
    other = house.user("other", permissions=["audit:read"])
    assert clerk.put(f"/api/users/{other}", json={"is_active": False}).status_code == 200
    assert clerk.put(f"/api/users/{other}", json={"email": "a@example.com"}).status_code == 200
    assert clerk.delete(f"/api/users/{other}").status_code == 200


# --- one's own account -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"role": "admin"},
        {"permissions": [*CLERK, "audit:read"]},
        {"permissions": []},
        {"password": "secure-password"},
        {"totp": False},
    ],
)
def test_nobody_raises_himself(house: Any, change: Any) -> None:
    number = house.user("clerk", permissions=CLERK)
    for client in (house.session(number), house.key(house.session(number))):
        denied(client.put(f"/api/users/{number}", json=change))
    assert house.row(number).permissions == CLERK


def test_a_viewer_by_role_does_not_become_an_operator(house: Any) -> None:
    number = house.user("clerk", "viewer", permissions=CLERK)
    denied(house.session(number).put(f"/api/users/{number}", json={"role": "operator"}))


@pytest.mark.parametrize("change", [{"password": "secure-password"}, {"password": "short"}, {"totp": False}])
def test_not_even_an_administrator_resets_himself(house: Any, change: Any) -> None:
    number = house.user("boss", "admin")
    before = house.row(number)
    session = house.session(number)
    text = house.key_text(session)
    answer = session.put(f"/api/users/{number}", json={**change, "email": "a@example.com"})
    denied(answer)
    assert "/api/users/me" in answer.get_json()["error"]
    for client in (house.key(session), house.session_of_key(text)):
        denied(client.put(f"/api/users/{number}", json=change))
    after = house.row(number)
    assert (after.password_hash, after.email) == (before.password_hash, "")
    assert session.put(f"/api/users/{number}", json={"email": "a@example.com"}).status_code == 200
    assert house.admin.put(f"/api/users/{number}", json={"totp": False}).status_code == 200


@pytest.mark.parametrize("role", ["admin", "operator"])
@pytest.mark.parametrize("limits", [{}, {"permissions": STAFF}])
def test_a_key_changes_nothing_of_its_owner(house: Any, role: str, limits: Any) -> None:
    number = house.user("owner", role, permissions=CLERK)
    owner = house.session(number)
    text = house.key_text(owner, **limits)
    before = owner.get("/api/users/me").get_json()["user"]
    for client in (house.key(owner, **limits), house.session_of_key(text)):
        for change in (
            {"email": "a@example.com"},
            {"username": "other"},
            {"is_active": False},
            {"role": "viewer"},
        ):
            denied(client.put(f"/api/users/{number}", json=change))
    assert owner.get("/api/users/me").get_json()["user"] == before


def test_nobody_gives_himself_deployments(house: Any) -> None:
    house.deployment("blog")
    house.deployment("shop")
    number = house.user("clerk", permissions=CLERK, grants={"blog": Level.WRITE})
    clerk = house.session(number)
    for name in ("blog", "shop", "nowhere"):
        body = {"deployment_name": name, "access_level": "admin"}
        denied(clerk.post(f"/api/users/{number}/deployments", json=body), "DEPLOYMENT_FORBIDDEN")
        path = f"/api/users/{number}/deployments/{name}"
        denied(clerk.put(path, json={"access_level": "admin"}), "DEPLOYMENT_FORBIDDEN")
    assert house.grants(number) == {"blog": Level.WRITE}


# --- keys --------------------------------------------------------------------------------------


def test_a_key_gives_no_more_than_it_may_itself(house: Any) -> None:
    clerk = house.person("clerk", permissions=[*CLERK, "deployments:write"])
    key = house.key(clerk, permissions=[*STAFF, "deployments:read"])
    denied(key.post("/api/users", json=new(permissions=["deployments:write"])))
    assert key.post("/api/users", json=new(permissions=["deployments:read"])).status_code == 201


def test_a_key_with_a_lower_role_gives_no_higher_one(house: Any) -> None:
    clerk = house.person("clerk", permissions=CLERK)
    key = house.key(clerk, role="viewer", permissions=STAFF)
    denied(key.post("/api/users", json=new(role="operator", permissions=["users:read"])))


@pytest.mark.parametrize("role", ["admin", "operator"])
def test_a_key_limited_to_deployments_makes_no_accounts_that_are_not(house: Any, role: str) -> None:
    house.deployment("blog")
    owner = house.person("owner", role, permissions=CLERK, grants={"blog": Level.ADMIN})
    key = house.key(owner, deployments=["blog"], permissions=[*STAFF, "deployments:read"])
    denied(key.post("/api/users", json=new(permissions=["deployments:read"])))
    other = house.user("other", "viewer", permissions=["deployments:read"])
    for change in TAKING_OVER:
        denied(key.put(f"/api/users/{other}", json=change))


def test_a_key_limited_to_deployments_gives_only_those(house: Any) -> None:
    house.deployment("blog")
    house.deployment("shop")
    other = house.user("other", "viewer")
    key = house.key(house.person("boss", "admin"), deployments=["blog"])
    path = f"/api/users/{other}/deployments"
    denied(key.post(path, json={"deployment_name": "shop", "access_level": "read"}), "DEPLOYMENT_FORBIDDEN")
    answer = key.post(path, json={"deployment_name": "blog", "access_level": "admin"})
    assert answer.status_code == 201
    assert house.grants(other) == {"blog": Level.ADMIN}


def test_a_session_opened_with_a_key_is_held_to_the_key(house: Any) -> None:
    boss = house.user("boss", "admin")
    session = house.session_of_key(house.key_text(house.session(boss), permissions=STAFF))
    denied(session.post("/api/users", json=new(role="admin")))
    denied(session.put(f"/api/users/{boss}", json={"password": "secure-password"}))


# --- other providers ---------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["", "viewer", "operator", "admin"])
def test_an_identity_of_another_provider_is_held_to_what_it_has(
    house: Any, flatrun_login: Callable[..., Any], role: str
) -> None:
    guest = flatrun_login(house.app, STAFF, role=role)
    denied(guest.post("/api/users", json=new(role="admin")))
    denied(guest.post("/api/users", json=new(permissions=["deployments:read"])))
    boss = house.user("boss", "admin")
    denied(guest.put(f"/api/users/{boss}", json={"password": "secure-password"}))
