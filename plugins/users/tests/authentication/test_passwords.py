"""Passwords: what may be one, what is kept of it, and what a comparison costs."""

import threading
from typing import Any

import argon2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_core import Invalid
from flatrun_users import passwords
from flatrun_users.passwords import Passwords, check_password


class Counting(argon2.PasswordHasher):
    """Counts computations, how many run at once, and waits for others when told."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**{"time_cost": 1, "memory_cost": 8, "parallelism": 1, **parameters})
        self.done = 0
        self.running = 0
        self.most = 0
        self.gate: threading.Barrier | None = None
        self._lock = threading.Lock()

    def verify(self, hash: Any, password: Any) -> Any:
        with self._lock:
            self.done += 1
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            if self.gate is not None:
                self.gate.wait(30)
            return super().verify(hash, password)
        finally:
            with self._lock:
                self.running -= 1


def test_passwords_are_hashed_by_argon2id_with_the_parameters_of_the_library() -> None:
    kept = Passwords().hash("correct horse")
    parameters = argon2.extract_parameters(kept)
    assert parameters == argon2.PasswordHasher()._parameters
    assert parameters.type is argon2.Type.ID


def test_the_same_password_is_kept_differently_each_time_and_matches_only_itself() -> None:
    service = Passwords(Counting())
    one, other = service.hash("correct horse"), service.hash("correct horse")
    assert one != other
    assert service.matches(one, "correct horse")
    assert not service.matches(one, "correct horsf")


@given(st.text(min_size=8, max_size=256))
def test_whatever_may_be_a_password_matches_itself_and_nothing_longer(text: str) -> None:
    service = Passwords(Counting())
    try:
        kept = service.hash(check_password(text))
    except Invalid:
        assert any(0xD800 <= ord(char) <= 0xDFFF for char in text)
        return
    assert service.matches(kept, text)
    assert not service.matches(kept, text + "x")


@pytest.mark.parametrize("text", ["", "seven77", "x" * 257, "surrogate \ud800"])
def test_what_may_be_no_password_is_refused_with_one_sentence(text: str) -> None:
    with pytest.raises(Invalid, match="8 to 256 characters") as caught:
        check_password(text)
    assert caught.value.code == "WEAK_PASSWORD"


@pytest.mark.parametrize("text", ["eight888", "x" * 256, "пароль-пароль", "with spaces in it"])
def test_what_may_be_a_password_is_answered_as_it_is(text: str) -> None:
    assert check_password(text) == text


@pytest.mark.parametrize("text", ["x" * 257, "x" * 1_000_000, "surrogate \ud800"])
def test_what_can_be_no_password_is_never_hashed_and_costs_the_same_to_compare(text: str) -> None:
    hasher = Counting()
    service = Passwords(hasher)
    kept = service.hash("correct horse")
    with pytest.raises(ValueError, match="no account"):
        service.hash(text)
    assert not service.matches(kept, text)
    assert hasher.done == 1


def test_nobodys_password_costs_what_a_real_one_costs() -> None:
    hasher = Counting()
    service = Passwords(hasher)
    made_up = service._nobodys
    service.spend()
    assert hasher.done == 1
    assert argon2.extract_parameters(made_up) == argon2.extract_parameters(service.hash("correct horse"))


def test_a_hash_that_is_none_matches_nothing() -> None:
    service = Passwords(Counting())
    for kept in ("", "!", "$argon2id$v=19$broken", "correct horse"):
        assert not service.matches(kept, "correct horse")


def test_a_hash_of_other_parameters_is_outdated() -> None:
    old, new = Passwords(Counting()), Passwords(Counting(time_cost=2))
    kept = old.hash("correct horse")
    assert not old.outdated(kept)
    assert new.outdated(kept)
    assert new.matches(kept, "correct horse")


def test_a_variant_that_is_not_argon2id_is_refused() -> None:
    with pytest.raises(ValueError, match="argon2id only"):
        Passwords(argon2.PasswordHasher(type=argon2.Type.I))


def test_no_more_run_at_once_than_there_are_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords.os, "sched_getaffinity", lambda _: {0, 1, 2})
    hasher = Counting()
    hasher.gate = threading.Barrier(3)
    service = Passwords(hasher)
    threads = [threading.Thread(target=service.spend) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (hasher.done, hasher.most) == (12, 3)
