"""No key may more than whoever made it, or whoever it is for; whatever becomes of them later."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from flatrun_core import Level
from flatrun_core.testing.client import ApiClient

COMPOSE = "services:\n  web:\n    image: busybox\n"


def denied(answer: Any, code: str = "PERMISSION_DENIED") -> None:
    assert (answer.status_code, answer.get_json()["code"]) == (403, code), answer.get_json()


def make(client: Any, **limits: Any) -> Any:
    return client.post("/api/apikeys", json={"name": "a key", **limits})


def permissions_of(client: Any) -> set[str]:
    return set(client.get("/api/users/me").get_json()["permissions"])


# --- by people ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mine", "wanted"), [("viewer", "operator"), ("viewer", "admin"), ("operator", "admin")]
)
def test_the_role_is_not_above_the_makers(house: Any, mine: str, wanted: str) -> None:
    maker = house.person("maker", mine, ["apikeys:write", "deployments:read"])
    denied(make(maker, role=wanted), "ROLE_TOO_HIGH")
    assert make(maker, role=mine).status_code == 201


def test_permissions_are_held_by_the_maker(house: Any) -> None:
    maker = house.person("maker", permissions=["apikeys:write", "deployments:read"])
    denied(make(maker, permissions=["deployments:read", "deployments:write"]))
    key = house.key(maker, permissions=["deployments:read"])
    assert permissions_of(key) == {"deployments:read"}


def test_deployments_are_readable_by_the_maker_and_there(house: Any) -> None:
    house.deployment("blog")
    house.deployment("shop")
    maker = house.person("maker", grants={"blog": Level.READ, "gone": Level.READ})
    for name in ("shop", "nowhere"):
        denied(make(maker, deployments=["blog", name]), "DEPLOYMENT_FORBIDDEN")
    for client, name in ((maker, "gone"), (house.person("boss", "admin"), "nowhere")):
        answer = make(client, deployments=["blog", name])
        assert (answer.status_code, answer.get_json()["code"]) == (404, "DEPLOYMENT_NOT_FOUND")
    assert make(maker, deployments=["blog"]).status_code == 201


def test_a_key_loses_what_its_owner_loses(house: Any) -> None:
    number = house.user("john")
    key = house.key(house.session(number), permissions=["deployments:read", "backups:read"])
    house.admin.put(f"/api/users/{number}", json={"permissions": ["backups:read"]})
    assert permissions_of(key) == {"backups:read"}


def test_a_key_for_somebody_else_is_bounded_by_him_too(house: Any) -> None:
    house.deployment("blog")
    number = house.user("john", "viewer")
    boss = house.person("boss", "admin")
    denied(make(boss, user_id=number, role="operator"), "ROLE_TOO_HIGH")
    denied(make(boss, user_id=number, permissions=["users:write"]))
    denied(make(boss, user_id=number, deployments=["blog"]), "DEPLOYMENT_FORBIDDEN")
    key = house.key(boss, user_id=number, permissions=["deployments:read"])
    assert permissions_of(key) == {"deployments:read"}


# --- by keys -----------------------------------------------------------------------------------


def test_a_key_made_by_a_key_inherits_its_limits(house: Any) -> None:
    house.deployment("blog")
    limits = {"role": "viewer", "permissions": ["apikeys:write", "deployments:read"], "deployments": ["blog"]}
    maker = house.key(house.person("boss", "admin"), **limits)
    make(maker)
    child = house.key_rows()[0]
    assert (child.role, sorted(child.permissions), child.deployments) == (
        "viewer",
        ["apikeys:write", "deployments:read"],
        ["blog"],
    )
    assert child.made_by_id == house.key_rows()[1].id


def test_what_a_key_inherits_it_keeps_when_its_owner_rises(house: Any) -> None:
    house.deployment("blog")
    number = house.user("john", grants={"blog": Level.READ})
    maker = house.key(house.session(number), role="operator", deployments=["blog"])
    child = house.key(maker)
    house.admin.put(f"/api/users/{number}", json={"role": "admin"})
    for client in (maker, child):
        assert client.get("/api/users").status_code == 403
        assert client.post("/api/deployments", json={"name": "new", "compose": COMPOSE}).status_code == 403


def test_a_key_made_by_a_key_exceeds_it_in_nothing(house: Any) -> None:
    house.deployment("blog")
    house.deployment("shop")
    limits = {"role": "viewer", "permissions": ["apikeys:write", "deployments:read"], "deployments": ["blog"]}
    text = house.key_text(house.person("boss", "admin"), **limits)
    other = house.user("other", "viewer")
    for maker in (ApiClient(house.app, text), house.session_of_key(text)):
        denied(make(maker, role="operator"), "ROLE_TOO_HIGH")
        denied(make(maker, permissions=["users:read"]))
        denied(make(maker, deployments=["shop"]), "DEPLOYMENT_FORBIDDEN")
        denied(make(maker, deployments=["blog", "nowhere"]), "DEPLOYMENT_FORBIDDEN")
        denied(make(maker, user_id=other))


def test_a_lower_role_narrows_an_inherited_list(house: Any) -> None:
    boss = house.person("boss", "admin")
    listed = ["apikeys:write", "deployments:read", "deployments:write"]
    maker = house.key(boss, permissions=listed)
    assert permissions_of(house.key(maker, role="viewer")) == {"deployments:read"}
    assert permissions_of(house.key(maker, role="admin")) == set(listed)
    only = house.key(boss, permissions=["apikeys:write"])
    nothing = make(only, role="viewer")
    denied(nothing)
    assert nothing.get_json()["error"] == "Nothing that you may do belongs to the role viewer"


def test_a_list_goes_before_the_role_and_is_still_no_more_than_the_maker_has(house: Any) -> None:
    maker = house.key(house.person("boss", "admin"), role="operator")
    denied(make(maker, permissions=["users:write"]))
    assert permissions_of(house.key(maker, permissions=["deployments:read"])) == {"deployments:read"}


def test_a_key_made_by_a_key_does_not_outlive_it(house: Any) -> None:
    text = house.key_text(house.person("boss", "admin"), expires_in=3600)
    maker_ends = house.key_rows()[0].expires_at
    for maker in (ApiClient(house.app, text), house.session_of_key(text)):
        denied(make(maker, expires_in=3700))
        assert make(maker).status_code == 201
        assert house.key_rows()[0].expires_at == maker_ends
        assert make(maker, expires_in=60).status_code == 201
        assert house.key_rows()[0].expires_at < maker_ends


def test_a_key_that_never_ends_makes_what_ends_when_asked(house: Any) -> None:
    maker = house.key(house.person("john"))
    make(maker, expires_in=60)
    assert isinstance(house.key_rows()[0].expires_at, datetime)
    make(maker)
    assert house.key_rows()[0].expires_at is None


# --- by those of other providers ---------------------------------------------------------------


@pytest.fixture
def guests(house: Any, flatrun_login: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that makes clients of another provider, in a panel with an administrator."""
    house.user("boss", "admin")
    house.deployment("blog")
    house.deployment("shop")

    def guest(permissions: Any, grants: Any = None, **more: Any) -> Any:
        return flatrun_login(house.app, permissions, grants, **more)

    return guest


def test_a_key_of_the_administrator_is_held_to_the_guest_who_made_it(house: Any, guests: Any) -> None:
    guest = guests(["apikeys:write", "deployments:read"], {"blog": Level.ADMIN})
    key = house.key(guest)
    row = house.key_rows()[0]
    assert (row.role, row.permissions, row.deployments) == (
        "operator",
        ["apikeys:write", "deployments:read"],
        ["blog"],
    )
    assert [one["name"] for one in key.get("/api/deployments").get_json()] == ["blog"]
    assert key.get("/api/users").status_code == 403
    denied(make(guest, permissions=["deployments:write"]))
    denied(make(guest, deployments=["shop"]), "DEPLOYMENT_FORBIDDEN")
    denied(make(guest, role="admin"), "ROLE_TOO_HIGH")


def test_a_guests_level_below_admin_cannot_be_kept_and_is_refused(house: Any, guests: Any) -> None:
    """The owner, an administrator, has the level admin on all that the key names."""
    guest = guests(["apikeys:write"], {"blog": Level.READ, "shop": Level.ADMIN})
    denied(make(guest))
    denied(make(guest, deployments=["blog"]))
    assert make(guest, deployments=["shop"]).status_code == 201


@pytest.mark.parametrize(
    "guest",
    [
        {"permissions": ["apikeys:write"]},
        {"permissions": ["apikeys:write"], "role": "", "unscoped": True},
        {"permissions": ["apikeys:write"], "role": "stranger", "unscoped": True},
    ],
)
def test_what_no_key_can_say_is_refused(guests: Any, guest: Any) -> None:
    denied(make(guests(**guest)))


def test_a_guest_sees_no_keys_not_even_those_he_made(house: Any, guests: Any) -> None:
    guest = guests(["apikeys:write", "apikeys:read", "apikeys:delete"], unscoped=True)
    assert make(guest).status_code == 201
    assert guest.get("/api/apikeys").get_json() == {"api_keys": []}
    number = house.key_rows()[0].id
    assert guest.get(f"/api/apikeys/{number}").status_code == 404
    assert guest.delete(f"/api/apikeys/{number}").status_code == 404
