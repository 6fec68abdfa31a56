"""When a certificate is due, for lifetimes of a day, a week and three months."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_certificates.backoff import LONGEST, SHORTEST, wait_after
from flatrun_certificates.due import days_left, every, plan, renewal_at, status
from flatrun_core.ports.certificates import Certificate

START = datetime(2026, 1, 1, tzinfo=UTC)
LIFETIMES = st.timedeltas(timedelta(hours=1), timedelta(days=400))
FINGERPRINTS = st.text("0123456789abcdef", min_size=4, max_size=64)


def certificate(lifetime: timedelta, fingerprint: str = "ab") -> Certificate:
    path = Path("/none")
    return Certificate("n", ("a.example.com",), "i", START, START + lifetime, path, path, path, fingerprint)


@pytest.mark.parametrize("days", [1, 6, 45, 90])
def test_it_is_due_after_two_thirds_of_its_lifetime(days: int) -> None:
    one = certificate(timedelta(days=days))
    assert plan(one, START + timedelta(days=days * 0.66)).due is False
    assert plan(one, START + timedelta(days=days * 0.70)).due is True


@given(lifetime=LIFETIMES, fingerprint=FINGERPRINTS, days=st.integers(0, 3650))
def test_it_is_never_due_before_half_of_its_lifetime_nor_after_its_end(
    lifetime: timedelta, fingerprint: str, days: int
) -> None:
    at = renewal_at(certificate(lifetime, fingerprint), days, None)
    assert START + lifetime / 2 <= at < START + lifetime
    assert renewal_at(certificate(lifetime, fingerprint), days, None) == at


def test_different_certificates_of_one_moment_are_not_due_at_one_moment() -> None:
    moments = {plan(certificate(timedelta(days=90), str(number)), START).at for number in range(50)}
    assert len(moments) > 40


def test_days_before_the_end_replace_the_authoritys_window() -> None:
    window = START + timedelta(days=10)
    one = certificate(timedelta(days=90))
    assert plan(one, START, window=window).at == window
    assert plan(one, START, window=window, threshold_days=30).at == START + timedelta(days=60)
    assert plan(one, START, threshold_days=3650).at == START + timedelta(days=45)


def test_a_certificate_of_the_future_is_not_due_but_a_sign_of_a_wrong_clock() -> None:
    found = plan(
        certificate(timedelta(days=90)), START - timedelta(days=365), window=START - timedelta(days=900)
    )
    assert found.due is False
    assert "clock" in found.clock
    assert plan(certificate(timedelta(days=90)), START - timedelta(minutes=30)).clock == ""


@pytest.mark.parametrize(
    ("after", "due", "expected"),
    [(1, False, "valid"), (61, True, "expiring"), (91, True, "expired"), (91, False, "expired")],
)
def test_the_status_is_one_word(after: int, due: bool, expected: str) -> None:
    assert status(certificate(timedelta(days=90)), START + timedelta(days=after), due) == expected


@pytest.mark.parametrize(("hours", "days"), [(47, 1), (24, 1), (23, 0), (0, 0), (-1, -1), (-25, -2)])
def test_days_are_whole_and_rounded_down(hours: int, days: int) -> None:
    assert days_left(START + timedelta(hours=hours), START) == days


@given(lifetime=LIFETIMES, interval=st.timedeltas(timedelta(minutes=1), timedelta(days=30)))
def test_a_short_life_is_looked_at_several_times_before_its_end(
    lifetime: timedelta, interval: timedelta
) -> None:
    between = every(interval, lifetime)
    assert between <= interval
    assert between * 5 <= lifetime / 3
    assert every(interval, None) == interval


@given(failures=st.integers(0, 10_000), share=st.floats(0, 1))
def test_the_wait_grows_to_a_day_and_no_further(failures: int, share: float) -> None:
    wait = wait_after(failures, lambda: share)
    assert SHORTEST <= wait <= LONGEST


def test_the_wait_doubles_and_is_not_the_same_for_everybody() -> None:
    waits = [wait_after(number, lambda: 0.0) for number in range(1, 14)]
    assert waits[:4] == [timedelta(minutes=minutes) for minutes in (1, 2, 4, 8)]
    assert waits[-1] == LONGEST
    assert wait_after(5, lambda: 1.0) < wait_after(5, lambda: 0.0)
