"""Sessions: status, validation, logging out, the list of one's own, and their end."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flatrun_core.db import now
from flatrun_core.testing.client import ADMIN_KEY, ApiClient
from flatrun_users.models import LoginSession
from flatrun_users.sessions import SESSIONS

PASSWORD = "correct horse battery"
NOT_FOUND = {"error": "Session not found", "code": "SESSION_NOT_FOUND"}


def listed(client: ApiClient) -> list[Any]:
    found: list[Any] = client.get("/api/auth/sessions").get_json()["sessions"]
    return found


class TestStatus:
    def test_it_tells_whether_the_credential_sent_along_is_valid(self, house: Any, door: Any) -> None:
        valid = door.client()
        for client, known in (
            (valid, True),
            (ApiClient(house.app, ADMIN_KEY), True),
            (ApiClient(house.app, None), False),
            (ApiClient(house.app, "nonsense"), False),
            (ApiClient(house.app, "flatrun_" + "x" * 43), False),
        ):
            answer = client.get("/api/auth/status")
            assert (answer.status_code, answer.get_json()) == (200, {"enabled": True, "authenticated": known})

    @pytest.mark.parametrize("header", ["Basic x", "Bearer", "Bearer \x01", "x" * 10_000])
    def test_it_is_never_401(self, house: Any, header: str) -> None:
        answer = house.app.test_client().get("/api/auth/status", headers={"Authorization": header})
        assert (answer.status_code, answer.get_json()["authenticated"]) == (200, False)

    def test_it_tells_that_authentication_is_off(self, make_house: Any) -> None:
        house = make_house(deployments=False, **{"auth.enabled": False})
        answer = house.app.test_client().get("/api/auth/status")
        assert answer.get_json() == {"enabled": False, "authenticated": True}


class TestValidate:
    def test_a_token_is_valid_until_it_expires(self, house: Any, door: Any) -> None:
        answer = door().get_json()
        client = ApiClient(house.app, answer["token"])
        assert client.get("/api/auth/validate").get_json() == {
            "valid": True,
            "message": "Token is valid",
            "expires_at": answer["expires_at"],
        }

    def test_a_key_without_an_end_is_valid_for_ever(self, house: Any, anna: int) -> None:
        key = house.key(house.session(anna))
        assert key.get("/api/auth/validate").get_json()["expires_at"] is None

    @pytest.mark.parametrize(
        ("headers", "error", "code"),
        [
            ({}, "Authorization header required", "AUTH_REQUIRED"),
            ({"Authorization": "Bearer x"}, "Invalid or expired token", "INVALID_TOKEN"),
            ({"Authorization": "Basic x"}, "Unsupported authorization scheme", "INVALID_TOKEN"),
            ({"X-API-Key": "x"}, "Invalid API key", "INVALID_TOKEN"),
        ],
    )
    def test_anything_else_is_401_in_the_shape_of_this_route(
        self, house: Any, headers: dict[str, str], error: str, code: str
    ) -> None:
        answer = house.app.test_client().get("/api/auth/validate", headers=headers)
        assert (answer.status_code, answer.get_json()) == (
            401,
            {"valid": False, "error": error, "code": code},
        )

    def test_without_authentication_everything_is_valid(self, make_house: Any) -> None:
        house = make_house(deployments=False, **{"auth.enabled": False})
        answer = house.app.test_client().get("/api/auth/validate", headers={"Authorization": "Bearer x"})
        assert (answer.status_code, answer.get_json()) == (
            200,
            {"valid": True, "message": "Authentication disabled", "expires_at": None},
        )


class TestLogout:
    def test_it_ends_the_session_of_the_token_and_no_other(self, door: Any) -> None:
        one, other = door.client(), door.client()
        answer = one.post("/api/auth/logout")
        assert (answer.status_code, answer.get_json()) == (200, {"message": "Logged out"})
        assert one.get("/api/auth/sessions").status_code == 401
        assert one.post("/api/auth/logout").status_code == 401
        assert len(listed(other)) == 1

    def test_a_session_of_a_key_logs_out_and_the_key_stays(self, house: Any, anna: int) -> None:
        key = house.key_text(house.session(anna))
        client = house.session_of_key(key)
        assert client.post("/api/auth/logout").status_code == 200
        assert client.get("/api/auth/sessions").status_code == 401
        assert ApiClient(house.app, key).get("/api/auth/sessions").status_code == 200

    def test_a_key_has_no_session_to_end(self, house: Any, anna: int) -> None:
        for client in (house.key(house.session(anna)), ApiClient(house.app, ADMIN_KEY)):
            answer = client.post("/api/auth/logout")
            assert (answer.status_code, answer.get_json()["code"]) == (400, "NO_SESSION")

    def test_it_is_recorded_as_the_users(self, door: Any, anna: int, notebook: Any) -> None:
        door.client().post("/api/auth/logout")
        request, outcome = notebook.finished[-1]
        assert (request.action, request.actor.id, outcome.status) == ("auth.logout", str(anna), 200)


class TestList:
    def test_a_session_tells_from_where_and_since_when(self, house: Any, door: Any) -> None:
        body = {"username": "anna", "password": PASSWORD}
        answer = door.send(body, ip="192.0.2.7", headers={"User-Agent": "a browser " + "x" * 300})
        (session,) = listed(ApiClient(house.app, answer.get_json()["token"]))
        assert set(session) == {"id", "created_at", "last_seen_at", "client_ip", "user_agent", "current"}
        assert datetime.now(UTC) - datetime.fromisoformat(session["created_at"]) < timedelta(seconds=20)
        assert session["last_seen_at"] == session["created_at"]
        assert (session["client_ip"], session["current"]) == ("192.0.2.7", True)
        assert session["user_agent"] == ("a browser " + "x" * 300)[:255]

    def test_it_has_ones_own_live_sessions_newest_first(
        self, house: Any, door: Any, later: Callable[[timedelta], None]
    ) -> None:
        door()
        later(timedelta(hours=24))
        clients = [door.client() for _ in range(3)]
        house.session(house.user("bert"))
        clients[1].post("/api/auth/logout")
        sessions = listed(clients[0])
        assert [one["current"] for one in sessions] == [False, True]
        assert sessions[0]["id"] > sessions[1]["id"]

    def test_an_account_sees_the_sessions_of_its_keys_and_a_key_only_its_own(
        self, house: Any, door: Any
    ) -> None:
        owner = door.client()
        one, other = house.key_text(owner), house.key_text(owner)
        of_one = house.session_of_key(one)
        house.session_of_key(other)
        assert len(listed(owner)) == 3
        assert [session["current"] for session in listed(of_one)] == [True]
        assert [session["current"] for session in listed(ApiClient(house.app, one))] == [False]

    def test_a_key_of_the_settings_sees_the_sessions_opened_with_it(self, house: Any, door: Any) -> None:
        door()
        clients = [house.session_of_key(ADMIN_KEY) for _ in range(2)]
        assert [session["current"] for session in listed(clients[0])] == [False, True]
        assert listed(ApiClient(house.app, ADMIN_KEY)) == []


class TestRevoke:
    def test_one_of_ones_own_ends_at_once(self, door: Any) -> None:
        mine, stolen = door.client(), door.client()
        number = next(one["id"] for one in listed(mine) if not one["current"])
        answer = mine.delete(f"/api/auth/sessions/{number}")
        assert (answer.status_code, answer.get_json()) == (200, {"message": "Session revoked"})
        assert stolen.get("/api/auth/sessions").status_code == 401
        assert mine.delete(f"/api/auth/sessions/{number}").get_json() == NOT_FOUND

    def test_a_foreign_one_is_not_there(self, house: Any, door: Any) -> None:
        bert = house.person("bert")
        (session,) = listed(bert)
        answer = door.client().delete(f"/api/auth/sessions/{session['id']}")
        assert (answer.status_code, answer.get_json()) == (404, NOT_FOUND)
        assert bert.get("/api/auth/sessions").status_code == 200

    def test_a_key_ends_none_of_its_owners(self, house: Any, door: Any) -> None:
        owner = door.client()
        key = house.key(owner)
        (session,) = listed(owner)
        assert key.delete(f"/api/auth/sessions/{session['id']}").get_json() == NOT_FOUND

    @pytest.mark.parametrize(
        "name", ["0", "-1", "99999", "9" * 18, "9" * 40, "x", "1e3", "%00", "1;2", "\u0661"]
    )
    def test_what_is_no_session_is_not_there(self, door: Any, name: str) -> None:
        answer = door.client().delete(f"/api/auth/sessions/{name}")
        assert (answer.status_code, answer.get_json()) == (404, NOT_FOUND)

    def test_a_request_under_way_when_its_session_ends_is_the_last_one(self, house: Any, door: Any) -> None:
        clients = [door.client() for _ in range(4)]
        numbers = [one["id"] for one in listed(clients[0])]
        for number in numbers:
            clients[0].delete(f"/api/auth/sessions/{number}")
        assert {client.get("/api/auth/sessions").status_code for client in clients} == {401}
        assert house.live_sessions() == 0


class TestEnds:
    def test_the_sessions_of_a_user_end_but_one(self, house: Any, door: Any, anna: int) -> None:
        kept, *others = [door.client() for _ in range(3)]
        others.append(house.session_of_key(house.key_text(kept)))
        bert = house.person("bert")
        number = next(one["id"] for one in listed(kept) if one["current"])
        with house.panel.database.atomic():
            assert house.service(SESSIONS).revoke_of_user(anna, keep=number) == 3
        assert {client.get("/api/auth/sessions").status_code for client in others} == {401}
        assert kept.get("/api/auth/sessions").status_code == 200
        assert bert.get("/api/auth/sessions").status_code == 200

    def test_the_sessions_of_a_key_end(self, house: Any, door: Any, only_key: Callable[[], Any]) -> None:
        owner = door.client()
        of_key = house.session_of_key(house.key_text(owner))
        with house.panel.database.atomic():
            assert house.service(SESSIONS).revoke_of_key(only_key().id) == 1
        assert of_key.get("/api/auth/sessions").status_code == 401
        assert owner.get("/api/auth/sessions").status_code == 200

    def test_a_change_that_is_undone_ends_nothing(self, house: Any, door: Any, anna: int) -> None:
        client = door.client()
        with pytest.raises(ZeroDivisionError), house.panel.database.atomic():  # noqa: PT012 - one transaction
            house.service(SESSIONS).revoke_of_user(anna)
            raise ZeroDivisionError
        assert client.get("/api/auth/sessions").status_code == 200

    def test_what_is_over_is_deleted_by_the_timer(
        self, house: Any, door: Any, later: Callable[[timedelta], None], run_timer: Callable[..., None]
    ) -> None:
        door()
        later(timedelta(hours=24))
        door.client().post("/api/auth/logout")
        alive = door.client()
        run_timer(house.app, "users.forget_sessions")
        with house.panel.database.session():
            (row,) = LoginSession.select()
            assert row.expires_at > now()
        assert alive.get("/api/auth/sessions").status_code == 200
