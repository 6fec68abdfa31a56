"""Tokens and keys in headers: what is accepted, what is refused, what is somebody else's."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import peewee
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flatrun_core import HOOK_API, PluginInfo, Unauthenticated, hookimpl
from flatrun_core.db import now
from flatrun_core.ports.auth import Actor, Credentials, Identity
from flatrun_core.ports.secrets import SIGNING
from flatrun_core.testing.client import ADMIN_KEY, ApiClient
from flatrun_users import authentication
from flatrun_users.authentication import AUTHENTICATION
from flatrun_users.caller import caller_of
from flatrun_users.models import ApiKey, LoginSession, User
from flatrun_users.sessions import PURPOSE

BAD_TOKEN = {"error": "Invalid or expired token", "code": "INVALID_TOKEN"}
BAD_KEY = {"error": "Invalid API key", "code": "INVALID_TOKEN"}
READ = "/api/auth/sessions"


class Asking:
    """Requests with one credential or another."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, **headers: str) -> tuple[int, Any]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.app.test_client().get(READ, headers=sent)
        body = answer.get_json()
        return answer.status_code, body if answer.status_code != 200 else None


@pytest.fixture
def ask(house: Any) -> Asking:
    return Asking(house.app)


@pytest.fixture
def token(door: Any) -> str:
    found: str = door().get_json()["token"]
    return found


@pytest.fixture
def key(house: Any, anna: int) -> str:
    found: str = house.key_text(house.session(anna))
    return found


def set_all(house: Any, model: Any, **columns: Any) -> None:
    with house.panel.database.atomic():
        model.update(**columns).execute()


class TestWhereTheyStand:
    def test_a_token_is_a_bearer(self, ask: Asking, token: str) -> None:
        assert ask(Authorization=f"Bearer {token}") == (200, None)
        assert ask(Authorization=f"bearer   {token} ") == (200, None)

    def test_a_key_stands_in_any_of_three_places(self, ask: Asking, key: str) -> None:
        assert ask(Authorization=f"Bearer {key}") == (200, None)
        assert ask(Authorization=f"ApiKey {key}") == (200, None)
        assert ask(X_API_Key=key) == (200, None)

    def test_a_token_is_no_key(self, ask: Asking, token: str) -> None:
        assert ask(X_API_Key=token) == (401, BAD_KEY)
        assert ask(Authorization=f"ApiKey {token}") == (401, BAD_KEY)

    def test_the_authorization_header_counts_before_the_other(
        self, ask: Asking, token: str, key: str
    ) -> None:
        assert ask(Authorization=f"Bearer {token[:-1]}", X_API_Key=key) == (401, BAD_TOKEN)

    def test_nowhere_else(self, house: Any, token: str) -> None:
        client = house.app.test_client()
        client.set_cookie("token", token)
        assert client.get(f"{READ}?token={token}&access_token={token}").status_code == 401


class TestTokens:
    @pytest.mark.parametrize("place", range(0, 97, 7))
    def test_one_changed_character_makes_it_nobodys(self, ask: Asking, token: str, place: int) -> None:
        other = "B" if token[place] != "B" else "C"
        assert ask(Authorization=f"Bearer {token[:place]}{other}{token[place + 1 :]}")[0] == 401

    def test_one_that_was_signed_for_something_else_is_not_accepted(self, house: Any, ask: Asking) -> None:
        with house.panel.database.session():
            house.session(house.user("bert"))
            name = LoginSession.get().token_id
        signing = house.service(SIGNING)
        assert ask(Authorization=f"Bearer {signing.sign(PURPOSE, name)}") == (200, None)
        for purpose in ("users", "users.totp", "", "users.session.x"):
            assert ask(Authorization=f"Bearer {signing.sign(purpose, name)}") == (401, BAD_TOKEN)

    @pytest.mark.parametrize("value", ["a" * 32, "", 1, None, ["a" * 32], {"id": 1}, "%" * 32])
    def test_one_that_names_no_session_is_not_accepted(self, house: Any, ask: Asking, value: Any) -> None:
        signed = house.service(SIGNING).sign(PURPOSE, value)
        assert ask(Authorization=f"Bearer {signed}") == (401, BAD_TOKEN)

    def test_one_of_another_panel_is_not_accepted(self, ask: Asking, token: str, house: Any) -> None:
        payload, stamp, signature = token.split(".")
        foreign = f"{payload}.{stamp}.{signature[::-1]}"
        assert ask(Authorization=f"Bearer {foreign}") == (401, BAD_TOKEN)

    def test_it_ends_with_its_session(self, house: Any, ask: Asking, token: str) -> None:
        set_all(house, LoginSession, revoked_at=now())
        assert ask(Authorization=f"Bearer {token}") == (401, BAD_TOKEN)

    def test_it_ends_with_its_time(self, ask: Asking, token: str, later: Callable[[timedelta], None]) -> None:
        later(timedelta(hours=23, minutes=59))
        assert ask(Authorization=f"Bearer {token}") == (200, None)
        later(timedelta(minutes=1))
        assert ask(Authorization=f"Bearer {token}") == (401, BAD_TOKEN)

    def test_it_ends_with_its_account(self, house: Any, ask: Asking, token: str) -> None:
        set_all(house, User, is_active=False)
        assert ask(Authorization=f"Bearer {token}") == (401, BAD_TOKEN)
        set_all(house, User, is_active=True)
        assert ask(Authorization=f"Bearer {token}") == (200, None)
        with house.panel.database.atomic():
            User.delete().execute()
        assert ask(Authorization=f"Bearer {token}") == (401, BAD_TOKEN)

    def test_what_it_may_do_is_asked_anew_each_time(self, house: Any, door: Any) -> None:
        client = door.client()
        assert client.get("/api/users").status_code == 403
        set_all(house, User, role="admin")
        assert client.get("/api/users").status_code == 200
        set_all(house, User, role="viewer", permissions=["users:read"])
        assert client.get("/api/users").status_code == 200
        set_all(house, User, permissions=[])
        assert client.get("/api/users").status_code == 403


class TestKeys:
    @pytest.mark.parametrize(
        "change", [{"is_active": False}, {"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}]
    )
    def test_revoked_and_expired_ones_are_refused_and_so_are_their_tokens(
        self, house: Any, ask: Asking, key: str, door: Any, change: dict[str, Any]
    ) -> None:
        token = door.send({"api_key": key}).get_json()["token"]
        assert ask(Authorization=f"Bearer {token}") == (200, None)
        set_all(house, ApiKey, **change)
        assert ask(X_API_Key=key) == (401, BAD_KEY)
        assert ask(Authorization=f"Bearer {token}") == (401, BAD_TOKEN)

    def test_one_that_was_deleted_or_whose_owner_was_ends_and_so_do_its_tokens(
        self, house: Any, ask: Asking, key: str, door: Any
    ) -> None:
        token = door.send({"api_key": key}).get_json()["token"]
        set_all(house, User, is_active=False)
        assert ask(X_API_Key=key) == (401, BAD_KEY)
        assert ask(Authorization=f"Bearer {token}") == (401, BAD_TOKEN)
        with house.panel.database.atomic():
            User.delete().execute()
        assert ask(X_API_Key=key) == (401, BAD_KEY)
        assert ask(Authorization=f"Bearer {token}") == (401, BAD_TOKEN)

    def test_a_session_never_outlives_its_key(
        self, house: Any, door: Any, anna: int, only_key: Callable[[], Any]
    ) -> None:
        key = house.key_text(house.session(anna), expires_in=600)
        answer = door.send({"api_key": key}).get_json()
        assert answer["expires_in"] <= 600
        row = only_key()
        assert datetime.fromisoformat(answer["expires_at"]) == row.expires_at

    def test_the_record_names_the_key(self, house: Any, key: str, only_key: Callable[[], Any]) -> None:
        row = only_key()
        found = identify(house, "bearer", key)
        assert found.actor == Actor("api_key", f"key_{row.key_id}", "anna", row.key_prefix)
        assert caller_of(found).api_key_id == row.id


class TestStaticKeys:
    def test_their_tokens_act_as_the_key_and_die_with_it(
        self, house: Any, door: Any, ask: Asking, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = door.send({"api_key": ADMIN_KEY}).get_json()["token"]
        found = identify(house, "bearer", token)
        assert found.actor == Actor("api_key", "key_0", "key_0")
        assert (found.role, found.permissions, found.unscoped) == ("admin", None, True)
        assert caller_of(found).user_id is None
        keep_only(house, monkeypatch, "another-key", ADMIN_KEY)
        assert identify(house, "bearer", token).actor.id == "key_1"
        keep_only(house, monkeypatch, "another-key")
        assert ask(Authorization=f"Bearer {token}") == (401, BAD_TOKEN)

    @pytest.mark.parametrize("static", ["flatrun_" + "s" * 43, "I" * 46 + ".aaaaaa." + "s" * 43])
    def test_one_in_the_shape_of_ours_still_counts(self, make_house: Any, static: str) -> None:
        house = make_house(deployments=False, **{"auth.api_keys": [static]})
        ask = Asking(house.app)
        assert ask(Authorization=f"Bearer {static}") == (200, None)
        assert ask(Authorization=f"Bearer {static[:-1]}t")[0] == 401


def keep_only(house: Any, monkeypatch: pytest.MonkeyPatch, *keys: str) -> None:
    """The keys of the settings from here on."""
    from dataclasses import replace

    from flatrun_core import AuthSettings

    service = house.service(AUTHENTICATION)
    original = service._settings
    changed = replace(original(AuthSettings), api_keys=keys)
    monkeypatch.setattr(
        service, "_settings", lambda kind: changed if kind is AuthSettings else original(kind)
    )


def identify(house: Any, scheme: str, token: str) -> Identity:
    found = house.service(AUTHENTICATION).identify(Credentials(scheme, token, {}, "127.0.0.1", "127.0.0.1"))
    assert found is not None
    return found


HOSTILE = [
    "x", "null", "undefined", "a.b.c", "..", "I" * 97, "flatrun_", "flatrun_" + "x" * 42,
    "flatrun_" + "x" * 44, "FLATRUN_" + "x" * 43, "flatrun_" + "é" * 43, "eyJhbGciOiJub25lIn0.eyJpZCI6MX0.",
    "x" * 100_000, "I" + "x" * 45 + ".aaaaaa." + "y" * 43 + "=", "' OR 1=1 --", "%00", "a\tb",
]  # fmt: skip


class TestHostile:
    @pytest.mark.parametrize("text", HOSTILE)
    @pytest.mark.parametrize("place", ["Bearer", "ApiKey", "X-API-Key"])
    def test_every_text_in_every_place_is_401(self, house: Any, anna: int, text: str, place: str) -> None:
        headers = {"X-API-Key": text} if place == "X-API-Key" else {"Authorization": f"{place} {text}"}
        answer = house.app.test_client().get(READ, headers=headers)
        assert answer.status_code == 401
        assert answer.get_json() == (BAD_TOKEN if place == "Bearer" else BAD_KEY)

    @pytest.mark.parametrize("raw", [b"\xff\xfe", b"flatrun_\x80", "ключ".encode(), b"a\x00b"])
    def test_bytes_that_are_no_text_are_401(self, house: Any, raw: bytes) -> None:
        environ = {"HTTP_AUTHORIZATION": "Bearer " + raw.decode("latin-1")}
        answer = house.app.test_client().get(READ, environ_overrides=environ)
        assert (answer.status_code, answer.get_json()) == (401, BAD_TOKEN)

    @pytest.mark.parametrize(
        ("header", "error"),
        [
            ("Bearer", "Invalid authorization header format"),
            ("Bearer ", "Invalid authorization header format"),
            ("Basic YWRtaW46YWRtaW4=", "Unsupported authorization scheme"),
            ("", "Authorization header required"),
        ],
    )
    def test_what_is_no_credential_at_all_is_told_so(self, ask: Asking, header: str, error: str) -> None:
        status, body = ask(Authorization=header)
        assert (status, body["error"]) == (401, error)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.sampled_from(["bearer", "apikey", "none", "basic"]), st.text())
    def test_whatever_is_no_credential_of_ours_is_left_to_others(
        self, house: Any, scheme: str, text: str
    ) -> None:
        credentials = Credentials(scheme, text, {}, "127.0.0.1", "127.0.0.1")
        assert house.service(AUTHENTICATION).identify(credentials) is None

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
    @given(st.one_of(st.from_regex(authentication.KEY_SHAPE, fullmatch=True),
                     st.from_regex(authentication.TOKEN_SHAPE, fullmatch=True)))  # fmt: skip
    def test_whatever_has_our_shape_and_is_not_ours_is_refused(self, house: Any, text: str) -> None:
        credentials = Credentials("bearer", text, {}, "127.0.0.1", "127.0.0.1")
        with pytest.raises(Unauthenticated) as caught:
            house.service(AUTHENTICATION).identify(credentials)
        assert caught.value.code == "INVALID_TOKEN"


def test_text_of_another_shape_is_for_other_providers(make_house: Any) -> None:
    class Other:
        PLUGIN = PluginInfo(slug="zother", hook_api=HOOK_API, display_name="Other")

        def __init__(self) -> None:
            self.asked: list[str] = []

        @hookimpl
        def flatrun_authenticate(self, credentials: Credentials) -> Identity | None:
            self.asked.append(credentials.token)
            return Identity(Actor("user", "7", "from elsewhere"), role="viewer")

    other = Other()
    house = make_house(other, deployments=False)
    ask = Asking(house.app)
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJpZCI6MX0." + "x" * 43
    assert ask(Authorization=f"Bearer {jwt}") == (200, None)
    assert ask(Authorization="Bearer flatrun_" + "x" * 43) == (401, BAD_KEY)
    assert other.asked == [jwt]


class TestLastUse:
    def test_the_last_use_of_a_session_is_written_once_a_minute(
        self, house: Any, door: Any, later: Callable[[timedelta], None]
    ) -> None:
        client = door.client()
        later(timedelta(seconds=50))
        before = seen(house)
        client.get(READ)
        assert seen(house) == before
        later(timedelta(seconds=10))
        client.get(READ)
        assert now() - seen(house) < timedelta(seconds=20)

    def test_so_is_that_of_a_key_with_its_address(
        self, house: Any, key: str, only_key: Callable[[], Any]
    ) -> None:
        client = house.app.test_client()
        client.get(READ, headers={"X-API-Key": key}, environ_base={"REMOTE_ADDR": "192.0.2.5"})
        row = only_key()
        assert now() - row.last_used_at < timedelta(seconds=20)
        assert row.last_used_ip == "192.0.2.5"
        client.get(READ, headers={"X-API-Key": key}, environ_base={"REMOTE_ADDR": "192.0.2.6"})
        again = only_key()
        assert (again.last_used_at, again.last_used_ip) == (row.last_used_at, "192.0.2.5")

    def test_a_database_that_takes_no_writes_refuses_nobody_and_is_tried_once_a_minute(
        self,
        house: Any,
        door: Any,
        later: Callable[[timedelta], None],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        client = door.client()
        later(timedelta(hours=1))
        tried = []
        original = house.panel.database.peewee.execute_sql

        def read_only(sql: str, *args: Any, **kwargs: Any) -> Any:
            if sql.startswith("UPDATE"):
                tried.append(sql)
                raise peewee.OperationalError("attempt to write a readonly database")
            return original(sql, *args, **kwargs)

        monkeypatch.setattr(house.panel.database.peewee, "execute_sql", read_only)
        assert [client.get(READ).status_code for _ in range(3)] == [200] * 3
        assert len(tried) == 1
        assert "could not be written" in caplog.text

    def test_what_is_remembered_of_tries_has_an_end(
        self, house: Any, door: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(authentication, "_MAX_REMEMBERED", 3)
        touches = house.service(AUTHENTICATION)._touches
        for number in range(10):
            assert touches._due("session", number)
        assert len(touches._tried) <= 3


def seen(house: Any) -> datetime:
    with house.panel.database.session():
        found: datetime = LoginSession.get().last_seen_at
    return found


class TestCost:
    def queries(self, house: Any, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
        asked: list[str] = []
        original = house.panel.database.peewee.execute_sql

        def execute(sql: str, *args: Any, **kwargs: Any) -> Any:
            asked.append(sql)
            return original(sql, *args, **kwargs)

        monkeypatch.setattr(house.panel.database.peewee, "execute_sql", execute)
        assert house.app.test_client().get("/api/permissions", headers=headers).status_code == 200
        monkeypatch.setattr(house.panel.database.peewee, "execute_sql", original)
        return asked

    def test_a_request_costs_two_queries_at_most_and_an_admins_one(
        self, house: Any, door: Any, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        house.user("root", "admin")
        operator = {"Authorization": f"Bearer {door().get_json()['token']}"}
        admin = {"Authorization": f"Bearer {door('root').get_json()['token']}"}
        house.app.test_client().get(READ, headers={"X-API-Key": key})
        assert len(self.queries(house, operator, monkeypatch)) == 2
        assert len(self.queries(house, {"X-API-Key": key}, monkeypatch)) == 2
        assert len(self.queries(house, admin, monkeypatch)) == 1

    def test_what_is_of_another_shape_costs_none(self, house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        assert self.queries(house, headers, monkeypatch) == []


def test_a_stream_asks_again_outside_of_any_request(house: Any, door: Any, anna: int) -> None:
    token = door().get_json()["token"]
    assert identify(house, "bearer", token).actor.id == str(anna)


def test_clients_of_a_house_really_need_their_token(house: Any) -> None:
    assert ApiClient(house.app, None).get(READ).status_code == 401
