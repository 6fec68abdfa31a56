"""The second factor is asked for, taken once, and taken away."""

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_users.models import RecoveryCode, User
from flatrun_users.totp import TOTP, Enrolment, _new_recovery_code, _plain, _recovery_hash

PASSWORD = "correct horse battery"
ME = "/api/users/me/totp"


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json().get("code", "OK")


class TestLogin:
    def test_a_code_is_asked_for_only_after_the_right_password(
        self, door: Any, enrol: Callable[..., Any]
    ) -> None:
        authenticator, _ = enrol(door.client())
        answer = door()
        assert code_of(answer) == (401, "TOTP_REQUIRED")
        assert code_of(door("anna", "wrong")) == (401, "INVALID_CREDENTIALS")
        code = authenticator.code()
        wrong = door("anna", "wrong", totp_code=code)
        assert wrong.get_json() == {"error": "Invalid username or password", "code": "INVALID_CREDENTIALS"}
        assert code_of(door(totp_code=code)) == (200, "OK")

    def test_a_wrong_code_lets_nobody_in(self, door: Any, enrol: Callable[..., Any], house: Any) -> None:
        authenticator, _ = enrol(door.client())
        before = house.live_sessions()
        for code in (authenticator.wrong(), "abcd-efgh-abcd-efgh", "x", "\uff11" * 6):
            assert code_of(door(totp_code=code)) == (401, "INVALID_CREDENTIALS")
        assert house.live_sessions() == before

    def test_a_code_counts_once(self, door: Any, enrol: Callable[..., Any]) -> None:
        authenticator, _ = enrol(door.client())
        code = authenticator.code()
        assert code_of(door(totp_code=code)) == (200, "OK")
        assert code_of(door(totp_code=code)) == (401, "INVALID_CREDENTIALS")

    def test_the_code_that_confirmed_it_logs_nobody_in(
        self, door: Any, clock: Any, authenticator_of: Callable[[str], Any]
    ) -> None:
        client = door.client()
        code = authenticator_of(client.post(ME).get_json()["secret"]).code()
        client.post(f"{ME}/confirm", json={"code": code})
        assert code_of(door(totp_code=code)) == (401, "INVALID_CREDENTIALS")

    @pytest.mark.parametrize(("steps", "taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
    def test_clocks_may_differ_by_half_a_minute(
        self, door: Any, enrol: Callable[..., Any], clock: Any, steps: int, taken: bool
    ) -> None:
        authenticator, _ = enrol(door.client())
        clock.moment += 300
        assert (door(totp_code=authenticator.code(steps)).status_code == 200) is taken

    def test_after_a_later_code_no_earlier_one_counts(
        self, door: Any, enrol: Callable[..., Any], clock: Any
    ) -> None:
        authenticator, _ = enrol(door.client())
        clock.moment += 300
        assert door(totp_code=authenticator.code(1)).status_code == 200
        assert door(totp_code=authenticator.code(0)).status_code == 401
        assert door(totp_code=authenticator.code(-1)).status_code == 401
        clock.moment += 60
        assert door(totp_code=authenticator.code()).status_code == 200

    def test_people_may_type_what_they_see(self, door: Any, enrol: Callable[..., Any]) -> None:
        authenticator, codes = enrol(door.client())
        code = authenticator.code()
        assert door(totp_code=f" {code[:3]} {code[3:]} ").status_code == 200
        assert door(totp_code=codes[0].upper().replace("-", " ")).status_code == 200

    def test_a_recovery_code_stands_in_for_it_once(self, door: Any, enrol: Callable[..., Any]) -> None:
        _, codes = enrol(door.client())
        assert code_of(door(totp_code=codes[3])) == (200, "OK")
        assert code_of(door(totp_code=codes[3])) == (401, "INVALID_CREDENTIALS")
        assert code_of(door(totp_code=codes[4])) == (200, "OK")

    def test_a_recovery_code_of_somebody_else_is_none(
        self, house: Any, door: Any, enrol: Callable[..., Any]
    ) -> None:
        enrol(door.client())
        house.user("bert")
        _, foreign = enrol(door.client("bert"))
        assert code_of(door(totp_code=foreign[0])) == (401, "INVALID_CREDENTIALS")
        assert code_of(door("bert", totp_code=foreign[0])) == (200, "OK")

    @pytest.mark.parametrize("kind", ["authenticator", "recovery"])
    def test_of_fifty_logins_at_once_with_one_code_one_gets_in(
        self,
        door: Any,
        enrol: Callable[..., Any],
        at_once: Callable[..., list[Any]],
        kind: str,
    ) -> None:
        authenticator, codes = enrol(door.client())
        code = authenticator.code() if kind == "authenticator" else codes[0]
        calls = [lambda n=n: door.outcomes(totp_code=code, ip=f"192.0.2.{n}") for n in range(50)]
        assert sorted(at_once(calls)) == ["INVALID_CREDENTIALS"] * 49 + ["OK"]

    def test_a_code_of_a_login_that_fails_at_the_password_is_not_used_up(
        self, door: Any, enrol: Callable[..., Any]
    ) -> None:
        _, codes = enrol(door.client())
        door("anna", "wrong", totp_code=codes[0])
        assert code_of(door(totp_code=codes[0])) == (200, "OK")

    def test_missing_and_wrong_codes_count_as_failures(self, door: Any, enrol: Callable[..., Any]) -> None:
        authenticator, _ = enrol(door.client())
        for _ in range(3):
            assert door.outcomes() == "TOTP_REQUIRED"
        for _ in range(2):
            assert door.outcomes(totp_code=authenticator.wrong()) == "INVALID_CREDENTIALS"
        assert door.outcomes(totp_code=authenticator.code()) == "RATE_LIMITED"

    def test_a_code_is_ignored_where_none_is_needed(self, door: Any) -> None:
        assert door(totp_code="123456").status_code == 200

    def test_an_api_key_needs_none(self, house: Any, door: Any, enrol: Callable[..., Any]) -> None:
        client = door.client()
        key = house.key_text(client)
        enrol(client)
        assert door.send({"api_key": key}).status_code == 200

    def test_a_secret_of_another_key_is_an_error_and_recovery_codes_still_work(
        self, house: Any, door: Any, enrol: Callable[..., Any], anna: int
    ) -> None:
        authenticator, codes = enrol(door.client())
        with house.panel.database.atomic():
            User.update(totp_secret="not ours").execute()
        assert code_of(door(totp_code=authenticator.code())) == (500, "SECRET_UNREADABLE")
        assert code_of(door(totp_code=codes[0])) == (200, "OK")

    def test_a_second_factor_confirmed_while_the_password_is_compared_is_asked_for(
        self, house: Any, door: Any, enrol: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = door.client()
        original, begun = User.log_in, []

        def enrolled_first(checked: Any, columns: Any) -> bool:
            if not begun:
                begun.append(True)
                with house.panel.database.atomic():
                    User.update(totp_secret="x", totp_confirmed_at=checked.created_at).execute()
            return original(checked, columns)

        monkeypatch.setattr(User, "log_in", enrolled_first)
        assert door.outcomes() == "TOTP_REQUIRED"
        assert client.get("/api/auth/sessions").status_code == 200


class TestDisabling:
    @pytest.mark.parametrize("kind", ["authenticator", "recovery"])
    def test_it_takes_a_code_and_leaves_nothing(
        self, house: Any, door: Any, enrol: Callable[..., Any], anna: int, kind: str
    ) -> None:
        client = door.client()
        authenticator, codes = enrol(client)
        code = authenticator.code() if kind == "authenticator" else codes[0]
        answer = client.delete(ME, json={"code": code})
        assert (answer.status_code, answer.get_json()) == (200, {"message": "Second factor disabled"})
        assert door().status_code == 200
        row = house.row(anna)
        assert (row.totp_secret, row.totp_confirmed_at, row.totp_last_step) == (None, None, None)
        with house.panel.database.session():
            assert RecoveryCode.select().count() == 0
        assert client.post(ME).status_code == 200

    def test_old_recovery_codes_are_none_of_a_new_one(self, door: Any, enrol: Callable[..., Any]) -> None:
        client = door.client()
        _, old = enrol(client)
        client.delete(ME, json={"code": old[0]})
        enrol(client)
        assert code_of(door(totp_code=old[1])) == (401, "INVALID_CREDENTIALS")

    def test_there_must_be_something_to_disable(self, door: Any) -> None:
        client = door.client()
        assert code_of(client.delete(ME, json={"code": "123456"})) == (409, "TOTP_NOT_ENABLED")
        client.post(ME)
        assert code_of(client.delete(ME, json={"code": "123456"})) == (409, "TOTP_NOT_ENABLED")

    def test_a_used_code_disables_nothing(self, door: Any, enrol: Callable[..., Any]) -> None:
        client = door.client()
        authenticator, _ = enrol(client)
        code = authenticator.code()
        door(totp_code=code)
        assert code_of(client.delete(ME, json={"code": code})) == (400, "INVALID_CODE")

    @pytest.mark.parametrize("step", ["confirm", "disable"])
    def test_wrong_codes_count_like_failed_logins(
        self,
        door: Any,
        enrol: Callable[..., Any],
        clock: Any,
        authenticator_of: Callable[[str], Any],
        step: str,
    ) -> None:
        client = door.client()
        if step == "confirm":
            authenticator = authenticator_of(client.post(ME).get_json()["secret"])
            method, path = "POST", f"{ME}/confirm"
        else:
            authenticator, _ = enrol(client)
            method, path = "DELETE", ME
        wrong, right = {"code": authenticator.wrong()}, {"code": authenticator.code()}
        answers = [code_of(client.open(method, path, json=wrong)) for _ in range(5)]
        assert answers == [(400, "INVALID_CODE")] * 5
        refused = client.open(method, path, json=right)
        assert code_of(refused) == (429, "RATE_LIMITED")
        assert int(refused.headers["Retry-After"]) > 0
        assert door.outcomes() == "RATE_LIMITED"

    def test_a_right_code_leaves_the_failed_logins(self, door: Any, enrol: Callable[..., Any]) -> None:
        client = door.client()
        for _ in range(4):
            door("anna", "wrong")
        enrol(client)
        assert door.outcomes("anna", "wrong") == "INVALID_CREDENTIALS"
        assert door.outcomes("anna", "wrong") == "RATE_LIMITED"

    def test_an_administrator_can_reset_it(
        self, house: Any, door: Any, enrol: Callable[..., Any], anna: int
    ) -> None:
        _, codes = enrol(door.client())
        totp = house.service(TOTP)
        with house.panel.database.atomic():
            assert totp.reset(anna) is True
            assert totp.reset(anna) is False
        assert door().status_code == 200
        with house.panel.database.session():
            assert not RecoveryCode.use(anna, _recovery_hash(codes[0]))


class TestRecord:
    def test_each_step_has_its_name(self, door: Any, enrol: Callable[..., Any], notebook: Any) -> None:
        client = door.client()
        authenticator, _ = enrol(client)
        client.delete(ME, json={"code": authenticator.code()})
        found = [(request.action, request.resource_type) for request, _ in notebook.finished[1:]]
        assert found == [
            ("users.totp.enrol", "user"),
            ("users.totp.confirm", "user"),
            ("users.totp.disable", "user"),
        ]

    def test_no_secret_and_no_code_is_in_a_log_or_a_record(
        self,
        door: Any,
        clock: Any,
        authenticator_of: Callable[[str], Any],
        notebook: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        client = door.client()
        secret = client.post(ME).get_json()["secret"]
        code = authenticator_of(secret).code()
        codes = client.post(f"{ME}/confirm", json={"code": code}).get_json()["recovery_codes"]
        door(totp_code=codes[0])
        text = caplog.text + repr(notebook.finished) + repr(Enrolment(secret, secret))
        assert not any(one in text for one in [secret, *codes])


@given(st.integers(0, 2**32))
def test_recovery_codes_are_the_same_however_they_are_typed(seed: int) -> None:
    code = _new_recovery_code()
    typed = code.upper().replace("-", " " * (seed % 3))
    assert _recovery_hash(typed) == _recovery_hash(code)
    assert re.fullmatch(r"[a-z2-7]{16}", _plain(code))
