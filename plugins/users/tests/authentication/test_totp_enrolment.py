"""The second factor is set up, and confirmed once."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from flatrun_core.testing.client import ADMIN_KEY, ApiClient
from flatrun_users.models import LoginSession, RecoveryCode, User
from flatrun_users.sessions import SESSIONS
from flatrun_users.totp import _plain

PASSWORD = "correct horse battery"
ME = "/api/users/me/totp"


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json().get("code", "OK")


class TestEnrolment:
    def test_the_secret_is_told_once_and_has_no_effect_until_it_is_confirmed(self, door: Any) -> None:
        client = door.client()
        answer = client.post(ME).get_json()
        assert set(answer) == {"secret", "otpauth_uri"}
        uri = urlsplit(answer["otpauth_uri"])
        assert (uri.scheme, uri.netloc, unquote(uri.path)) == ("otpauth", "totp", "/Flatrun:anna")
        assert parse_qs(uri.query)["secret"] == [answer["secret"]]
        assert parse_qs(uri.query)["issuer"] == ["Flatrun"]
        assert door().status_code == 200

    def test_the_first_code_confirms_it_and_answers_ten_recovery_codes(
        self, door: Any, enrol: Callable[..., Any], house: Any
    ) -> None:
        _, codes = enrol(door.client())
        assert len(set(codes)) == 10
        assert all(re.fullmatch(r"([a-z2-7]{4}-){3}[a-z2-7]{4}", code) for code in codes)
        assert door.outcomes() == "TOTP_REQUIRED"

    def test_what_is_stored_gives_neither_the_secret_nor_a_code(
        self, door: Any, house: Any, anna: int, clock: Any, authenticator_of: Callable[[str], Any]
    ) -> None:
        client = door.client()
        secret = client.post(ME).get_json()["secret"]
        with house.panel.database.session():
            pending = [row.totp_pending for row in LoginSession.select()]
        assert secret not in str(pending)
        code = authenticator_of(secret).code()
        codes = client.post(f"{ME}/confirm", json={"code": code}).get_json()["recovery_codes"]
        with house.panel.database.session():
            rows = [*RecoveryCode.select(), *LoginSession.select()]
            stored = str([row.__data__ for row in [User.get_by_id(anna), *rows]])
        assert secret not in stored
        assert not any(code in stored or _plain(code) in stored for code in codes)

    def test_beginning_again_replaces_what_was_not_confirmed(
        self, door: Any, clock: Any, authenticator_of: Callable[[str], Any]
    ) -> None:
        client = door.client()
        old = authenticator_of(client.post(ME).get_json()["secret"])
        new = authenticator_of(client.post(ME).get_json()["secret"])
        assert code_of(client.post(f"{ME}/confirm", json={"code": old.code()})) == (400, "INVALID_CODE")
        assert code_of(client.post(f"{ME}/confirm", json={"code": new.code()})) == (200, "OK")

    def test_what_is_set_up_is_not_replaced_until_it_is_disabled(
        self, door: Any, enrol: Callable[..., Any]
    ) -> None:
        client = door.client()
        authenticator, _ = enrol(client)
        assert code_of(client.post(ME)) == (409, "TOTP_ENABLED")
        answer = client.post(f"{ME}/confirm", json={"code": authenticator.code()})
        assert code_of(answer) == (409, "TOTP_ENABLED")

    def test_there_must_be_something_to_confirm(self, door: Any) -> None:
        answer = door.client().post(f"{ME}/confirm", json={"code": "123456"})
        assert code_of(answer) == (409, "TOTP_NOT_STARTED")

    def test_two_confirmations_at_once_answer_codes_once(
        self,
        door: Any,
        house: Any,
        clock: Any,
        authenticator_of: Callable[[str], Any],
        at_once: Callable[..., list[Any]],
    ) -> None:
        client = door.client()
        code = authenticator_of(client.post(ME).get_json()["secret"]).code()
        answers = at_once([lambda: client.post(f"{ME}/confirm", json={"code": code})] * 4)
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
        with house.panel.database.session():
            assert RecoveryCode.select().count() == 10

    def test_a_secret_belongs_to_the_session_that_asked_for_it(
        self, door: Any, clock: Any, authenticator_of: Callable[[str], Any]
    ) -> None:
        mine, other = door.client(), door.client()
        authenticator = authenticator_of(mine.post(ME).get_json()["secret"])
        code = {"code": authenticator.code()}
        assert code_of(other.post(f"{ME}/confirm", json=code)) == (409, "TOTP_NOT_STARTED")
        theirs = authenticator_of(other.post(ME).get_json()["secret"])
        assert code_of(other.post(f"{ME}/confirm", json=code)) == (400, "INVALID_CODE")
        assert code_of(mine.post(f"{ME}/confirm", json={"code": theirs.code()})) == (400, "INVALID_CODE")
        assert code_of(mine.post(f"{ME}/confirm", json=code)) == (200, "OK")
        clock.moment += 30
        assert door(totp_code=theirs.code()).status_code == 401
        assert door(totp_code=authenticator.code()).status_code == 200

    def test_confirming_ends_every_other_session_and_leaves_this_one_and_the_keys(
        self, house: Any, door: Any, enrol: Callable[..., Any]
    ) -> None:
        mine, other = door.client(), door.client()
        key = house.key_text(mine)
        of_key, stranger = house.session_of_key(key), house.person("bert")
        enrol(mine)
        sessions = mine.get("/api/auth/sessions").get_json()["sessions"]
        assert [one["current"] for one in sessions] == [True]
        assert [client.get("/api/users/me").status_code for client in (other, of_key)] == [401, 401]
        again = house.session_of_key(key)
        for client in (stranger, ApiClient(house.app, key), again):
            assert client.get("/api/users/me").status_code == 200
        assert len(mine.get("/api/auth/sessions").get_json()["sessions"]) == 2
        assert again.post("/api/auth/logout").status_code == 200

    def test_a_wrong_code_ends_no_session(
        self, door: Any, clock: Any, authenticator_of: Callable[[str], Any]
    ) -> None:
        mine, other = door.client(), door.client()
        authenticator = authenticator_of(mine.post(ME).get_json()["secret"])
        answer = mine.post(f"{ME}/confirm", json={"code": authenticator.wrong()})
        assert code_of(answer) == (400, "INVALID_CODE")
        assert other.get("/api/users/me").status_code == 200

    @pytest.mark.parametrize("step", ["enrol", "confirm"])
    def test_a_session_that_ends_during_its_request_sets_nothing_up(
        self,
        house: Any,
        door: Any,
        clock: Any,
        authenticator_of: Callable[[str], Any],
        monkeypatch: pytest.MonkeyPatch,
        step: str,
    ) -> None:
        stolen = door.client()
        code = authenticator_of(stolen.post(ME).get_json()["secret"]).code()
        original = User.one

        def ended_first(user_id: int, *, lock: bool = False) -> Any:
            if lock:
                house.service(SESSIONS).revoke_of_user(user_id)
            return original(user_id, lock=lock)

        monkeypatch.setattr(User, "one", ended_first)
        path = ME if step == "enrol" else f"{ME}/confirm"
        assert code_of(stolen.post(path, json={"code": code})) == (401, "INVALID_TOKEN")
        assert door.outcomes() == "OK"

    def test_only_accounts_that_logged_in_have_one(self, house: Any, door: Any, make_house: Any) -> None:
        key = house.key_text(door.client())
        clients = [ApiClient(house.app, key), house.session_of_key(key), ApiClient(house.app, ADMIN_KEY)]
        clients.append(house.session_of_key(ADMIN_KEY))
        for client in clients:
            for method, path in (("POST", ME), ("POST", f"{ME}/confirm"), ("DELETE", ME)):
                answer = client.open(method, path, json={"code": "123456"})
                assert code_of(answer) == (400, "ACCOUNT_REQUIRED"), (method, path)

    def test_without_authentication_nobody_has_one(self, make_house: Any) -> None:
        house = make_house(deployments=False, **{"auth.enabled": False})
        assert code_of(ApiClient(house.app, None).post(ME)) == (400, "ACCOUNT_REQUIRED")

    @pytest.mark.parametrize("body", [{}, {"code": 123456}, {"code": None}, {"code": ""}, {"code": "1" * 65}])
    def test_a_code_is_text(self, door: Any, body: Any) -> None:
        client = door.client()
        assert client.post(f"{ME}/confirm", json=body).status_code == 400
        assert client.delete(ME, json=body).status_code == 400
