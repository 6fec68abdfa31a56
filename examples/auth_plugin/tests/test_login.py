"""Who gets in by the proxy's header, as whom, and who does not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from flatrun_core.errors import Unauthenticated
from flatrun_core.ports.auth import PERMISSIONS, Actor, Credentials, Identity
from flatrun_core.settings import SettingsError
from flatrun_core.testing.client import ADMIN_KEY
from flatrun_proxy_login import plugin
from flatrun_proxy_login.login import identify
from flatrun_proxy_login.settings import ProxyLoginSchema, ProxyLoginSettings

Make = Callable[..., Flask]
Ask = Callable[..., TestResponse]
KEY = {"Authorization": f"Bearer {ADMIN_KEY}"}


def identity(
    app: Flask, headers: dict[str, str], peer: str = "10.0.0.1", scheme: str = "none"
) -> Identity | None:
    panel = app.extensions["flatrun"]
    return identify(
        Credentials(scheme, "" if scheme == "none" else "token", headers, peer, peer),
        panel.settings.snapshot.of(ProxyLoginSettings),
        panel.services.get(PERMISSIONS),
    )


# --- through the proxy ---


@pytest.mark.parametrize("peer", ["10.0.0.1", "::ffff:10.0.0.1", "fd00::5"])
def test_whom_the_proxy_names_gets_in(behind_proxy: Make, ask: Ask, peer: str) -> None:
    app = behind_proxy("deployments")
    assert ask(app, "/api/deployments", user="ada", groups="makers", peer=peer).status_code == 200


def test_the_role_is_that_of_the_group_that_may_most(behind_proxy: Make) -> None:
    app = behind_proxy("deployments")
    of_role = app.extensions["flatrun"].services.get(PERMISSIONS).of_role
    found = identity(app, {"X-Remote-User": "ada", "X-Remote-Groups": "guests,choir,makers"})
    assert found is not None
    assert (found.actor, found.role) == (Actor("user", "proxy:ada", "ada"), "operator")
    assert found.permissions == of_role("operator") != of_role("viewer")
    assert {name: level.name for name, level in found.grants.items()} == {"blog": "WRITE", "shop": "READ"}
    assert (found.unscoped, found.may_create) == (False, False)


def test_an_admin_may_everything(behind_proxy: Make, ask: Ask) -> None:
    app = behind_proxy()
    found = identity(app, {"X-Remote-User": "root", "X-Remote-Groups": "admins"})
    assert found is not None
    assert (found.role, found.permissions, found.unscoped, found.may_create) == ("admin", None, True, True)
    assert ask(app, "/api/settings", user="root", groups="admins", method="PUT", json=[]).status_code == 400


def test_a_role_opens_what_it_holds_and_no_more(behind_proxy: Make, ask: Ask) -> None:
    app = behind_proxy("deployments")
    who = {"user": "ada", "groups": "makers"}
    assert ask(app, "/api/settings", **who).status_code == 200
    refused = ask(app, "/api/settings", method="PUT", json={}, **who)
    assert (refused.status_code, refused.get_json()["code"]) == (403, "PERMISSION_DENIED")
    assert ask(app, "/api/deployments/blog/start", method="POST", **who).status_code == 404
    foreign = ask(app, "/api/deployments/shop/start", method="POST", **who)
    assert (foreign.status_code, foreign.get_json()["code"]) == (403, "DEPLOYMENT_FORBIDDEN")


def test_without_grants_no_deployment_is_theirs(behind_proxy: Make, ask: Ask) -> None:
    app = behind_proxy("deployments", grants={})
    assert ask(app, "/api/deployments/blog", user="ada", groups="makers").status_code == 403
    assert ask(app, "/api/deployments", user="ada", groups="makers").get_json() == []


@pytest.mark.parametrize("groups", [None, "", "choir"])
def test_who_is_in_no_known_group_gets_in_by_a_default_role_only(
    behind_proxy: Make, ask: Ask, groups: str | None
) -> None:
    refused = ask(behind_proxy(), "/api/settings", user="ada", groups=groups)
    assert (refused.status_code, refused.get_json()["code"]) == (401, "NO_ROLE")
    app = behind_proxy(default_role="viewer")
    assert ask(app, "/api/settings", user="ada", groups=groups).status_code == 200
    assert ask(app, "/api/settings", user="ada", groups=groups, method="PUT", json={}).status_code == 403


def test_the_headers_are_named_by_the_settings_in_any_case(behind_proxy: Make, ask: Ask) -> None:
    app = behind_proxy(header="remote-user", groups_header="REMOTE-GROUPS")
    named = {"Remote-User": "ada", "Remote-Groups": "makers"}
    assert ask(app, "/api/settings", headers=named).status_code == 200
    assert ask(app, "/api/settings", user="ada", groups="makers").status_code == 401


# --- past the proxy ---


@pytest.mark.parametrize("peer", ["203.0.113.9", "10.0.0.2", "127.0.0.1", "::1", "localhost", ""])
def test_the_header_of_any_other_peer_is_refused_and_says_why(
    behind_proxy: Make, ask: Ask, peer: str
) -> None:
    answer = ask(behind_proxy(), "/api/settings", user="root", groups="admins", peer=peer)
    assert answer.status_code == 401
    assert answer.get_json() == {
        "error": "X-Remote-User is believed from the configured proxy only",
        "code": "UNTRUSTED_PROXY",
    }


@pytest.mark.parametrize("peer", ["10.0.0.1", "127.0.0.1", "::1"])
def test_without_configured_proxies_nobody_is_believed(behind_proxy: Make, ask: Ask, peer: str) -> None:
    app = behind_proxy(trusted_proxies=[])
    answer = ask(app, "/api/settings", user="root", groups="admins", peer=peer)
    assert (answer.status_code, answer.get_json()["code"]) == (401, "UNTRUSTED_PROXY")


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Real-IP", "Forwarded"])
def test_a_forwarded_address_makes_no_proxy_even_where_the_panel_believes_it(
    flatrun_app: Make, ask: Ask, name: str
) -> None:
    app = flatrun_app(
        plugins=[plugin],
        settings={
            "api.trusted_proxies": ["203.0.113.9"],
            "proxy_login.trusted_proxies": ["10.0.0.1"],
            "proxy_login.default_role": "admin",
        },
    )
    forwarded = {name: "for=10.0.0.1" if name == "Forwarded" else "10.0.0.1"}
    answer = ask(app, "/api/settings", user="root", peer="203.0.113.9", headers=forwarded)
    assert (answer.status_code, answer.get_json()["code"]) == (401, "UNTRUSTED_PROXY")


def test_the_proxies_whose_addresses_the_panel_believes_are_no_login(flatrun_app: Make, ask: Ask) -> None:
    settings = {"api.trusted_proxies": ["10.0.0.1"], "proxy_login.default_role": "admin"}
    app = flatrun_app(plugins=[plugin], settings=settings)
    assert ask(app, "/api/settings", user="root", peer="10.0.0.1").status_code == 401


# --- beside other credentials ---


@pytest.mark.parametrize("peer", ["10.0.0.1", "203.0.113.9"])
def test_a_credential_of_its_own_counts_and_the_header_does_not(
    behind_proxy: Make, ask: Ask, peer: str
) -> None:
    app = behind_proxy()
    assert ask(app, "/api/settings", user="ada", groups="guests", peer=peer, headers=KEY).status_code == 200
    assert (
        ask(
            app, "/api/settings", user="ada", groups="guests", peer=peer, headers=KEY, method="PUT", json=[]
        ).status_code
        == 400
    )
    wrong = {"Authorization": "Bearer wrong"}
    answer = ask(app, "/api/settings", user="root", groups="admins", peer=peer, headers=wrong)
    assert (answer.status_code, answer.get_json()["code"]) == (401, "INVALID_TOKEN")


def test_without_any_credential_the_panel_asks_for_one(behind_proxy: Make, ask: Ask) -> None:
    for sent in ({}, {"user": ""}, {"groups": "admins"}):
        answer = ask(behind_proxy(), "/api/settings", **sent)
        assert (answer.status_code, answer.get_json()["code"]) == (401, "AUTH_REQUIRED")


# --- what is no name ---


@pytest.mark.parametrize(
    "user",
    [
        "root, ada",
        "ada,root",
        "ada,",
        ",ada",
        "ada root",
        " ada",
        "ada\troot",
        "ada\x00root",
        "ada;root",
        "ada/../root",
        "-ada",
        ".ada",
        "'ada'",
        "ada\x7f",
        "\xc3\xa9ve",
        "a" * 129,
        "{{7*7}}",
    ],
    ids=ascii,
)
def test_what_is_no_single_name_is_refused(behind_proxy: Make, user: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        identity(behind_proxy(default_role="admin"), {"X-Remote-User": user})
    assert caught.value.code == "INVALID_PROXY_USER"
    assert user not in str(caught.value)


@pytest.mark.parametrize(
    "groups", ["choir, admins", "choir,,admins", ",admins", "admins,", "a\x00b", " admins"]
)
def test_a_list_as_two_headers_make_it_is_refused(behind_proxy: Make, groups: str) -> None:
    with pytest.raises(Unauthenticated, match="single commas"):
        identity(behind_proxy(), {"X-Remote-User": "ada", "X-Remote-Groups": groups})


@pytest.mark.parametrize("groups", ["ADMINS", "Admins", "admins:x", "/admins", "admin"])
def test_a_group_is_compared_exactly(behind_proxy: Make, groups: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        identity(behind_proxy(), {"X-Remote-User": "ada", "X-Remote-Groups": groups})
    assert caught.value.code == "NO_ROLE"


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 200), ("none", 200), ("cross-site", 401), ("same-site", 401)]
)
def test_the_pages_of_other_sites_cannot_use_the_login(
    behind_proxy: Make, ask: Ask, site: str, status: int
) -> None:
    answer = ask(
        behind_proxy(), "/api/settings", user="ada", groups="makers", headers={"Sec-Fetch-Site": site}
    )
    assert answer.status_code == status


# --- settings ---


@pytest.mark.parametrize(
    "wrong",
    [
        {"header": "X_Remote_User"},
        {"header": "Authorization"},
        {"header": "x-forwarded-for"},
        {"header": ""},
        {"header": "X-User\n"},
        {"groups_header": "x-remote-user"},
        {"trusted_proxies": ["0.0.0.0/0"]},
        {"trusted_proxies": ["::/0"]},
        {"trusted_proxies": ["proxy.example.com"]},
        {"roles": {"admins": "root"}},
        {"default_role": "root"},
        {"grants": {"makers": {"blog": "owner"}}},
        {"night_from": "22:00"},
        {"night_from": "24:00", "night_until": "06:00"},
        {"night_from": "22:00\n", "night_until": "06:00"},
        {"night_time_zone": "Mars/Olympus"},
        {"night_time_zone": "/etc/passwd"},
        {"night_time_zone": "Europe"},
    ],
    ids=repr,
)
def test_settings_that_make_no_sense_are_refused(behind_proxy: Make, wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=rf"proxy_login\.({'|'.join(wrong)}|night_until)"):
        behind_proxy(**wrong)


def test_nobody_is_believed_and_nothing_is_night_by_default() -> None:
    settings = ProxyLoginSchema().load({})
    assert (settings.trusted_proxies, settings.default_role, settings.night_from) == ((), "", "")


def test_whom_to_believe_is_no_matter_of_the_api(flatrun_app: Make, ask: Ask, tmp_path: Path) -> None:
    config = tmp_path / "flatrun.yml"
    text = f"deployments_path: {tmp_path}\nauth: {{api_keys: [{ADMIN_KEY}]}}\n"
    config.write_text(text)
    app = flatrun_app(plugins=[plugin], config=config)
    assert "proxy_login" not in ask(app, "/api/settings", headers=KEY).get_json()["settings"]
    change = {"proxy_login": {"trusted_proxies": ["203.0.113.9"]}}
    ask(app, "/api/settings", headers=KEY, method="PUT", json=change)
    assert config.read_text() == text
    assert ask(app, "/api/settings", user="root", peer="203.0.113.9").get_json()["code"] == "UNTRUSTED_PROXY"
