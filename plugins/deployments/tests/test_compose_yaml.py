import json
import resource
import time
from contextlib import suppress
from typing import Any

import pytest
import ruamel.yaml
from hypothesis import example, given
from hypothesis import strategies as st

from flatrun_core.errors import Invalid
from flatrun_core.yaml_writer import write_yaml
from flatrun_deployments.compose_yaml import MAX_TEXT, parse
from flatrun_deployments.yaml_reader import MAX_DEPTH, YamlProblem, read_yaml

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
MAP_LAUGHS = "a0: &a0 {k: x}\n" + "".join(
    f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(10))}}}\n" for n in range(1, 12)
)
MERGE_LAUGHS = "a0: &a0 {k: x}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}], k{n}: y}}\n" for n in range(1, 12)
)
WIDE_MERGE = (
    "a: &a {"
    + ", ".join(f"k{i}: 1" for i in range(1000))
    + "}\nb:\n"
    + "".join(f"  c{i}: {{<<: *a}}\n" for i in range(10000))
)
MEBI = 1 << 20

BOMBS = {
    "laughs by aliases": LAUGHS,
    "laughs by mappings": MAP_LAUGHS,
    "laughs by merge keys": MERGE_LAUGHS,
    "one wide mapping merged ten thousand times": WIDE_MERGE,
    "one mapping merged many times in one place": "a: &a {k: 1}\nb: {<<: [" + "*a, " * 100_000 + "]}",
    "recursive list": "a: &a [*a]",
    "recursive mapping": "a: &a {b: *a}",
    "recursive merge": "a: &a {<<: *a}",
    "recursive key": "&a {*a : 1}",
    "deep flow lists": "a: " + "[" * (MEBI - 10),
    "deep flow mappings": "a: " + "{a: " * 200_000,
    "deep block lists": "- " * 500_000,
    "deep block mappings": "".join(f"{' ' * n}a:\n" for n in range(1000)),
    "deep within what the parser takes": "a: " + "[" * 900 + "]" * 900,
    "many values": "a: [" + "1," * 500_000 + "]",
    "many keys": "".join(f"k{n}: 1\n" for n in range(90_000)),
    "many anchors": "a: [" + "".join(f"&a{n} x," for n in range(100_000)) + "]",
    "many tag directives": "".join(f"%TAG !a{n}! b\n" for n in range(50_000)) + "--- a",
    "huge integer": "a: " + "9" * 500_000,
    "huge hexadecimal": "a: 0x" + "f" * 500_000,
    "huge float": "a: 1." + "1" * 500_000,
    "two mebibytes": "a: " + "x" * 2 * MEBI,
    "two mebibytes of wide characters": "a: " + "é" * MEBI,
    "many documents": "--- a\n" * 100_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once_and_in_little_memory(name: str) -> None:
    text = BOMBS[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with pytest.raises(Invalid) as caught:
        parse(text)
    assert time.process_time() - start < 0.7
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 48 * 1024
    assert caught.value.code == "COMPOSE_INVALID"
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    "text", ["# " + "x" * (MEBI - 2), "\n" * MEBI, "a: |\n" + " \n" * 500_000, '"' + "\\\n" * 500_000]
)
def test_large_texts_without_values_cost_little(text: str) -> None:
    start = time.process_time()
    with suppress(YamlProblem):
        read_yaml(text)
    assert time.process_time() - start < 0.5


def test_moderate_sharing_is_allowed() -> None:
    text = (
        "x-env: &env {A: 1, B: two}\n"
        "x-base: &base {restart: always, environment: *env}\n"
        "services:\n"
        "  web: {<<: *base, image: a}\n"
        "  job: {<<: [*base, {image: c, restart: never}], image: b}\n"
    )
    services = parse(text)["services"]
    assert services["web"] == {"image": "a", "restart": "always", "environment": {"A": 1, "B": "two"}}
    assert services["job"]["restart"] == "always"
    assert services["job"]["image"] == "b"
    assert list(services) == ["web", "job"]


@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("no", "no"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("~", None),
        ("", None),
        ("null", None),
        ("Null", None),
        ("22:22", "22:22"),
        ("1:30:00", "1:30:00"),
        ("80", 80),
        ("+80", 80),
        ("-1", -1),
        ("0", 0),
        ("00", 0),
        ("0o17", 15),
        ("017", 15),
        ("08", 8),
        ("0x1F", 31),
        ("0b101", 5),
        ("1_000", 1000),
        ("1e3", 1000.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("3.8.1", "3.8.1"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1e999", "1e999"),
        ("-", "-"),
        ("+", "+"),
        (".", "."),
        ("-x", "-x"),
        ("18446744073709551615", 18446744073709551615),
        ("18446744073709551616", 18446744073709551616.0),
        ("!!str 80", "80"),
        ("!!int 80", 80),
        ("'80'", "80"),
        ("! 80", "80"),
        ('"true"', "true"),
        ("!reset null", None),
        ("!override [a]", ["a"]),
        ("<<", "<<"),
        ("[]", []),
        ("{}", {}),
    ],
)
def test_scalars_are_read_as_compose_reads_them(plain: str, value: Any) -> None:
    if plain == "-":
        plain = "'-'"
    read = read_yaml(f"a: {plain}\n")["a"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1\n", 3),
        ("a: 1\na: 2\n", 2),
        ("a:\n\tb: 1\n", 2),
        ("services:\n  web:\n    image: a\n   x: 1\n", 4),
        ("a: *nowhere\n", 1),
        ("a: 1\n80: x\n", 2),
        ("? [a, b]\n: c\n", 1),
        ("a: !!python/object/apply:os.system [id]\n", 1),
        ("a: 1\n--- \nb: 1\n", 2),
        ("a:\n  <<: 5\n", 2),
    ],
)
def test_problems_name_their_line(text: str, line: int) -> None:
    with pytest.raises(Invalid, match=f"line {line}:"):
        parse(text)


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "just text", "- a\n- b\n", "80", "null", "---\n...\n", "\ufeff"]
)
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="mapping"):
        parse(text)


@pytest.mark.parametrize("text", ["a: \0", "a: \x07", "a: \ud800", "\x00", "\ud800: 1", "a: \x1b[31m"])
def test_control_characters_and_half_characters_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse(text)


@pytest.mark.parametrize(
    "text", ["\ufeffa: 1\r\nb: two\r\n", "a: 1\r\nb: two", "a: 1\rb: two\r", "---\na: 1\nb: two\n...\n"]
)
def test_marks_and_line_ends_do_not_matter(text: str) -> None:
    assert parse(text) == {"a": 1, "b": "two"}


def test_the_limit_counts_bytes() -> None:
    fits = "a: " + "x" * (MAX_TEXT - 3)
    assert len(parse(fits)["a"]) == MAX_TEXT - 3
    with pytest.raises(Invalid, match="larger than 1024 KiB"):
        parse(fits + "x")


def test_depth_is_allowed_up_to_its_limit() -> None:
    read_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(YamlProblem, match="too deep"):
        read_yaml("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


def test_other_keys_become_text_where_asked() -> None:
    assert read_yaml("80: a\ntrue: b\n~: c\n1.0: d\n", string_keys=False) == {
        "80": "a",
        "true": "b",
        "~": "c",
        "1.0": "d",
    }


def test_an_anchor_may_be_set_again() -> None:
    assert read_yaml("a: &x 1\nb: *x\nc: &x 2\nd: *x\n") == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_a_quoted_merge_key_is_a_key() -> None:
    assert read_yaml('a: {"<<": {b: 1}}') == {"a": {"<<": {"b": 1}}}


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(
        st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="\ufeff\ufffe\uffff"),
        max_size=20,
    )
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abc<~", min_size=1, max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(TREES)
def test_json_reads_as_itself(tree: Any) -> None:
    assert read_yaml(json.dumps(tree, ensure_ascii=False)) == tree


@given(TREES)
@example("0E0")
@example({"a": ["1e5", "0o17", "+1", "-.5", "1_000", ".inf", "12:30", "0x1F", "~", "yes", "=", "<<", ""]})
def test_what_is_written_reads_as_itself(tree: Any) -> None:
    text = write_yaml(tree)
    assert read_yaml(text) == tree
    assert ruamel.yaml.YAML(typ="safe", pure=True).load(text) == tree


@given(st.text(st.sampled_from("ab1: -[]{},&*!|>'\"%#?<\n\t~"), max_size=60) | st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(YamlProblem):
        json.dumps(read_yaml(text))
        json.dumps(read_yaml(text, string_keys=False))


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(Invalid):
        parse(data.decode(errors="surrogateescape"))
