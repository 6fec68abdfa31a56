"""Permissions and what routes require: collected from plugins, held by roles, and published."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from flask import Flask
from flask.views import MethodView

from flatrun_core import (
    HOOK_API,
    Blueprint,
    Forbidden,
    Level,
    PluginInfo,
    access,
    authenticated,
    hookimpl,
    internal,
    public,
)
from flatrun_core.api.access_table import document_path
from flatrun_core.assembly import known_permissions
from flatrun_core.catalogue import Catalogue
from flatrun_core.errors import StartupError
from flatrun_core.hooks import PluginFailure
from flatrun_core.plugins import discover
from flatrun_core.ports.auth import PERMISSIONS, SYSTEM, Actor, Identity, KnownPermission, Permission

INSTALLED = sorted(record.slug for record in discover())


class Shop:
    """A plugin with a route of every kind of access."""

    def __init__(self, slug: str = "shop", permissions: Sequence[Permission] = (), **info: Any) -> None:
        self.PLUGIN = PluginInfo(slug=slug, hook_api=HOOK_API, display_name=slug, **info)
        self.permissions = permissions

    @hookimpl
    def flatrun_register_permissions(self) -> Sequence[Permission]:
        return self.permissions

    @hookimpl
    def flatrun_register_blueprints(self) -> Sequence[Any]:
        return [self.blueprint()] if self.PLUGIN.slug == "shop" else []

    def blueprint(self) -> Blueprint:
        blp = Blueprint("shop", "shop", url_prefix="/api/shop", description="s")

        @blp.route("/<name>/<int:number>")
        class One(MethodView):
            @access("shop:read", "shop:write", level=Level.WRITE)
            @blp.response(200)
            def get(self, name: str, number: int) -> dict[str, str]:
                """One."""
                return {}

            @access("shop:write", "shop:read", any_of=True, action="shop.delete")
            @blp.response(200)
            def delete(self, name: str, number: int) -> dict[str, str]:
                """Delete."""
                return {}

        @blp.route("/mine")
        class Mine(MethodView):
            @authenticated()
            @blp.response(200)
            def get(self) -> dict[str, str]:
                """Mine."""
                return {}

        @blp.route("/open")
        class Open(MethodView):
            @public(action="shop.open")
            @blp.response(200)
            def post(self) -> dict[str, str]:
                """Open."""
                return {}

        @blp.route("/inside")
        class Inside(MethodView):
            @internal
            @blp.response(200)
            def get(self) -> dict[str, str]:
                """Inside."""
                return {}

        return blp


SHOP = [
    Permission("shop:write", "Sell", ("operator",)),
    Permission("shop:read", "Look", ("operator", "viewer")),
]


@pytest.fixture
def app(flatrun_app: Callable[..., Flask]) -> Flask:
    return flatrun_app(plugins=[Shop(permissions=SHOP)])


@pytest.fixture
def answer(app: Flask, flatrun_login: Any) -> dict[str, Any]:
    response = flatrun_login(app, []).get("/api/permissions")
    assert response.status_code == 200
    found: dict[str, Any] = response.get_json()
    return found


# --- GET /api/permissions ---


def test_any_identity_may_read_them_and_nobody_else(app: Flask, flatrun_login: Any) -> None:
    assert app.test_client().get("/api/permissions").status_code == 401
    assert flatrun_login(app, [], role="viewer").get("/api/permissions").status_code == 200


def test_a_permission_is_published_with_its_roles_and_plugin(answer: dict[str, Any]) -> None:
    assert set(answer) == {"permissions", "routes"}
    mine = [one for one in answer["permissions"] if one["plugin"] == "shop"]
    assert mine == [
        {
            "name": "shop:read",
            "description": "Look",
            "roles": ["admin", "operator", "viewer"],
            "plugin": "shop",
        },
        {"name": "shop:write", "description": "Sell", "roles": ["admin", "operator"], "plugin": "shop"},
    ]
    names = [one["name"] for one in answer["permissions"]]
    assert names == sorted(names)
    assert {"settings:read", "settings:write", "templates:read"} <= set(names)


def test_a_route_is_published_with_what_it_requires(answer: dict[str, Any]) -> None:
    path = "/api/shop/{name}/{number}"
    common = {"plugin": "shop", "level": None, "permissions": [], "any_of": False}
    assert [route for route in answer["routes"] if route["plugin"] == "shop"] == [
        {
            **common,
            "method": "DELETE",
            "path": path,
            "access": "permission",
            "permissions": ["shop:write", "shop:read"],
            "any_of": True,
        },
        {
            **common,
            "method": "GET",
            "path": path,
            "access": "permission",
            "permissions": ["shop:read", "shop:write"],
            "level": "write",
        },
        {**common, "method": "GET", "path": "/api/shop/mine", "access": "authenticated"},
        {**common, "method": "POST", "path": "/api/shop/open", "access": "public"},
    ]


def test_internal_routes_are_not_published(app: Flask, answer: dict[str, Any]) -> None:
    assert ("/api/shop/inside", "get") in app.extensions["flatrun"].accesses
    assert "/api/shop/inside" not in {route["path"] for route in answer["routes"]}


@pytest.mark.parametrize("plugins", [[], INSTALLED], ids=["core", "all"])
def test_the_routes_are_those_of_the_api_document(
    plugins: list[str], flatrun_app: Callable[..., Flask], flatrun_client: Any
) -> None:
    app = flatrun_app(plugins=plugins)
    published = flatrun_client(app).get("/api/permissions").get_json()["routes"]
    document = app.test_client().get("/api/openapi.json").get_json()
    operations = {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }
    assert sorted((route["method"], route["path"]) for route in published) == sorted(operations)
    for route in published:
        operation = operations[route["method"], route["path"]]
        assert operation["x-plugin"] == route["plugin"]
        assert operation.get("x-permissions", []) == route["permissions"]
        assert operation.get("x-permissions-any", False) == route["any_of"]
        assert operation.get("x-level") == route["level"]
        assert (operation["security"] == []) == (route["access"] == "public")


@pytest.mark.parametrize("plugins", [[], INSTALLED], ids=["core", "all"])
def test_every_permission_that_a_route_asks_for_is_published(
    plugins: list[str], flatrun_app: Callable[..., Flask], flatrun_client: Any
) -> None:
    answer = flatrun_client(flatrun_app(plugins=plugins)).get("/api/permissions").get_json()
    known = {one["name"]: one for one in answer["permissions"]}
    asked = {name for route in answer["routes"] for name in route["permissions"]}
    assert asked <= set(known)
    for one in known.values():
        assert re.fullmatch(r"[a-z][a-z0-9_]*:[a-z]+", one["name"])
        assert one["description"]
        assert one["roles"][0] == "admin"


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("/api/deployments/<name>/start", "/api/deployments/{name}/start"),
        ("/api/users/<int:user_id>", "/api/users/{user_id}"),
        ("/api/files/<path:where>", "/api/files/{where}"),
        ("/api/health", "/api/health"),
    ],
)
def test_a_rule_is_written_as_the_document_writes_it(rule: str, path: str) -> None:
    assert document_path(rule) == path


# --- whose a permission is ---


def known(*plugins: Shop, flatrun_app: Callable[..., Flask]) -> dict[str, KnownPermission]:
    services = flatrun_app(plugins=plugins).extensions["flatrun"].services
    return dict(services.get(PERMISSIONS).known())


def test_a_permission_belongs_to_the_plugin_it_is_named_after(flatrun_app: Callable[..., Flask]) -> None:
    keeper = Shop("alpha", [Permission("shop:write", "Sell, as alpha says", ("operator",))])
    keeper.PLUGIN = PluginInfo(slug="alpha", hook_api=HOOK_API, permissions=("shop",))
    late = Shop("zeta", [Permission("shop:write", "Sell, as zeta says", ("admin", "operator"))])
    late.PLUGIN = PluginInfo(slug="zeta", hook_api=HOOK_API, permissions=("shop",))
    found = known(keeper, Shop(permissions=SHOP), late, flatrun_app=flatrun_app)["shop:write"]
    assert found == KnownPermission("shop:write", "Sell", ("admin", "operator"), "shop")


def test_without_its_namesake_it_belongs_to_the_first_that_names_it(
    flatrun_app: Callable[..., Flask],
) -> None:
    plugins = []
    for slug in ("alpha", "zeta"):
        plugin = Shop(slug, [Permission("shop:write", f"Sell, as {slug} says", ("operator",))])
        plugin.PLUGIN = PluginInfo(slug=slug, hook_api=HOOK_API, permissions=("shop",))
        plugins.append(plugin)
    assert known(*plugins, flatrun_app=flatrun_app)["shop:write"].plugin == "alpha"


def test_what_the_core_asks_for_is_the_core_s_unless_a_plugin_is_named_after_it(
    flatrun_app: Callable[..., Flask],
) -> None:
    everyone = ("operator", "viewer")
    keeper, templates = (
        Shop(slug, [Permission("settings:read", "S", everyone), Permission("templates:read", "T", everyone)])
        for slug in ("alpha", "templates")
    )
    for plugin in (keeper, templates):
        slug = plugin.PLUGIN.slug
        plugin.PLUGIN = PluginInfo(slug=slug, hook_api=HOOK_API, permissions=("settings", "templates"))
    found = known(keeper, templates, flatrun_app=flatrun_app)
    assert (found["settings:read"].plugin, found["templates:read"].plugin) == ("core", "templates")
    assert known(keeper, flatrun_app=flatrun_app)["templates:read"].plugin == "core"


def test_the_same_permission_with_other_roles_is_refused_and_both_are_named(
    flatrun_app: Callable[..., Flask],
) -> None:
    other = Shop("zeta", [Permission("shop:write", "Sell", ("operator", "viewer"))])
    other.PLUGIN = PluginInfo(slug="zeta", hook_api=HOOK_API, permissions=("shop",))
    with pytest.raises(StartupError, match=r"'zeta' is failed: permission 'shop:write' differs.*'shop'"):
        known(Shop(permissions=SHOP), other, flatrun_app=flatrun_app)


def test_roles_are_compared_without_their_order_and_admin_is_always_one() -> None:
    results = [
        ("core", Permission("a:read", "A", ("viewer", "operator"))),
        ("core", Permission("a:read", "A", ("operator", "admin", "viewer"))),
    ]
    assert [one.roles for one in known_permissions(results, [])] == [("admin", "viewer", "operator")]
    with pytest.raises(PluginFailure, match="differs"):
        known_permissions([*results, ("core", Permission("a:read", "A"))], [])


# --- the catalogue ---


def test_a_role_holds_what_names_it_and_an_unknown_one_nothing(app: Flask) -> None:
    catalogue = app.extensions["flatrun"].services.get(PERMISSIONS)
    assert {"shop:read", "settings:read"} <= catalogue.of_role("viewer")
    assert "shop:write" not in catalogue.of_role("viewer")
    assert "shop:write" in catalogue.of_role("operator")
    assert catalogue.of_role("admin") == set(catalogue.known())
    for role in ("", "root", "ADMIN", "viewer "):
        assert catalogue.of_role(role) == frozenset()


def test_an_empty_catalogue_knows_nothing() -> None:
    catalogue = Catalogue()
    assert (dict(catalogue.known()), catalogue.of_role("admin")) == ({}, frozenset())


def test_permissions_of_a_plugin_that_fails_are_not_known(flatrun_app: Callable[..., Flask]) -> None:
    bad = Shop("bad", [Permission("shop:write", "Foreign", ())])
    with pytest.raises(StartupError, match="another plugin's prefix"):
        known(bad, flatrun_app=flatrun_app)


# --- identities ---

ACTOR = Actor("user", "1", "ada")


def test_what_belongs_to_no_deployment_is_for_unscoped_admins_only() -> None:
    assert SYSTEM.can(Level.ADMIN, None)
    assert Identity(ACTOR, role="admin", permissions=None, unscoped=True).can(Level.READ, None)
    refused = [
        Identity(ACTOR, role="operator", permissions=None, unscoped=True),
        Identity(ACTOR, role="", permissions=None, unscoped=True),
        Identity(ACTOR, role="admin", permissions=None, grants={"blog": Level.ADMIN}),
        Identity(ACTOR),
    ]
    for identity in refused:
        assert not any(identity.can(level, None) for level in Level)
        with pytest.raises(Forbidden) as caught:
            identity.need(Level.READ, None)
        assert caught.value.code == "DEPLOYMENT_FORBIDDEN"


@pytest.mark.parametrize("held", list(Level))
def test_a_level_includes_the_lower_ones_on_its_own_deployment_only(held: Level) -> None:
    identity = Identity(ACTOR, grants={"blog": held})
    assert [identity.can(wanted, "blog") for wanted in Level] == [wanted <= held for wanted in Level]
    for name in ("shop", "", "Blog", "blog "):
        assert not any(identity.can(wanted, name) for wanted in Level)


def test_an_identity_that_says_nothing_may_do_nothing() -> None:
    identity = Identity(ACTOR)
    assert not identity.has("deployments:read")
    assert identity.level("blog") is None
    with pytest.raises(Forbidden, match="Permission denied: deployments:read required"):
        identity.need_permission("deployments:read")
    assert Identity(ACTOR, permissions=None).has("anything:at-all")
