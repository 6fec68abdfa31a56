"""Logins: what they answer, whom they let in, and what they tell of whom they do not."""

import json
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import argon2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flatrun_core import Level
from flatrun_core.ports.auth import PERMISSIONS
from flatrun_core.testing.client import ADMIN_KEY
from flatrun_users import passwords
from flatrun_users.models import LoginSession, User
from flatrun_users.passwords import PASSWORDS, Passwords

PASSWORD = "correct horse battery"
WRONG = {"error": "Invalid username or password", "code": "INVALID_CREDENTIALS"}


def seconds_from_now(text: str) -> float:
    return (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()


class TestAnswer:
    def test_it_is_that_of_the_api(self, house: Any, door: Any, anna: int) -> None:
        with house.panel.database.atomic():
            User.update(permissions=["deployments:read", "templates:read"]).execute()
        answer = door().get_json()
        row = house.row(anna)
        assert set(answer) == {
            "token", "token_type", "expires_in", "expires_at", "user", "permissions", "deployments",
        }  # fmt: skip
        assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 86400)
        assert 86380 < seconds_from_now(answer["expires_at"]) <= 86400
        last = answer["user"].pop("last_login_at")
        assert abs(seconds_from_now(last)) < 20
        assert answer["user"] == {
            "id": anna,
            "uid": row.uid,
            "username": "anna",
            "email": "",
            "role": "operator",
            "is_active": True,
            "created_at": row.created_at.replace(tzinfo=None).isoformat() + "Z",
            "updated_at": row.updated_at.replace(tzinfo=None).isoformat() + "Z",
        }
        assert answer["permissions"] == ["deployments:read", "templates:read"]
        assert answer["deployments"] == []

    def test_the_permissions_of_an_admin_are_all_there_are(self, house: Any, door_of: Any) -> None:
        house.user("root", "admin")
        answer = door_of(house.app)("root").get_json()
        assert answer["permissions"] == sorted(house.service(PERMISSIONS).known())
        assert answer["deployments"] == []

    def test_deployments_are_those_that_were_granted(self, house: Any, door_of: Any) -> None:
        house.user("bert", grants={"shop": Level.WRITE, "blog": Level.READ})
        assert door_of(house.app)("bert").get_json()["deployments"] == [
            {"deployment_name": "blog", "access_level": "read"},
            {"deployment_name": "shop", "access_level": "write"},
        ]

    def test_the_lifetime_is_that_of_the_settings(self, make_house: Any, door_of: Any) -> None:
        house = make_house(deployments=False, **{"users.session_lifetime": "90m"})
        house.user("anna")
        answer = door_of(house.app)().get_json()
        assert answer["expires_in"] == 5400
        assert 5380 < seconds_from_now(answer["expires_at"]) <= 5400

    @pytest.mark.parametrize("lifetime", ["59s", "1ns", "0", "forever"])
    def test_a_lifetime_in_which_nobody_could_work_is_refused(self, make_house: Any, lifetime: str) -> None:
        with pytest.raises(Exception, match=r"users\.session_lifetime"):
            make_house(deployments=False, **{"users.session_lifetime": lifetime})

    def test_the_login_is_remembered(self, house: Any, door: Any, anna: int) -> None:
        assert house.row(anna).last_login_at is None
        door()
        assert datetime.now(UTC) - house.row(anna).last_login_at < timedelta(seconds=20)

    def test_each_login_is_a_new_session_and_no_token_is_taken_from_the_client(self, door: Any) -> None:
        one = door().get_json()["token"]
        fixed = {"Authorization": f"Bearer {one}", "Cookie": f"session={one}"}
        body = {"username": "anna", "password": PASSWORD, "token": one, "token_id": "a" * 32}
        answer = door.send(body, headers=fixed)
        assert answer.get_json()["token"] != one
        assert "Set-Cookie" not in answer.headers

    def test_the_name_counts_in_any_case_and_is_answered_as_it_was_given(self, door: Any) -> None:
        assert door("ANNA").get_json()["user"]["username"] == "anna"

    def test_without_authentication_there_is_nothing_to_log_in_to(
        self, make_house: Any, door_of: Any
    ) -> None:
        house = make_house(deployments=False, **{"auth.enabled": False})
        for body in ({"username": "a", "password": "b"}, {}):
            answer = door_of(house.app).send(body)
            assert (answer.status_code, answer.get_json()) == (
                200,
                {"token": "", "message": "Authentication disabled"},
            )


class TestRefusals:
    def test_unknown_wrong_and_inactive_are_told_apart_by_nothing(self, house: Any, door: Any) -> None:
        house.user("gone", active=False)
        for name, password in (("nobody", PASSWORD), ("anna", "wrong"), ("gone", PASSWORD), ("gone", "x")):
            answer = door(name, password)
            assert (answer.status_code, answer.get_json()) == (401, WRONG)

    def test_each_of_them_costs_one_computation(
        self, house: Any, door: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        house.user("gone", active=False)
        costs: list[str] = []
        original = Passwords._verify

        def verify(self: Passwords, kept: str, text: str) -> bool:
            costs.append(kept)
            return original(self, kept, text)

        monkeypatch.setattr(Passwords, "_verify", verify)
        for name, password in (
            ("anna", PASSWORD),
            ("anna", "wrong"),
            ("anna", "x" * 300),
            ("nobody", PASSWORD),
            ("n" * 1000, PASSWORD),
            ("gone", PASSWORD),
            ("gone", "wrong"),
        ):
            costs.clear()
            door(name, password)
            assert len(costs) == 1, (name, password)
            assert argon2.extract_parameters(costs[0]).memory_cost == 8

    @pytest.mark.parametrize(
        "body",
        [{}, {"username": "anna"}, {"password": "x"}, {"username": "", "password": "x"}, {"api_key": ""},
         {"username": "anna", "password": ""}, {"key": "x", "user": "anna"}],
    )  # fmt: skip
    def test_neither_pair_is_a_bad_request(self, door: Any, body: Any) -> None:
        answer = door.send(body)
        assert (answer.status_code, answer.get_json()["code"]) == (400, "VALIDATION_ERROR")

    @pytest.mark.parametrize("field", ["username", "password", "totp_code", "api_key"])
    @pytest.mark.parametrize("value", [1, None, True, ["anna"], {"$ne": ""}, "evil \0", "\ud800"])
    def test_wrong_types_are_a_bad_request(self, door: Any, field: str, value: Any) -> None:
        answer = door.send({"username": "anna", "password": PASSWORD, field: value})
        assert answer.status_code == 400
        assert "evil" not in answer.text

    @pytest.mark.parametrize("body", ["[]", "1", '"anna"', "", "{", "null"])
    def test_what_is_no_object_is_a_bad_request(self, door: Any, body: str) -> None:
        answer = door.app.test_client().post("/api/auth/login", data=body, content_type="application/json")
        assert answer.status_code == 400

    @pytest.mark.parametrize(
        "name",
        ["anna ", " anna", "anna\n", "a%nna", "ann_", "' OR 1=1 --", "anna' --", "\uff41nna", "%", "*"],
    )
    def test_names_that_only_look_alike_are_nobody(self, door: Any, name: str) -> None:
        assert (door(name).status_code, door(name).get_json()) == (401, WRONG)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
    @given(
        st.dictionaries(
            st.sampled_from(["username", "password", "api_key", "totp_code", "x"]),
            st.one_of(st.text(max_size=300), st.integers(), st.none(), st.lists(st.text(), max_size=2)),
        )
    )
    def test_no_body_lets_anybody_in_or_breaks_it(self, door: Any, body: dict[str, Any]) -> None:
        answer = door.app.test_client().post(
            "/api/auth/login", data=json.dumps(body), content_type="application/json"
        )
        assert answer.status_code in (400, 401, 429)
        assert set(answer.get_json()) == {"error", "code"}

    def test_a_password_that_changes_while_it_is_compared_lets_nobody_in(
        self, house: Any, door: Any, anna: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        new = house.service(PASSWORDS).hash("another password")

        def compared_and_changed(self: Passwords, kept: str, text: str) -> bool:
            with house.panel.database.atomic():
                User.update(password_hash=new).where(User.id == anna).execute()
            return kept != new

        monkeypatch.setattr(Passwords, "matches", compared_and_changed)
        assert door().get_json() == WRONG
        assert house.live_sessions() == 0

    def test_an_account_deactivated_while_its_password_is_compared_lets_nobody_in(
        self, house: Any, door: Any, anna: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original = Passwords.matches

        def compared_and_deactivated(self: Passwords, kept: str, text: str) -> bool:
            with house.panel.database.atomic():
                User.update(is_active=False).where(User.id == anna).execute()
            return original(self, kept, text)

        monkeypatch.setattr(Passwords, "matches", compared_and_deactivated)
        assert door().get_json() == WRONG
        assert house.live_sessions() == 0

    def test_an_account_that_changes_for_ever_is_given_up(
        self, house: Any, door: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(User, "log_in", classmethod(lambda cls, checked, columns: False))
        assert door().get_json() == WRONG


class TestRehash:
    def test_a_hash_of_old_parameters_is_renewed_at_login(
        self, house: Any, door: Any, anna: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = house.row(anna).password_hash
        stronger = argon2.PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
        monkeypatch.setattr(house.service(PASSWORDS), "_hasher", stronger)
        assert door().status_code == 200
        new = house.row(anna).password_hash
        assert new != old
        assert argon2.extract_parameters(new).memory_cost == 16
        assert door().status_code == 200
        assert house.row(anna).password_hash == new

    def test_only_a_right_password_renews_it(
        self, house: Any, door: Any, anna: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = house.row(anna).password_hash
        stronger = argon2.PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
        monkeypatch.setattr(house.service(PASSWORDS), "_hasher", stronger)
        assert door("anna", "wrong").status_code == 401
        assert house.row(anna).password_hash == old

    def test_a_password_that_is_too_short_by_todays_rule_still_logs_in_and_is_renewed(
        self, house: Any, door: Any, anna: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        weak = passwords.PasswordHasher().hash("short")
        with house.panel.database.atomic():
            User.update(password_hash=weak).execute()
        stronger = argon2.PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
        monkeypatch.setattr(house.service(PASSWORDS), "_hasher", stronger)
        assert door("anna", "short").status_code == 200
        assert argon2.extract_parameters(house.row(anna).password_hash).memory_cost == 16

    def test_fifty_logins_at_once_with_an_old_hash_all_get_in(
        self,
        house: Any,
        door: Any,
        monkeypatch: pytest.MonkeyPatch,
        at_once: Callable[..., list[Any]],
    ) -> None:
        stronger = argon2.PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
        monkeypatch.setattr(house.service(PASSWORDS), "_hasher", stronger)
        calls = [lambda n=n: door.outcomes(ip=f"192.0.2.{n}") for n in range(50)]
        assert at_once(calls) == ["OK"] * 50
        assert house.live_sessions() == 50


class TestRecord:
    def test_a_success_is_the_users(self, door: Any, anna: int, notebook: Any) -> None:
        door()
        ((request, outcome),) = notebook.finished
        assert (request.action, request.resource_type, outcome.status) == ("auth.login", "auth", 200)
        actor = request.actor
        assert (actor.type, actor.id, actor.name, actor.key_prefix) == ("user", str(anna), "anna", "")

    def test_a_success_with_a_key_is_the_keys(
        self, house: Any, door: Any, anna: int, notebook: Any, only_key: Callable[[], Any]
    ) -> None:
        key = house.key_text(house.session(anna))
        notebook.finished.clear()
        door.send({"api_key": key})
        row = only_key()
        actor = notebook.finished[0][0].actor
        assert (actor.type, actor.id, actor.name) == ("api_key", f"key_{row.key_id}", "anna")
        assert actor.key_prefix == row.key_prefix

    def test_a_failure_is_nobodys_with_the_name_that_was_tried(self, door: Any, notebook: Any) -> None:
        for name in ("Anna", "no.body-1", "x" * 64, "flatrun_bot"):
            door(name, "wrong")
            actor = notebook.finished[-1][0].actor
            assert (actor.type, actor.id, actor.name) == ("anonymous", "", name)

    @pytest.mark.parametrize(
        "text",
        [
            "P4ss word!", "correct-horse!battery", "ab", "x" * 65, "anna\n", "m\u00fcller", PASSWORD,
            "flatrun_" + "k" * 43, "flatrun_" + "k" * 30, "flatrun_" + "k" * 56, ADMIN_KEY,
        ],
    )  # fmt: skip
    def test_what_can_be_no_name_is_kept_out_of_the_record_as_it_may_be_a_secret(
        self, door: Any, notebook: Any, text: str
    ) -> None:
        assert door(text, "wrong").status_code == 401
        actor = notebook.finished[-1][0].actor
        assert (actor.type, actor.id, actor.name) == ("anonymous", "", "")

    def test_each_attempt_is_one_event_refused_ones_too(self, door: Any, notebook: Any) -> None:
        for _ in range(6):
            door("anna", "wrong")
        door.send({})
        assert [outcome.status for _, outcome in notebook.finished] == [401] * 5 + [429, 400]

    def test_no_secret_is_in_a_log_an_answer_or_an_object_that_one_would_print(
        self, house: Any, door: Any, anna: int, notebook: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        key = house.key_text(house.session(anna))
        secrets = [PASSWORD, key, "hunter2hunter2", "654321"]
        texts = [
            door().text,
            door("anna", "hunter2hunter2", totp_code="654321").text,
            door.send({"api_key": key}).text,
            door.send({"api_key": key + "x"}).text,
            door.send({"username": "anna", "password": ["hunter2hunter2"]}).text,
        ]
        texts += [repr(entry) for entry in notebook.finished]
        texts += [caplog.text]
        for secret in secrets:
            assert not any(secret in text for text in texts), secret


def test_tokens_hold_a_random_name_and_nothing_else(house: Any, door: Any) -> None:
    token = door().get_json()["token"]
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", token)
    with house.panel.database.session():
        row = LoginSession.get()
    from itsdangerous.encoding import base64_decode

    assert json.loads(base64_decode(token.partition(".")[0])) == row.token_id
    assert token not in {str(value) for value in row.__data__.values()}
