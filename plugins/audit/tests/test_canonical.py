"""The text that hashes are taken over."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_audit.canonical import (
    ZERO,
    Entry,
    canonical,
    hash_of,
    metadata_text,
    microseconds,
    moment_of,
    moment_text,
    sealed,
    text_of,
)
from flatrun_audit.texts import clean, clean_lines

TEXT = st.text(max_size=20)
FACTS = st.dictionaries(
    TEXT, st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | TEXT, st.lists)
)
ENTRIES = st.builds(
    Entry,
    **{
        name: {
            int: st.integers(0, 2**53),
            bool: st.booleans(),
        }.get(kind, TEXT)
        for name, kind in Entry.__annotations__.items()
        if name not in ("metadata", "timestamp")
    },
    metadata=FACTS.map(metadata_text),
    timestamp=st.integers(0, 2**52),
)


@given(ENTRIES)
def test_the_text_is_what_any_json_program_makes_of_the_event_with_sorted_keys(entry: Entry) -> None:
    event = json.loads(text_of(entry))
    assert canonical(event) == text_of(entry)
    assert event.pop("hash") == entry.hash
    assert hashlib.sha256(canonical(event).encode("ascii")).hexdigest() == hash_of(entry)
    assert sorted(event) == list(event)


def other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return value + ("x" if isinstance(value, str) else 1)


@given(ENTRIES, st.sampled_from([name for name in Entry._fields if name != "hash"]))
def test_no_field_can_change_without_the_hash(entry: Entry, name: str) -> None:
    changed = entry._replace(**{name: other(getattr(entry, name))})
    assert hash_of(changed) != hash_of(entry)


def test_an_example_to_check_other_programs_against() -> None:
    entry = Entry(
        action="deployments.create", actor_id="1", actor_name="admin", actor_type="user",
        api_key_prefix="", client_ip="203.0.113.7", error_message="",
        event_id="7f9c24e8-3b12-4f6a-9d1e-5c8b7a6f0e21", hash="", id=1,
        metadata='{"a":[1,"\\u00e4"]}', method="POST", path="/api/deployments", prev_hash=ZERO,
        request_body='{"name":"bl\u00fcten"}', request_id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        resource_id="blog", resource_type="deployment", response_status=201, response_time_ms=12,
        success=True, timestamp=1_704_067_200_000_042, user_agent="curl/8.5.0",
    )  # fmt: skip
    assert sealed(entry).hash == "3934bf1abdd33bb685bda692a8671125faccadbd2268c47e1dbae5877881f183"


MOMENTS = st.datetimes(timezones=st.just(UTC)).filter(lambda moment: moment.year >= 1970)


@given(MOMENTS)
def test_times_have_six_digits_and_come_back(moment: datetime) -> None:
    text = moment_text(microseconds(moment))
    assert len(text) == 27
    assert datetime.fromisoformat(text) == moment == moment_of(microseconds(moment))


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({}, "{}"),
        ({"b": 1, "a": [True, None]}, '{"a":[true,null],"b":1}'),
        ({"x": 0.5, "y": float("nan"), "z": 2**53 + 1}, '{"x":"0.5","y":"nan","z":"9007199254740993"}'),
        ({"at": datetime(2024, 1, 1, tzinfo=UTC)}, '{"at":"2024-01-01T00:00:00.000000Z"}'),
        ({"s": {"b", "a"}, "t": (1,)}, '{"s":["a","b"],"t":[1]}'),
        ({"lone": "\ud800"}, '{"lone":"?"}'),
        ({"big": "x" * 20_000}, '{"left_out":"20010 characters"}'),
    ],
)
def test_facts_become_json_that_every_program_reads_alike(facts: dict[str, Any], text: str) -> None:
    assert metadata_text(facts) == text


def test_facts_that_hold_themselves_are_kept_as_far_as_they_go() -> None:
    facts: dict[str, Any] = {}
    facts["again"] = facts
    assert metadata_text(facts).startswith('{"again":{"again":')


@given(st.text(st.characters(codec=None)))
def test_cleaned_text_can_be_kept_and_shown(text: str) -> None:
    for cleaned in (clean(text, 50), clean_lines(text)):
        cleaned.encode()
        assert "\0" not in cleaned
        assert "\x1b" not in cleaned
    assert len(clean(text, 5)) <= 5
