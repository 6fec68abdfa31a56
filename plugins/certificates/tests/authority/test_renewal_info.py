"""What the authority says about renewal and about itself, and what of it is believed."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_certificates import renewal_info
from flatrun_certificates.renewal_info import Directories, Window, ask, authority_caa_names, moment, wait_of

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
UTC_TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001

HEX = st.text("0123456789abcdef", min_size=1)


@dataclass
class Authority:
    """A directory and renewal information as an authority would answer them."""

    url: str = ""
    directory: Any = field(default_factory=dict)
    info: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    asked: list[str] = field(default_factory=list)

    def page(self, _: str, path: str) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(path)
        if path == "/dir":
            return self.status, {}, json.dumps(self.directory).encode()
        return 200, self.headers, self.info

    def window(self, start: datetime, end: datetime, **more: str) -> None:
        times = {"start": start.isoformat().replace("+00:00", "Z"), "end": end.isoformat()}
        self.info = json.dumps({"suggestedWindow": times, **more}).encode()


@pytest.fixture
def authority(pages: Any) -> Authority:
    made = Authority()
    port = pages.start(made.page)
    made.url = f"http://127.0.0.1:{port}/dir"
    made.directory = {"renewalInfo": f"http://127.0.0.1:{port}/ari/"}
    now = datetime.now(UTC)
    made.window(now + timedelta(days=50), now + timedelta(days=52))
    return made


def test_the_window_is_asked_for_by_the_names_of_key_and_serial(authority: Authority, make_pair: Any) -> None:
    # The example of RFC 9773, section 4.1.
    key_id = bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4")
    pair = make_pair(serial=0x87654321, issuer_key_id=key_id)
    assert ask(authority.url, None, pair.pem, timeout=5) is not None
    assert authority.asked[-1] == "/ari/aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


def test_the_window_and_the_next_question_are_what_was_answered(authority: Authority, make_pair: Any) -> None:
    start = datetime.now(UTC) + timedelta(days=60)
    authority.window(start, start + timedelta(hours=5), explanationURL="https://ca.example/why")
    authority.headers = {"Retry-After": "3600"}
    found = ask(authority.url, None, make_pair().pem, timeout=5)
    assert found is not None
    assert (found.start, found.end) == (start, start + timedelta(hours=5))
    assert found.explanation == "https://ca.example/why"
    assert timedelta(minutes=59) < found.next_poll - datetime.now(UTC) <= timedelta(hours=1)


def test_a_window_in_the_past_means_now_and_is_believed(authority: Authority, make_pair: Any) -> None:
    past = datetime.now(UTC) - timedelta(days=3)
    authority.window(past, past + timedelta(days=1))
    found = ask(authority.url, None, make_pair().pem, timeout=5)
    assert found is not None
    assert moment(found, "ab") < datetime.now(UTC)


def test_a_window_wider_than_the_lifetime_is_cut_to_what_makes_sense(
    authority: Authority, make_pair: Any
) -> None:
    pair = make_pair(days=1, age=0.25)
    begun = pair.leaf.not_valid_before_utc
    authority.window(begun - timedelta(hours=8), begun + timedelta(hours=40))
    found = ask(authority.url, None, pair.pem, timeout=5)
    assert found is not None
    assert (found.start - begun, found.end - begun) == (timedelta(hours=12), timedelta(hours=21.6))


def test_a_window_of_these_hours_is_believed_however_new_the_certificate_is(
    authority: Authority, make_pair: Any
) -> None:
    start = datetime.now(UTC)
    authority.window(start, start + timedelta(hours=2))
    found = ask(authority.url, None, make_pair(age=0.1).pem, timeout=5)
    assert found is not None
    assert (found.start, found.end) == (start, start + timedelta(hours=2))


def test_a_window_that_begins_when_the_certificate_has_nearly_ended_is_none(
    authority: Authority, make_pair: Any
) -> None:
    pair = make_pair(days=10)
    end = pair.leaf.not_valid_after_utc
    authority.window(end - timedelta(hours=1), end + timedelta(hours=1))
    assert ask(authority.url, None, pair.pem, timeout=5) is None


@pytest.mark.parametrize(
    "info",
    [
        b"",
        b"<html>Welcome",
        b"[]",
        b"{}",
        b'{"suggestedWindow": 1}',
        b'{"suggestedWindow": {"start": "2026-01-01T00:00:00Z"}}',
        b'{"suggestedWindow": {"start": "soon", "end": "later"}}',
        b'{"suggestedWindow": {"start": "2026-01-01T00:00:00", "end": "2026-01-02T00:00:00"}}',
        b'{"suggestedWindow": {"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}}',
        b'{"suggestedWindow": {"start": "2026-01-02T00:00:00Z", "end": "2026-01-02T00:00:00Z"}}',
        b'{"suggestedWindow": {"start": "9990-01-01T00:00:00Z", "end": "9991-01-01T00:00:00Z"}}',
        b'{"suggestedWindow": {"start": "0001-01-01T00:00:00+09:00", "end": "2026-01-01T00:00:00Z"}}',
        b'{"suggestedWindow": {"start": "' + b"9" * 5000 + b'", "end": 5}}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'"' + b"x" * 400_000,
    ],
)
def test_nonsense_is_no_window(
    authority: Authority, make_pair: Any, info: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    authority.info = info
    assert ask(authority.url, None, make_pair().pem, timeout=5) is None
    assert "gave no renewal information" in caplog.text


def test_an_authority_without_windows_or_without_sense_is_not_asked_further(
    authority: Authority, make_pair: Any
) -> None:
    for directory in ({}, [], "x", {"renewalInfo": 5}, {"renewalInfo": "no address"}):
        authority.directory = directory
        assert ask(authority.url, None, make_pair().pem, timeout=5) is None
    assert set(authority.asked) == {"/dir"}


def test_an_authority_that_cannot_be_asked_says_nothing(
    authority: Authority, make_pair: Any, listen: Callable[..., int], tmp_path: Any
) -> None:
    silent = listen(lambda connection: connection.recv(10_000) and connection.recv(1))
    broken = listen(lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"))
    (tmp_path / "ca.pem").write_text("no certificate")
    for url, ca_file in (
        ("http://127.0.0.1:1/dir", None),
        (f"http://127.0.0.1:{silent}/dir", ""),
        (f"http://127.0.0.1:{broken}/dir", None),
        (f"https://127.0.0.1:{broken}/dir", None),
        (f"https://127.0.0.1:{broken}/dir", tmp_path / "none.pem"),
        (f"https://127.0.0.1:{broken}/dir", tmp_path / "ca.pem"),
        ("no address at all", None),
    ):
        assert ask(url, ca_file, make_pair().pem, timeout=0.3) is None
        assert authority_caa_names(url, ca_file, timeout=0.3) == ()
    authority.status = 503
    assert ask(authority.url, None, make_pair().pem, timeout=5) is None


def test_certificates_about_which_nothing_may_or_can_be_asked(authority: Authority, make_pair: Any) -> None:
    for pem in (
        make_pair(days=1, age=2).pem,
        make_pair(issuer_key_id=None).pem,
        b"-----BEGIN CERTIFICATE-----\nhalf",
        b"",
    ):
        assert ask(authority.url, None, pem, timeout=5) is None
    assert not [path for path in authority.asked if path != "/dir"]


def test_a_directory_is_fetched_once_in_five_minutes(authority: Authority, make_pair: Any) -> None:
    now = [0.0]
    directories = Directories(lambda: now[0])
    authority.directory["meta"] = {"caaIdentities": ["CA.example.", 5, ""]}
    for second in (0.0, 200.0, 299.0, 301.0):
        now[0] = second
        assert ask(authority.url, None, make_pair().pem, timeout=5, directories=directories)
        names = authority_caa_names(authority.url, None, timeout=5, directories=directories)
        assert names == ("ca.example",)
    assert authority.asked.count("/dir") == 2


@pytest.mark.parametrize("meta", [None, [], {}, {"caaIdentities": "ca.example"}, {"caaIdentities": {}}])
def test_an_authority_that_names_itself_oddly_has_no_name(authority: Authority, meta: Any) -> None:
    authority.directory = {"meta": meta}
    assert authority_caa_names(authority.url, None, timeout=5) == ()


@given(
    UTC_TIMES,
    st.timedeltas(timedelta(seconds=1), timedelta(days=400)),
    st.text("0123456789abcdef", min_size=1),
)
def test_the_moment_is_inside_the_window_and_always_the_same(
    start: datetime, length: timedelta, fingerprint: str
) -> None:
    window = Window(start, start + length, "", start)
    found = moment(window, fingerprint)
    assert start <= found <= start + length
    assert found == moment(window, fingerprint.upper())


def test_moments_of_many_certificates_are_spread_over_the_window() -> None:
    window = Window(NOW, NOW + timedelta(hours=10), "", NOW)
    hours = {int((moment(window, f"{number:064x}") - NOW) / timedelta(hours=1)) for number in range(200)}
    assert hours == set(range(10))


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("3600", timedelta(hours=1)),
        (" 120 ", timedelta(minutes=2)),
        ("0", timedelta(minutes=1)),
        ("-5", timedelta(hours=6)),
        ("9" * 400, timedelta(days=1)),
        ("604800", timedelta(days=1)),
        ("Fri, 01 May 2026 14:00:00 GMT", timedelta(hours=2)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", timedelta(minutes=1)),
        ("", timedelta(hours=6)),
        ("soon", timedelta(hours=6)),
        ("٣", timedelta(hours=6)),
    ],
)
def test_the_time_to_the_next_question(header: str, wanted: timedelta) -> None:
    assert wait_of(header, NOW) == wanted


@given(st.text() | st.integers().map(str))
def test_the_time_to_the_next_question_is_a_minute_to_a_day(header: str) -> None:
    assert renewal_info.SHORTEST_WAIT <= wait_of(header, NOW) <= renewal_info.LONGEST_WAIT
