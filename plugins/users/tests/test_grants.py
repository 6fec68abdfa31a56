"""Who was given which deployment, and what becomes of it when deployments come and go."""

from collections.abc import Callable
from typing import Any

import pytest

from flatrun_core import HOOK_API, Conflict, Level, PluginInfo, hookimpl
from flatrun_core.ports.deployments import Draft
from flatrun_core.testing.client import ApiClient

COMPOSE = "services:\n  web:\n    image: busybox\n"


def refused(answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.get_json()["code"]) == (status, code), answer.get_json()


def give(client: Any, user_id: int, name: str = "blog", level: str = "write") -> Any:
    body = {"deployment_name": name, "access_level": level}
    return client.post(f"/api/users/{user_id}/deployments", json=body)


@pytest.fixture
def blog(house: Any) -> str:
    """The name of a deployment that is there."""
    house.deployment("blog")
    return "blog"


# --- giving and taking -------------------------------------------------------------------------


def test_a_deployment_is_given_and_the_next_request_may_use_it(house: Any, blog: str) -> None:
    john = house.user("john")
    session = house.session(john)
    assert session.get("/api/deployments/blog").status_code == 403
    answer = give(house.admin, john)
    assert answer.status_code == 201
    assert answer.get_json() == {
        "message": "Deployment access granted",
        "deployment_name": "blog",
        "access_level": "write",
    }
    assert session.get("/api/deployments/blog").status_code == 200
    assert house.admin.get(f"/api/users/{john}").get_json()["user"]["deployment_count"] == 1


def test_giving_again_changes_it_and_keeps_who_gave_it_first(house: Any, blog: str) -> None:
    john, boss, other = house.user("john"), house.user("boss", "admin"), house.user("other", "admin")
    assert give(house.session(boss), john).status_code == 201
    again = give(house.session(other), john, level="read")
    assert (again.status_code, again.get_json()["access_level"]) == (200, "read")
    [access] = house.admin.get(f"/api/users/{john}/deployments").get_json()["deployments"]
    assert (access["access_level"], access["granted_by"]) == ("read", boss)


def test_what_was_given_is_changed_and_taken(house: Any, blog: str) -> None:
    john = house.user("john", grants={"blog": Level.READ})
    path = f"/api/users/{john}/deployments/blog"
    changed = house.admin.put(path, json={"access_level": "admin"})
    assert (changed.status_code, changed.get_json()) == (
        200,
        {"message": "Deployment access updated", "deployment_name": "blog", "access_level": "admin"},
    )
    assert house.grants(john) == {"blog": Level.ADMIN}
    taken = house.admin.delete(path)
    assert (taken.status_code, taken.get_json()) == (200, {"message": "Deployment access removed"})
    assert house.grants(john) == {}
    refused(house.admin.put(path, json={"access_level": "read"}), 404, "GRANT_NOT_FOUND")
    refused(house.admin.delete(path), 404, "GRANT_NOT_FOUND")


def test_what_is_not_there_cannot_be_given(house: Any, make_house: Any) -> None:
    refused(give(house.admin, house.user("john"), "nowhere"), 404, "DEPLOYMENT_NOT_FOUND")
    alone = make_house(deployments=False)
    refused(give(alone.admin, alone.user("jane")), 404, "DEPLOYMENT_NOT_FOUND")


@pytest.mark.parametrize(
    "body",
    [
        {"deployment_name": "blog", "access_level": "owner"},
        {"deployment_name": "blog", "access_level": 3},
        {"deployment_name": "blog"},
        {"access_level": "read"},
        {"deployment_name": "../blog", "access_level": "read"},
        {"deployment_name": "blog\n", "access_level": "read"},
        {"deployment_name": "x" * 129, "access_level": "read"},
        {"deployment_name": "", "access_level": "read"},
    ],
)
def test_what_has_the_wrong_shape_is_400(house: Any, blog: str, body: Any) -> None:
    john = house.user("john", grants={"blog": Level.READ})
    refused(house.admin.post(f"/api/users/{john}/deployments", json=body), 400, "VALIDATION_ERROR")


def test_a_deployment_of_the_longest_name_can_be_given(house: Any) -> None:
    house.deployment("x" * 128)
    john = house.user("john")
    assert give(house.admin, john, "x" * 128).status_code == 201
    assert house.grants(john) == {"x" * 128: Level.WRITE}


def test_giving_works_without_docker(house: Any, blog: str, fake_engine: Any) -> None:
    fake_engine.down = True
    assert give(house.admin, house.user("john")).status_code == 201


def test_the_record_names_the_user_the_deployment_and_the_level(house: Any, blog: str, notebook: Any) -> None:
    john = house.user("john")
    give(house.admin, john)
    house.admin.put(f"/api/users/{john}/deployments/blog", json={"access_level": "read"})
    house.admin.delete(f"/api/users/{john}/deployments/blog")
    told = [
        (request.action, request.resource_type, request.resource_id, dict(outcome.metadata))
        for request, outcome in notebook.finished
    ]
    assert told == [
        ("users.deployments.grant", "user", str(john), {"deployment": "blog", "access_level": "write"}),
        ("users.deployments.update", "user", str(john), {"deployment": "blog", "access_level": "read"}),
        ("users.deployments.revoke", "user", str(john), {"deployment": "blog"}),
    ]


# --- who may give ------------------------------------------------------------------------------


def test_who_holds_admin_on_a_deployment_may_give_and_take_it(house: Any, blog: str) -> None:
    chief = house.person("chief", permissions=["users:write"], grants={"blog": Level.ADMIN})
    john = house.user("john")
    path = f"/api/users/{john}/deployments/blog"
    assert give(chief, john, level="admin").status_code == 201
    assert chief.put(path, json={"access_level": "read"}).status_code == 200
    assert chief.delete(path).status_code == 200


@pytest.mark.parametrize("level", [None, Level.READ, Level.WRITE])
@pytest.mark.parametrize("name", ["blog", "nowhere"])
def test_who_holds_less_may_not_and_learns_nothing(house: Any, blog: str, level: Any, name: str) -> None:
    grants = {} if level is None else {"blog": level}
    chief = house.person("chief", permissions=["users:write"], grants=grants)
    john = house.user("john", grants={"blog": Level.READ})
    for number in (john, 999):
        path = f"/api/users/{number}/deployments/{name}"
        refused(give(chief, number, name, "read"), 403, "DEPLOYMENT_FORBIDDEN")
        refused(chief.put(path, json={"access_level": "read"}), 403, "DEPLOYMENT_FORBIDDEN")
        refused(chief.delete(path), 403, "DEPLOYMENT_FORBIDDEN")
    assert house.grants(john) == {"blog": Level.READ}


def test_names_one_may_not_read_are_left_out_of_what_others_were_given(house: Any) -> None:
    staff = house.person("staff", permissions=["users:read"], grants={"blog": Level.READ})
    john = house.user("john", grants={"blog": Level.WRITE, "secret-project": Level.READ})
    for path in (f"/api/users/{john}", f"/api/users/{john}/deployments"):
        given = staff.get(path).get_json()["deployments"]
        assert [access["deployment_name"] for access in given] == ["blog"]
    given = house.admin.get(f"/api/users/{john}/deployments").get_json()["deployments"]
    assert [access["deployment_name"] for access in given] == ["blog", "secret-project"]


# --- by deployment -----------------------------------------------------------------------------


def test_a_deployment_names_who_was_given_it(house: Any, blog: str) -> None:
    boss = house.user("boss", "admin")
    john = house.user("john")
    give(house.session(boss), john)
    answer = house.admin.get("/api/deployments/blog/users").get_json()
    assert set(answer) == {"deployment_name", "users"}
    [holder] = answer["users"]
    assert holder.pop("created_at").endswith("Z")
    assert holder == {
        "user_id": john,
        "username": "john",
        "email": "",
        "role": "operator",
        "access_level": "write",
        "granted_by": boss,
    }


def test_a_deployments_users_are_for_who_may_read_both(house: Any, blog: str) -> None:
    refused(house.admin.get("/api/deployments/nowhere/users"), 404, "DEPLOYMENT_NOT_FOUND")
    staff = house.person("staff", permissions=["users:read"], grants={"blog": Level.READ})
    assert staff.get("/api/deployments/blog/users").status_code == 200
    refused(staff.get("/api/deployments/nowhere/users"), 403, "DEPLOYMENT_FORBIDDEN")
    john = house.person("john", grants={"blog": Level.ADMIN})
    refused(john.get("/api/deployments/blog/users"), 403, "PERMISSION_DENIED")


def test_who_gave_it_is_forgotten_with_his_account(house: Any, blog: str) -> None:
    house.user("other", "admin")
    boss, john = house.user("boss", "admin"), house.user("john")
    give(house.session(boss), john)
    house.admin.delete(f"/api/users/{boss}")
    [access] = house.admin.get(f"/api/users/{john}/deployments").get_json()["deployments"]
    assert access["granted_by"] is None


# --- deployments come and go -------------------------------------------------------------------


def create(client: Any, name: str = "blog") -> Any:
    return client.post("/api/deployments", json={"name": name, "compose": COMPOSE})


def test_who_makes_a_deployment_is_given_it(house: Any) -> None:
    john = house.user("john")
    assert create(house.session(john)).status_code == 201
    assert house.grants(john) == {"blog": Level.ADMIN}
    [access] = house.admin.get(f"/api/users/{john}/deployments").get_json()["deployments"]
    assert (access["access_level"], access["granted_by"]) == ("admin", john)


def test_what_a_key_makes_is_its_owners(house: Any) -> None:
    john = house.user("john")
    key = house.key(house.session(john))
    assert create(key).status_code == 201
    assert house.grants(john) == {"blog": Level.ADMIN}
    assert key.get("/api/deployments/blog").status_code == 200


def test_administrators_need_no_grant_and_get_none(house: Any) -> None:
    boss = house.user("boss", "admin")
    assert create(house.session(boss)).status_code == 201
    assert house.grants(boss) == {}
    assert create(house.admin, "shop").status_code == 201


def test_a_namesake_inherits_neither_access_nor_keys(house: Any) -> None:
    """As if the removal had not been told to this plugin."""
    house.deployment("old")
    house.deployment("other")
    john = house.user("john", grants={"blog": Level.ADMIN})
    boss = house.person("boss", "admin")
    house.deployment("blog")
    only = house.key(boss, deployments=["blog"])
    both = house.key(boss, deployments=["blog", "other"])
    (house.root / "blog" / "docker-compose.yml").unlink()
    (house.root / "blog").rmdir()
    assert create(house.admin).status_code == 201
    assert house.grants(john) == {}
    assert only.get("/api/deployments/blog").status_code == 401
    assert both.get("/api/deployments/blog").status_code == 403
    assert both.get("/api/deployments/other").status_code == 200


def test_a_removal_takes_access_along_and_the_name_out_of_keys(house: Any) -> None:
    house.deployment("blog")
    house.deployment("other")
    john = house.user("john", grants={"blog": Level.ADMIN, "other": Level.READ})
    key = house.key(house.person("boss", "admin"), deployments=["other", "blog"])
    answer = house.admin.delete("/api/deployments/blog")
    assert (answer.status_code, answer.get_json()["deleted_items"]) == (200, [])
    assert "warnings" not in answer.get_json() or answer.get_json()["warnings"] == []
    assert house.grants(john) == {"other": Level.READ}
    assert house.key_rows()[0].deployments == ["other"]
    assert [found["name"] for found in key.get("/api/deployments").get_json()] == ["other"]


def test_a_key_whose_only_deployment_goes_does_not_become_unlimited(house: Any) -> None:
    house.deployment("blog")
    house.deployment("other")
    boss = house.person("boss", "admin")
    text = house.key_text(boss, deployments=["blog"])
    key = ApiClient(house.app, text)
    child = house.key(key)
    session = house.session_of_key(text)
    house.admin.delete("/api/deployments/blog")
    for client in (key, child, session):
        assert client.get("/api/deployments/other").status_code == 401
    rows = boss.get("/api/apikeys").get_json()["api_keys"]
    assert [(row["is_active"], row["deployments"]) for row in rows] == [(False, ["blog"]), (False, ["blog"])]


class Refuses:
    """A plugin after this one that refuses every creation."""

    PLUGIN = PluginInfo(slug="zealot", hook_api=HOOK_API, display_name="Zealot")

    @hookimpl(optionalhook=True)
    def flatrun_join_deployment_create(self, draft: Draft) -> None:
        raise Conflict(f"No {draft.name} today", code="NOT_TODAY")


def test_a_creation_that_comes_to_nothing_gives_nothing(make_house: Callable[..., Any]) -> None:
    house = make_house(Refuses())
    john = house.user("john")
    refused(create(house.session(john)), 409, "NOT_TODAY")
    assert house.grants(john) == {}
