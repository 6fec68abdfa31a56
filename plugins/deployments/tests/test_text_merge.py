from hypothesis import given
from hypothesis import strategies as st

from flatrun_deployments.text_merge import merge

LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "d\n"]), max_size=8).map("".join)


def test_a_change_is_carried_over_and_the_form_stays() -> None:
    assert merge("a: 1\nb:\nc: 3\n", "a:   1\nb: ~\nc: 3\n", "a: 1\nb:\nc: 4\n") == "a:   1\nb: ~\nc: 4\n"


def test_where_both_differ_the_change_wins() -> None:
    assert merge("a: 1\nb: 2\n", "a:  1\nb: 2\n", "a: 9\nb: 2\n") == "a: 9\nb: 2\n"


@given(LINES, LINES)
def test_no_change_gives_the_original(base: str, original: str) -> None:
    assert merge(base, original, base) == original


@given(LINES, LINES)
def test_an_original_in_the_common_form_gives_the_change(base: str, changed: str) -> None:
    assert merge(base, base, changed) == changed


@given(LINES, LINES, LINES)
def test_any_three_texts_merge_into_their_lines(base: str, original: str, changed: str) -> None:
    merged = merge(base, original, changed).splitlines()
    assert set(merged) <= {*base.splitlines(), *original.splitlines(), *changed.splitlines()}
