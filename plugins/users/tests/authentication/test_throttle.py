"""Failed logins: how many are let through, from where, and for how long the others wait."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_core import RateLimited
from flatrun_users.models import LoginAttempt
from flatrun_users.passwords import Passwords
from flatrun_users.throttle import KEYS, OF_ADDRESS, THROTTLE, Throttle, name_of, source_of

KEY = "flatrun_" + "x" * 43


@pytest.fixture
def throttle(house: Any) -> Throttle:
    found: Throttle = house.service(THROTTLE)
    return found


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every password that was really compared."""
    seen: list[str] = []
    original = Passwords.matches

    def matches(self: Passwords, kept: str, text: str) -> bool:
        seen.append(text)
        return original(self, kept, text)

    monkeypatch.setattr(Passwords, "matches", matches)
    return seen


def attempts(house: Any) -> int:
    with house.panel.database.session():
        return int(LoginAttempt.select().count())


def test_the_sixth_failure_in_five_minutes_is_not_even_compared(door: Any, compared: list[str]) -> None:
    codes = [door.outcomes("anna", f"wrong-{n}") for n in range(7)]
    assert codes == ["INVALID_CREDENTIALS"] * 5 + ["RATE_LIMITED"] * 2
    assert compared == [f"wrong-{n}" for n in range(5)]


def test_the_right_password_waits_too(door: Any) -> None:
    for _ in range(5):
        door("anna", "wrong")
    answer = door("anna")
    assert (answer.status_code, answer.get_json()["code"]) == (429, "RATE_LIMITED")
    assert 0 < int(answer.headers["Retry-After"]) <= 300


def test_when_to_try_again_is_when_the_oldest_failure_is_five_minutes_old(
    door: Any, later: Callable[[timedelta], None]
) -> None:
    door("anna", "wrong")
    later(timedelta(minutes=3))
    for _ in range(4):
        door("anna", "wrong")
    answer = door("anna")
    assert 100 <= int(answer.headers["Retry-After"]) <= 120
    later(timedelta(minutes=2))
    assert door("anna").status_code == 200


def test_refused_attempts_do_not_make_it_longer_and_write_nothing(
    door: Any, house: Any, later: Callable[[timedelta], None]
) -> None:
    for _ in range(20):
        door("anna", "wrong")
    assert attempts(house) == 5
    later(timedelta(minutes=5))
    assert door("anna").status_code == 200


def test_a_success_clears_the_failures_before_it(door: Any) -> None:
    for _ in range(3):
        for _ in range(4):
            assert door.outcomes("anna", "wrong") == "INVALID_CREDENTIALS"
        assert door.outcomes("anna") == "OK"


def test_the_case_of_a_name_makes_no_difference(door: Any) -> None:
    names = ["anna", "Anna", "ANNA", "aNNa", "annA"]
    assert [door.outcomes(name, "wrong") for name in names] == ["INVALID_CREDENTIALS"] * 5
    assert door.outcomes("AnnA") == "RATE_LIMITED"


def test_unknown_names_are_throttled_like_known_ones(door: Any) -> None:
    assert [door.outcomes("nobody", "wrong") for _ in range(6)] == ["INVALID_CREDENTIALS"] * 5 + [
        "RATE_LIMITED"
    ]


def test_nobody_is_locked_out_from_another_address_or_under_another_name(door: Any, house: Any) -> None:
    house.user("bert")
    for _ in range(6):
        door("anna", "wrong", ip="192.0.2.1")
    assert door.outcomes("anna", ip="192.0.2.1") == "RATE_LIMITED"
    assert door.outcomes("anna", ip="192.0.2.2") == "OK"
    assert door.outcomes("bert", ip="192.0.2.1") == "OK"


def test_names_cannot_be_sprayed_from_one_address(door: Any, compared: list[str], house: Any) -> None:
    names = [f"user{n}" for n in range(OF_ADDRESS)]
    for name in names:
        house.user(name)
    assert {door.outcomes(name, "wrong", ip="192.0.2.1") for name in names} == {"INVALID_CREDENTIALS"}
    assert door.outcomes("anna", "wrong", ip="192.0.2.1") == "RATE_LIMITED"
    assert len(compared) == OF_ADDRESS
    assert door.outcomes("anna", ip="192.0.2.2") == "OK"


def test_a_network_of_ipv6_counts_as_one_address(door: Any) -> None:
    for n in range(5):
        door("anna", "wrong", ip=f"2001:db8:1:2::{n}")
    assert door.outcomes("anna", ip="2001:db8:1:2:ffff::1") == "RATE_LIMITED"
    assert door.outcomes("anna", ip="2001:db8:1:3::1") == "OK"


def test_wrong_keys_are_capped_apart_from_passwords(door: Any) -> None:
    codes = [door.send({"api_key": KEY}, ip="192.0.2.1").get_json()["code"] for _ in range(OF_ADDRESS + 1)]
    assert codes == ["INVALID_CREDENTIALS"] * OF_ADDRESS + ["RATE_LIMITED"]
    assert door.outcomes("anna", ip="192.0.2.1") == "OK"


def test_fifty_wrong_guesses_at_once_get_five_tries(
    door: Any, compared: list[str], at_once: Callable[..., list[Any]]
) -> None:
    codes = at_once([lambda n=n: door.outcomes("anna", f"wrong-{n}") for n in range(50)])
    assert sorted(codes) == ["INVALID_CREDENTIALS"] * 5 + ["RATE_LIMITED"] * 45
    assert len(compared) == 5


def test_fifty_right_logins_at_once_all_get_in(
    door: Any, house: Any, at_once: Callable[..., list[Any]]
) -> None:
    answers = at_once([door for _ in range(50)])
    assert [answer.status_code for answer in answers] == [200] * 50
    assert len({answer.get_json()["token"] for answer in answers}) == 50
    assert house.live_sessions() == 50
    assert attempts(house) == 0


def test_fifty_people_of_one_address_all_get_in_at_once(
    door: Any, house: Any, at_once: Callable[..., list[Any]]
) -> None:
    for n in range(50):
        house.user(f"user{n}")
    codes = at_once([lambda n=n: door.outcomes(f"user{n}") for n in range(50)])
    assert codes == ["OK"] * 50


def test_attempts_from_one_address_wait_for_one_another_and_others_do_not(
    house: Any, throttle: Throttle, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived = threading.Semaphore(0)
    take = throttle._turns.take

    def noticed(source: str) -> Any:
        arrived.release()
        return take(source)

    monkeypatch.setattr(throttle._turns, "take", noticed)

    def right() -> None:
        with throttle.attempt("192.0.2.1", "anna") as attempt, house.panel.database.atomic():
            attempt.clear()

    with ThreadPoolExecutor(8) as pool:
        with throttle.attempt("192.0.2.1", "anna") as first:
            assert arrived.acquire(timeout=30)
            waiting = [pool.submit(right) for _ in range(8)]
            for _ in waiting:
                assert arrived.acquire(timeout=30)
            with throttle.attempt("192.0.2.2", "anna"):
                assert not any(one.done() for one in waiting)
            with house.panel.database.atomic():
                first.clear()
        assert [one.exception() for one in waiting] == [None] * 8


def test_processes_that_share_a_database_share_the_five_tries(house: Any, throttle: Throttle) -> None:
    other = Throttle(house.panel.database)
    for n in range(5):
        with (other if n % 2 else throttle).attempt("192.0.2.1", "anna"):
            pass
    with pytest.raises(RateLimited), other.attempt("192.0.2.1", "anna"):
        pass


def test_an_attempt_that_others_overtook_between_look_and_write_is_taken_back(
    house: Any, throttle: Throttle, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = LoginAttempt.create
    other = Throttle(house.panel.database)

    def overtaken(**columns: Any) -> Any:
        monkeypatch.setattr(LoginAttempt, "create", create)
        for _ in range(5):
            with other.attempt("192.0.2.1", "anna"):
                pass
        return create(**columns)

    monkeypatch.setattr(LoginAttempt, "create", overtaken)
    with pytest.raises(RateLimited), throttle.attempt("192.0.2.1", "anna"):
        pass
    assert attempts(house) == 5


def test_an_attempt_counts_as_failed_whatever_ends_it(house: Any, throttle: Throttle) -> None:
    with pytest.raises(ZeroDivisionError), throttle.attempt("192.0.2.1", "anna"):
        raise ZeroDivisionError
    assert attempts(house) == 1


def test_an_attempt_that_was_right_but_no_login_leaves_the_failures(house: Any, throttle: Throttle) -> None:
    with throttle.attempt("192.0.2.1", "anna"):
        pass
    with throttle.attempt("192.0.2.1", "anna") as attempt, house.panel.database.atomic():
        attempt.release()
    assert attempts(house) == 1


def test_unlocking_forgets_the_failures_of_a_name_everywhere(door: Any, throttle: Throttle) -> None:
    for ip in ("192.0.2.1", "192.0.2.2"):
        for _ in range(5):
            door("anna", "wrong", ip=ip)
    door("bert", "wrong", ip="192.0.2.1")
    assert throttle.unlock("Anna") == 10
    assert door.outcomes("anna", ip="192.0.2.1") == "OK"
    assert throttle.unlock("anna") == 0


def test_the_timer_deletes_what_counts_no_more(
    door: Any, house: Any, later: Callable[[timedelta], None], run_timer: Callable[..., None]
) -> None:
    door("anna", "wrong")
    later(timedelta(minutes=5))
    door("anna", "wrong")
    run_timer(house.app, "users.forget_attempts")
    assert attempts(house) == 1


def test_failures_ahead_of_a_clock_that_was_set_back_count_no_more_and_are_deleted(
    door: Any, house: Any, later: Callable[[timedelta], None], run_timer: Callable[..., None]
) -> None:
    for _ in range(5):
        door("anna", "wrong")
    later(timedelta(hours=-2))
    assert door.outcomes("bert", "wrong") == "INVALID_CREDENTIALS"
    run_timer(house.app, "users.forget_attempts")
    assert attempts(house) == 1
    for _ in range(5):
        door("anna", "wrong")
    later(timedelta(hours=-2))
    assert door.outcomes("anna") == "OK"


def test_failures_that_a_panel_whose_clock_is_a_little_ahead_wrote_down_count(
    door: Any, later: Callable[[timedelta], None]
) -> None:
    for _ in range(5):
        door("anna", "wrong")
    later(timedelta(seconds=-40))
    assert door.outcomes("anna") == "RATE_LIMITED"


def test_turns_are_forgotten_when_nobody_waits_for_them(throttle: Throttle) -> None:
    for n in range(10):
        with throttle.attempt(f"192.0.2.{n}", KEYS):
            pass
    assert throttle._turns._locks == {}


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("not an address", "not an address"),
    ],
)
def test_addresses_are_counted_in_one_form(address: str, source: str) -> None:
    assert source_of(address) == source


@given(st.text(), st.text())
def test_whatever_is_counted_fits_its_column(address: str, name: str) -> None:
    assert len(source_of(address)) <= 64
    assert len(name_of(name)) <= 64
