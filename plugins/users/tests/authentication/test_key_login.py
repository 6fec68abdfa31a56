"""Logins with an API key: a session that is as narrow as the key, and dies with it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flatrun_core import Level
from flatrun_core.ports.auth import PERMISSIONS
from flatrun_core.testing.client import ADMIN_KEY, ApiClient
from flatrun_users.models import ApiKey, User

PASSWORD = "correct horse battery"
WRONG = {"error": "Invalid username or password", "code": "INVALID_CREDENTIALS"}
WRONG_KEY = {"error": "Invalid API key", "code": "INVALID_CREDENTIALS"}


class TestKeys:
    def test_a_key_opens_a_session_of_its_owner_as_narrow_as_itself(
        self, house: Any, door: Any, anna: int
    ) -> None:
        owner = house.session(anna)
        key = house.key_text(owner, permissions=["apikeys:read"], expires_in=3600)
        answer = door.send({"api_key": key}).get_json()
        assert answer["user"]["username"] == "anna"
        assert answer["user"]["last_login_at"] is None
        assert answer["permissions"] == ["apikeys:read"]
        assert answer["deployments"] == []
        assert 3580 < answer["expires_in"] <= 3600
        client = ApiClient(house.app, answer["token"])
        assert client.get("/api/apikeys").status_code == 200
        assert client.post("/api/apikeys", json={"name": "more"}).status_code == 403
        assert client.get("/api/settings").status_code == 403

    def test_a_key_that_names_deployments_tells_them_with_the_owners_level(
        self, house: Any, door_of: Any
    ) -> None:
        bert = house.user("bert", grants={"shop": Level.WRITE, "blog": Level.READ})
        key = house.key_text(house.session(bert))
        with house.panel.database.atomic():
            ApiKey.update(deployments=["shop", "foreign"]).execute()
        assert door_of(house.app).send({"api_key": key}).get_json()["deployments"] == [
            {"deployment_name": "shop", "access_level": "write"}
        ]

    def test_its_use_is_remembered_with_the_address(
        self, house: Any, door: Any, anna: int, only_key: Callable[[], Any]
    ) -> None:
        key = house.key_text(house.session(anna))
        door.send({"api_key": key}, ip="192.0.2.9")
        row = only_key()
        assert datetime.now(UTC) - row.last_used_at < timedelta(seconds=20)
        assert row.last_used_ip == "192.0.2.9"

    def test_a_key_of_the_settings_opens_a_session_without_an_account(self, house: Any, door: Any) -> None:
        answer = door.send({"api_key": ADMIN_KEY}).get_json()
        assert answer["user"] is None
        assert answer["permissions"] == sorted(house.service(PERMISSIONS).known())
        assert ApiClient(house.app, answer["token"]).get("/api/users").status_code == 200

    def test_name_and_password_count_before_a_key(self, house: Any, door: Any, anna: int) -> None:
        key = house.key_text(house.session(anna))
        assert door("anna", "wrong", api_key=key).get_json() == WRONG
        answer = door("anna", api_key="nonsense")
        assert answer.get_json()["user"]["username"] == "anna"
        assert door.send({"username": "anna", "password": "", "api_key": key}).status_code == 200

    @pytest.mark.parametrize("how", ["unknown", "revoked", "expired", "inactive owner", "deleted owner"])
    def test_a_key_that_is_not_valid_gets_one_answer(
        self, house: Any, door: Any, anna: int, how: str
    ) -> None:
        key = house.key_text(house.session(anna))
        with house.panel.database.atomic():
            if how == "unknown":
                key = key[:-1] + ("A" if key[-1] != "A" else "B")
            elif how == "revoked":
                ApiKey.update(is_active=False).execute()
            elif how == "expired":
                ApiKey.update(expires_at=datetime.now(UTC)).execute()
            elif how == "inactive owner":
                User.update(is_active=False).execute()
            else:
                User.delete().execute()
        answer = door.send({"api_key": key})
        assert (answer.status_code, answer.get_json()) == (401, WRONG_KEY)

    @pytest.mark.parametrize("key", ["x", "flatrun_", "flatrun_short", "x" * 100_000, "ключ", "' OR 1=1"])
    def test_text_that_is_no_key_gets_that_answer_too(self, door: Any, key: str) -> None:
        answer = door.send({"api_key": key})
        assert (answer.status_code, answer.get_json()) == (401, WRONG_KEY)

    def test_a_key_revoked_between_look_and_use_lets_nobody_in(
        self, house: Any, door: Any, anna: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = house.key_text(house.session(anna))
        use = ApiKey.use

        def revoked_first(number: int, *rest: str) -> bool:
            ApiKey.update(is_active=False).where(ApiKey.id == number).execute()
            return use(number, *rest)

        before = house.live_sessions()
        monkeypatch.setattr(ApiKey, "use", revoked_first)
        assert door.send({"api_key": key}).get_json() == WRONG_KEY
        assert house.live_sessions() == before
