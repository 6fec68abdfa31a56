"""Roles that need a second factor: what a session may do before there is one."""

from collections.abc import Callable
from typing import Any

import pytest

from flatrun_core.testing.client import ADMIN_KEY, ApiClient
from flatrun_users.totp import TOTP

ME = "/api/users/me/totp"


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json().get("code", "OK")


class TestRequiredRoles:
    @pytest.fixture
    def strict(self, make_house: Any) -> Any:
        house = make_house(deployments=False, **{"users.totp_required_roles": ["operator"]})
        house.user("anna", "operator")
        house.user("vera", "viewer")
        return house

    @pytest.fixture
    def strict_door(self, strict: Any, door_of: Any) -> Any:
        return door_of(strict.app)

    def test_who_has_none_may_only_set_it_up_log_out_and_look_at_themselves(
        self, strict: Any, strict_door: Any
    ) -> None:
        client = strict_door.client()
        for method, path in (
            ("GET", "/api/settings"),
            ("GET", "/api/permissions"),
            ("GET", "/api/apikeys"),
            ("POST", "/api/apikeys"),
            ("PUT", "/api/users/me"),
            ("PUT", "/api/users/me/password"),
        ):
            answer = client.open(method, path, json={})
            assert code_of(answer) == (403, "TOTP_ENROLMENT_REQUIRED"), (method, path)
        for path in ("/api/users/me", "/api/auth/sessions", "/api/auth/status", "/api/auth/validate"):
            assert client.get(path).status_code == 200, path
        assert client.open("HEAD", "/api/users/me").status_code == 200
        assert client.delete("/api/auth/sessions/999999").status_code == 404
        assert client.post(ME).status_code == 200
        assert client.post("/api/auth/logout").status_code == 200

    def test_administrators_are_kept_from_accounts_too(self, make_house: Any) -> None:
        house = make_house(deployments=False, **{"users.totp_required_roles": ["admin"]})
        root = house.person("root", "admin")
        for method, path in (("GET", "/api/users"), ("GET", "/api/users/1"), ("DELETE", "/api/users/1")):
            assert code_of(root.open(method, path)) == (403, "TOTP_ENROLMENT_REQUIRED"), path
        assert root.get("/api/users/me").status_code == 200

    def test_the_login_answers_as_always(self, strict_door: Any) -> None:
        answer = strict_door().get_json()
        assert answer["permissions"]
        assert answer["user"]["role"] == "operator"

    def test_once_it_is_set_up_the_session_may_everything_again(
        self, strict_door: Any, enrol: Callable[..., Any]
    ) -> None:
        client = strict_door.client()
        enrol(client)
        assert client.get("/api/settings").status_code == 200

    def test_a_session_of_before_is_nobodys_once_somebody_else_set_it_up(
        self, strict: Any, strict_door: Any, enrol: Callable[..., Any]
    ) -> None:
        stolen, mine = strict_door.client(), strict_door.client()
        assert stolen.post(ME).status_code == 200
        authenticator, _ = enrol(mine)
        for method, path in (("GET", "/api/settings"), ("POST", "/api/apikeys"), ("POST", f"{ME}/confirm")):
            assert code_of(stolen.open(method, path, json={"name": "mine"})) == (401, "INVALID_TOKEN"), path
        assert mine.get("/api/settings").status_code == 200
        assert strict.key_rows() == []
        assert strict_door.outcomes() == "TOTP_REQUIRED"
        again = strict_door.client(totp_code=authenticator.code())
        assert again.get("/api/settings").status_code == 200

    def test_after_a_reset_no_session_is_good_again_before_it_set_one_up_itself(
        self, strict: Any, strict_door: Any, enrol: Callable[..., Any]
    ) -> None:
        client = strict_door.client()
        enrol(client)
        strict.admin.put("/api/users/1", json={"totp": False})
        other = strict_door.client()
        for one in (client, other):
            assert code_of(one.get("/api/settings")) == (403, "TOTP_ENROLMENT_REQUIRED")
        enrol(other)
        assert client.get("/api/users/me").status_code == 401
        assert other.get("/api/settings").status_code == 200

    def test_it_cannot_be_disabled(self, strict_door: Any, enrol: Callable[..., Any]) -> None:
        client = strict_door.client()
        authenticator, _ = enrol(client)
        answer = client.delete(ME, json={"code": authenticator.code()})
        assert code_of(answer) == (409, "TOTP_REQUIRED_BY_ROLE")
        assert strict_door(totp_code=authenticator.code()).status_code == 200

    def test_other_roles_keys_and_keys_of_the_settings_are_not_asked(
        self, strict: Any, strict_door: Any, enrol: Callable[..., Any]
    ) -> None:
        client = strict_door.client()
        authenticator, _ = enrol(client)
        key = strict.key_text(client)
        assert strict_door.client("vera").get("/api/settings").status_code == 200
        with strict.panel.database.atomic():
            strict.service(TOTP).reset(strict_door(totp_code=authenticator.code()).get_json()["user"]["id"])
        assert client.get("/api/settings").status_code == 403
        assert ApiClient(strict.app, key).get("/api/settings").status_code == 200
        assert strict.session_of_key(key).get("/api/settings").status_code == 200
        assert strict.session_of_key(ADMIN_KEY).get("/api/settings").status_code == 200

    def test_a_role_that_nobody_knows_is_no_setting(self, make_house: Any) -> None:
        with pytest.raises(Exception, match=r"users\.totp_required_roles"):
            make_house(deployments=False, **{"users.totp_required_roles": ["boss"]})
