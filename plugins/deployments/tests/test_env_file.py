from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_core.errors import Failed, Invalid
from flatrun_deployments import env_file
from flatrun_deployments.env_file import parse, update_text


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("A=1\nB=two\n", {"A": "1", "B": "two"}),
        ("A=1\r\nB=two\r\n", {"A": "1", "B": "two"}),
        ("A=1", {"A": "1"}),
        ("A=", {"A": ""}),
        ("A=a=b", {"A": "a=b"}),
        ("# A=1\n\nB=2\n", {"B": "2"}),
        ("A=x # note\n", {"A": "x"}),
        ("A=x#y\n", {"A": "x#y"}),
        ("A= # note\n", {"A": ""}),
        ("  A = x  \n", {"A": "x"}),
        ("export A=x\n", {"A": "x"}),
        ("A=1\nA=2\n", {"A": "2"}),
        ('A="a b"\n', {"A": "a b"}),
        ('A="a\\nb\\"c\\\\d\\$e"\n', {"A": 'a\nb"c\\d$e'}),
        ('A="a # b" # note\n', {"A": "a # b"}),
        ("A='a $x \\n # b'\n", {"A": "a $x \\n # b"}),
        ('A="two\nlines"\nB=1\n', {"A": "two\nlines", "B": "1"}),
        ('A="open\nB=1\n', {"A": '"open', "B": "1"}),
        ("A=$B ${C}\n", {"A": "$B ${C}"}),
        ("A=C:\\dir\\new\n", {"A": "C:\\dir\\new"}),
        ("1A=x\nA-B=x\n=x\nnothing\n", {}),
        ("\ufeffA=1\n", {"A": "1"}),
    ],
)
def test_a_text_is_read(text: str, values: dict[str, str]) -> None:
    assert parse(text) == values


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("plain", "K=plain"),
        ("", "K="),
        ("two words", "K=two words"),
        ("a=b", "K=a=b"),
        ("C:\\dir", "K=C:\\dir"),
        (" lead", 'K=" lead"'),
        ("trail ", 'K="trail "'),
        ("a\nb", 'K="a\\nb"'),
        ('a"b', 'K="a\\"b"'),
        ("a'b", 'K="a\'b"'),
        ("a#b", 'K="a#b"'),
        ("a$b", 'K="a\\$b"'),
        ('a"\\b', 'K="a\\"\\\\b"'),
        ("\r\t", 'K="\\r\\t"'),
        ("end\\", 'K="end\\\\"'),
    ],
)
def test_a_value_is_written_so_that_it_reads_as_itself(value: str, line: str) -> None:
    assert update_text("", {"K": value}) == line + "\n"
    assert parse(line) == {"K": value}


def test_comments_and_unknown_lines_survive() -> None:
    text = "# head\n\nA=1 # one\nthis is no variable\nB = 'old'\n# tail"
    assert update_text(text, {"B": "new", "C": "3"}) == (
        "# head\n\nA=1 # one\nthis is no variable\nB=new\n# tail\nC=3\n"
    )


def test_what_is_set_to_what_it_is_stays_as_written() -> None:
    text = "A = 'x' # quoted\r\n"
    assert update_text(text, {"A": "x"}) == text


def test_removal_takes_every_occurrence_and_setting_the_last() -> None:
    assert update_text("A=1\nB=2\nA=3\n", {"A": None}) == "B=2\n"
    assert update_text("A=1\nB=2\nA=3\n", {"A": "9"}) == "A=1\nB=2\nA=9\n"
    assert update_text("A=1\n", {"B": None}) == "A=1\n"


def test_line_ends_are_those_of_the_file() -> None:
    assert update_text("A=1\r\nB=2", {"A": "x", "C": "3"}) == "A=x\r\nB=2\r\nC=3\r\n"


@pytest.mark.parametrize("key", ["", "1A", "A-B", "A B", "A=", "A\n", "é", "-"])
def test_bad_keys_are_refused(key: str) -> None:
    with pytest.raises(Invalid):
        update_text("", {key: "x"})


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_values_that_no_file_can_hold_are_refused(value: str) -> None:
    with pytest.raises(Invalid):
        update_text("", {"A": value})


KEYS = st.from_regex(env_file.KEY, fullmatch=True).filter(lambda key: len(key) < 30)
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
HARD = st.text(st.sampled_from("ab '\"\\#$\n\r\t=`{}\x0b\x85\u2028"), max_size=12)


@given(st.dictionaries(KEYS, VALUES | HARD, max_size=5))
def test_whatever_is_written_is_read_back(values: dict[str, str]) -> None:
    assert parse(update_text("", dict(values))) == values


@given(
    st.text(st.sampled_from("AB=1 '\"#\\\n\r$x"), max_size=60),
    st.dictionaries(st.sampled_from(["A", "B", "C"]), HARD | st.none()),
)
def test_a_rewrite_changes_what_it_should_and_nothing_else(text: str, changes: dict[str, str | None]) -> None:
    before = parse(text)
    after = parse(update_text(text, changes))
    wanted = {key: value for key, value in {**before, **changes}.items() if value is not None}
    assert {key: after.get(key) for key in wanted} == wanted
    assert after.keys() >= wanted.keys()
    assert all(key not in after for key, value in changes.items() if value is None and key not in wanted)


@given(st.text(max_size=80))
def test_a_rewrite_without_changes_gives_the_same_text(text: str) -> None:
    assert update_text(text, {}) == text


def test_a_file_is_private_and_written_once(tmp_path: Path) -> None:
    path = tmp_path / ".env.flatrun"
    env_file.update(path, {})
    assert not path.exists()
    env_file.update(path, {"A": "1"})
    assert path.stat().st_mode & 0o777 == 0o600
    assert env_file.read(path) == {"A": "1"}
    inode = path.stat().st_ino
    env_file.update(path, {"A": "1"})
    assert path.stat().st_ino == inode


def test_bytes_that_are_no_text_survive(tmp_path: Path) -> None:
    path = tmp_path / ".env.flatrun"
    path.write_bytes(b"# caf\xe9\nA=\xff\n")
    env_file.update(path, {"B": "2"})
    assert path.read_bytes() == b"# caf\xe9\nA=\xff\nB=2\n"


def test_an_odd_file_is_refused_without_waiting(tmp_path: Path) -> None:
    import os

    path = tmp_path / ".env.flatrun"
    os.mkfifo(path)
    with pytest.raises(Failed) as caught:
        env_file.read(path)
    assert caught.value.code == "ENV_UNREADABLE"


def test_an_absent_file_has_no_variables(tmp_path: Path) -> None:
    assert env_file.read(tmp_path / "none") == {}
