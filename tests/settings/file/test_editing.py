"""A change to the text of the settings file leaves everything else in it as it was."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flatrun_core.settings_file import EditError, SettingsError, edit, parse

EXAMPLE = """\
# The panel of example.com
deployments_path: /srv/sites   # on the big disk

api:
  host: "127.0.0.1"
  port: 8090 # as ever
  allowed_origins:
    # the office
    - https://a.example # Ann
    - 'https://b.example'

# what follows is the proxy's
nginx: {enabled: true , http_port: 80,}   # flow

certbot:
  email: 'ops@example.com'
  # server: https://localhost:14000/dir

legacy:
  - {a: 1}
  -   odd:   spacing
text: |
  two
  lines

# the end
"""


def changed(values: dict[str, Any]) -> str:
    return edit(EXAMPLE, {tuple(name.split(".")): value for name, value in values.items()})


def difference(old: str, new: str) -> tuple[list[str], list[str]]:
    """Lines only in the old text, and lines only in the new one."""
    before, after = old.splitlines(), new.splitlines()
    return [line for line in before if line not in after], [line for line in after if line not in before]


@pytest.mark.parametrize(
    ("values", "lost", "gained"),
    [
        ({"api.port": 81}, ["  port: 8090 # as ever"], ["  port: 81 # as ever"]),
        ({"api.host": "::1"}, ['  host: "127.0.0.1"'], ['  host: "::1"']),
        ({"api.threads": 4}, [], ["  threads: 4"]),
        ({"certbot.staging": True}, [], ["  staging: true"]),
        ({"certbot.email": ""}, ["  email: 'ops@example.com'"], ['  email: ""']),
        (
            {"nginx.https_port": 443},
            ["nginx: {enabled: true , http_port: 80,}   # flow"],
            ["nginx: {enabled: true , http_port: 80, https_port: 443,}   # flow"],
        ),
        (
            {"nginx.enabled": False},
            ["nginx: {enabled: true , http_port: 80,}   # flow"],
            ["nginx: {enabled: false , http_port: 80,}   # flow"],
        ),
        ({"text": "x"}, ["text: |", "  two", "  lines"], ["text: x"]),
        ({"infrastructure.database.port": 3306}, [], ["infrastructure:", "  database:", "    port: 3306"]),
        ({"domain.auto_ssl": True}, [], ["domain:", "  auto_ssl: true"]),
    ],
)
def test_a_change_touches_its_own_line_only(
    values: dict[str, Any], lost: list[str], gained: list[str]
) -> None:
    assert difference(EXAMPLE, changed(values)) == (lost, gained)


def test_lists_keep_the_comments_of_the_items_that_stay() -> None:
    path = ("api", "allowed_origins")
    a, b, c = "https://a.example", "https://b.example", "https://c.example"
    assert difference(EXAMPLE, edit(EXAMPLE, {path: [a, b, c]})) == ([], [f'    - "{c}"'])
    assert difference(EXAMPLE, edit(EXAMPLE, {path: [a]})) == (["    - 'https://b.example'"], [])
    assert difference(EXAMPLE, edit(EXAMPLE, {path: [b, a]})) == ([], [])
    emptied = edit(EXAMPLE, {path: []})
    assert "  allowed_origins: []\n    # the office\n\n# what follows is the proxy's\n" in emptied
    assert '  allowed_origins: ["https://c.example"]\n' in edit(emptied, {path: [c]})


def test_a_new_key_stands_before_the_comment_of_the_next_section() -> None:
    text = changed({"api.threads": 4})
    assert "    - 'https://b.example'\n  threads: 4\n\n# what follows" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a:\n  b: 1\n"),
        ("# c\n", "# c\na:\n  b: 1\n"),
        ("# c", "# c\na:\n  b: 1\n"),
        ("---\n", "---\na:\n  b: 1\n"),
        ("a:", "a:\n  b: 1\n"),
        ("a: # c\n", "a: # c\n  b: 1\n"),
        ("a: ~ # c\nz: 1\n", "a:  # c\n  b: 1\nz: 1\n"),
        ("a: null\n", "a: \n  b: 1\n"),
        ("a: {}\n", "a: {b: 1}\n"),
        ("a: {c: 2}", "a: {c: 2, b: 1}"),
        ("a:\n  b:\n", "a:\n  b: 1\n"),
        ("a:\n  b: # c\n", "a:\n  b: 1 # c\n"),
        ("a:\n  c: |\n    x\n", "a:\n  c: |\n    x\n  b: 1\n"),
        ("a:\n  c: |\n    x\n\nz: 1\n", "a:\n  c: |\n    x\n  b: 1\n\nz: 1\n"),
        ("a:\n    c: 2", "a:\n    c: 2\n    b: 1\n"),
        ("z: 1\n...\n", "z: 1\na:\n  b: 1\n...\n"),
        ("z: 1 # c\n", "z: 1 # c\na:\n  b: 1\n"),
        ("{}", "{a: {b: 1}}"),
        ("a:\r\n  c: 2 # x\r\n# y\r\n", "a:\r\n  c: 2 # x\r\n  b: 1\r\n# y\r\n"),
        ("a:\n  c:\n  - x\n  # y\n", "a:\n  c:\n  - x\n  b: 1\n  # y\n"),
        ("a:\n  'b': 2\n", "a:\n  'b': 1\n"),
        ('a:\n  "b" : !!int "2" # c\n', 'a:\n  "b" : 1 # c\n'),
        ("\ufeffa: {b: 2}\n", "\ufeffa: {b: 1}\n"),
    ],
)
def test_a_key_finds_its_place_in_any_form_of_file(text: str, expected: str) -> None:
    assert edit(text, {("a", "b"): 1}) == expected


def test_a_key_is_set_beside_what_a_merge_brings() -> None:
    text = "base: &base\n  x: 1\na:\n  <<: *base\n  c: 2\n"
    assert edit(text, {("a", "x"): 5}) == text + "  x: 5\n"


@pytest.mark.parametrize(
    "text",
    [
        "base: &base {b: 2}\na: *base\n",
        "base: &base\n  b: 2\na: *base\n",
        "base: &v 2\na: {b: *v}\n",
        "a: 1\n",
        "a: [1]\n",
        "- a\n",
        "a: {b: &v 2}\nz: *v\n",
    ],
)
def test_what_cannot_be_changed_alone_is_refused(text: str) -> None:
    with pytest.raises((EditError, SettingsError)):
        edit(text, {("a", "b"): 1})


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(alphabet=st.characters(codec="utf-8"), max_size=30),
    st.sampled_from(
        ["yes", "true", "null", "~", "1", "1e3", "0x1f", "0o7", "1:30", "2024-01-01", "- a", "a: b"]
    )
    | st.sampled_from(
        ["# c", "a #c", "'", '"', "\\", "*a", "&a", "!t", "%", "@", "|", ">", " ", "a\nb", "\t", "="]
    ),
)
VALUES = (
    SCALARS
    | st.lists(SCALARS, max_size=4)
    | st.dictionaries(st.from_regex(r"\A[a-z]{1,5}\Z"), SCALARS, max_size=3)
)


@settings(deadline=None)
@given(VALUES, st.sampled_from(["", "a:\n  c: 1\n", "a: {c: 1}\n", "a:\n  b: 1 # x\n", "a:\n  b:\n  - 1\n"]))
def test_any_json_value_can_be_written_and_read_again(value: Any, text: str) -> None:
    written = edit(text, {("a", "b"): value})
    assert repr(parse(written)["a"]["b"]) == repr(value)


NAMES = st.sampled_from(["alpha", "beta", "gamma", "delta", "epsilon"])
COMMENT = st.sampled_from(["", "", " # note", "   #note: {x"])
LINE_COMMENT = st.sampled_from(["", "", "\n", "# above\n", "  # indented\n\n", "# key: value\n"])
LEAF = st.sampled_from(
    ["1", "'q'", '"d"', "plain text", "true", "", "~", "[1, 2]", "{x: 1}", "0.5", "a: b"[:1]]
)


@st.composite
def sections(draw: st.DrawFn, indent: str = "", depth: int = 0) -> str:
    """A block mapping in some style, with comments wherever one may write them."""
    text = ""
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        text += draw(LINE_COMMENT) + f"{indent}{name}:"
        kind = draw(
            st.sampled_from(["leaf", "leaf", "map", "list", "block"] if depth < 2 else ["leaf", "list"])
        )
        if kind == "leaf":
            text += f" {draw(LEAF)}{draw(COMMENT)}\n"
        elif kind == "block":
            text += f" |\n{indent}  line\n{indent}  # no comment\n"
        elif kind == "list":
            step = indent + draw(st.sampled_from(["", "  "]))
            text += draw(COMMENT) + "\n" + draw(LINE_COMMENT)
            for item in draw(st.lists(st.sampled_from(["x", "'y'", "z z", "1"]), min_size=1, max_size=3)):
                text += f"{step}- {item}{draw(COMMENT)}\n" + draw(LINE_COMMENT)
        else:
            inner = indent + draw(st.sampled_from(["  ", "    "]))
            text += draw(COMMENT) + "\n" + draw(sections(inner, depth + 1))
    return text


def comments(text: str) -> list[str]:
    return [line[line.index("#") :] for line in text.splitlines() if "#" in line]


def common_start(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _with(data: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    inner = data[path[0]] if isinstance(data.get(path[0]), dict) else {}
    return data | {path[0]: _with(inner, path[1:], value) if path[1:] else value}


def _settable(data: Any, path: tuple[str, ...]) -> bool:
    """Whether everything above the key is, or may become, a section."""
    if not path:
        return True
    return data is None or (
        isinstance(data, dict) and (len(path) == 1 or _settable(data.get(path[0]), path[1:]))
    )


@settings(deadline=None)
@given(
    sections(),
    st.lists(NAMES, min_size=1, max_size=3).map(tuple),
    st.sampled_from([7, "new", True, ["x", "w"], []]),
)
def test_a_change_leaves_every_other_byte_comment_and_key_as_it_was(
    text: str, path: tuple[str, ...], value: Any
) -> None:
    before = parse(text)
    if not _settable(before, path):
        with pytest.raises(EditError):
            edit(text, {path: value})
        return
    after = edit(text, {path: value})
    assert list(parse(after)) == list(_with(before, path, value))
    assert parse(after) == _with(before, path, value)
    # One stretch of text was replaced, and every comment outside of it is there.
    head = common_start(text, after)
    tail = common_start(text[head:][::-1], after[head:][::-1])
    replaced = text[head : len(text) - tail]
    old: Any = before
    for name in path:
        old = old.get(name) if isinstance(old, dict) else None
    if not isinstance(old, (list, dict)) and "no comment" not in replaced:
        assert comments(after) == comments(text)
        assert "\n" not in replaced


@settings(deadline=None)
@given(sections(), st.lists(NAMES, min_size=1, max_size=2).map(tuple))
def test_a_value_set_to_what_it_is_reads_the_same(text: str, path: tuple[str, ...]) -> None:
    before: Any = parse(text)
    value: Any = before
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return
        value = value[name]
    assert parse(edit(text, {path: value})) == before
