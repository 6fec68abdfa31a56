"""CAA records as RFC 8659 and RFC 8657 have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_certificates.caa import Caa, refusal, relevant

US = ("ca.example", "other-name.example")


def issue(value: str, *, flags: int = 0, tag: str = "issue") -> Caa:
    return Caa(flags, tag, value)


@pytest.mark.parametrize(
    "records",
    [
        [],
        [issue("ca.example")],
        [issue("CA.Example.")],
        [issue(" ca.example ; account=1")],
        [issue("elsewhere.example"), issue("other-name.example")],
        [issue("mailto:a@b.test", tag="iodef")],
        [issue("x", tag="novelty")],
        [issue(";", tag="issuewild")],
        [issue("ca.example; validationmethods=dns-01,http-01")],
        [issue("ca.example", tag="ISSUE", flags=128)],
    ],
)
def test_an_authority_that_may_issue(records: list[Caa]) -> None:
    assert refusal(records, US, "http-01", wildcard=False) is None


@pytest.mark.parametrize(
    ("records", "who"),
    [
        ([issue(";")], ()),
        ([issue("")], ()),
        ([issue("elsewhere.example")], ("elsewhere.example",)),
        ([issue("notca.example"), issue("ca.example.evil")], ("notca.example", "ca.example.evil")),
        ([issue("ca.example; validationmethods=dns-01")], ("ca.example",)),
        ([issue("ca.example"), issue("x", tag="novelty", flags=128)], ()),
    ],
)
def test_an_authority_that_may_not_issue(records: list[Caa], who: tuple[str, ...]) -> None:
    assert refusal(records, US, "http-01", wildcard=False) == who


def test_a_wildcard_goes_by_its_own_tag_if_there_is_one() -> None:
    both = [issue("ca.example"), issue(";", tag="issuewild")]
    assert refusal(both, US, "dns-01", wildcard=True) == ()
    assert refusal(both, US, "dns-01", wildcard=False) is None
    assert refusal([issue("elsewhere.example")], US, "dns-01", wildcard=True) == ("elsewhere.example",)
    only = [issue("elsewhere.example"), issue("ca.example", tag="issuewild")]
    assert refusal(only, US, "dns-01", wildcard=True) is None


def test_an_authority_without_a_name_is_refused_only_where_nobody_may_issue() -> None:
    assert refusal([issue("elsewhere.example")], (), "http-01", wildcard=False) is None
    assert refusal([issue(";")], (), "http-01", wildcard=False) == ()


def test_records_are_looked_for_from_the_name_up() -> None:
    asked = []

    def records(name: str) -> list[Caa]:
        asked.append(name)
        return [issue("ca.example")] if name == "example.test" else []

    assert relevant("a.b.example.test.", records) == ("example.test", [issue("ca.example")])
    assert asked == ["a.b.example.test", "b.example.test", "example.test"]
    assert relevant("other.net", lambda _: []) == ("", [])


@given(st.lists(st.builds(Caa, st.integers(0, 255), st.text(), st.text())), st.booleans())
def test_whatever_stands_in_a_zone_is_judged_and_never_fails(records: list[Caa], wildcard: bool) -> None:
    answer = refusal(records, US, "http-01", wildcard=wildcard)
    assert answer is None or all(answer)


@given(st.text())
def test_only_the_name_before_the_parameters_counts(more: str) -> None:
    assert Caa(0, "issue", f"ca.example;{more}").issuer == "ca.example"
