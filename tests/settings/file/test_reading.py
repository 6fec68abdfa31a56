"""The settings file is read: what is refused is told with its place and without its values."""

import pytest

from flatrun_core.settings_file import SettingsError, parse


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "~", "{}", "\ufeff", "\n\n"])
def test_an_empty_file_is_a_file_without_settings(text: str) -> None:
    assert parse(text) == {}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\nb: [1\nc: 2\n", "line 3, column 2"),
        ("a: 1\n\tb: 2\n", "line 2, column 1"),
        ("a: 1\na: 2\n", "line 2, column 1"),
        ("a: !x 1\n", "line 1, column 4"),
        ("a: *nowhere\n", "line 1, column 4"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1"),
        ("a: 'x\n", "line 2, column 1"),
        ("a: !!python/object/apply:os.system [id]\n", "line 1, column 4"),
    ],
)
def test_broken_yaml_is_told_with_its_place(text: str, place: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text, "panel.yml")
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"panel.yml, {place}: ")


@pytest.mark.parametrize(
    "text",
    [
        *("- a\n", "text", "1", "? [a]\n: 1\n", "1: 2\n", "a: \x07\n", "a: 2024-99-99\n", "a: !!int zz\n"),
        *("[" * 3000, "a: &a [*a]\n", "a: &a {b: *a}\n", "a: \ud800\n"),
    ],
)
def test_what_is_no_mapping_of_sections_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        parse(text)


def test_anchors_that_multiply_are_refused() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    with pytest.raises(SettingsError):
        parse(bomb)


@pytest.mark.parametrize(
    "text",
    [
        "auth:\n  secret_key: *hunter22\n",
        "auth:\n  secret_key: !hunter22 x\n",
        "auth:\n  secret_key: hunter22\n  secret_key: hunter22x\n",
        "auth:\n  secret_key: 'hunter22\n",
        'auth:\n  secret_key: "hunter22\\q"\n',
        "auth: {secret_key: hunter22: x}\n",
        "auth:\n  secret_key: hunter22\n   api: x\n",
        "hunter22\n",
        "auth:\n  secret_key: !!timestamp hunter22\n",
        "auth:\n  secret_key: !!int hunter22\n",
        "auth:\n  secret_key: !!binary hunter22x\n",
        "auth:\n  secret_key: @hunter22\n",
        "auth:\n  secret_key: %hunter22\n",
        "auth:\n  secret_key: |hunter22\n",
        "auth: {*hunter22 : 1}\n",
    ],
)
def test_no_value_is_quoted_when_the_file_cannot_be_read(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text)
    assert "hunter22" not in str(caught.value)
    assert "hunter22" not in repr(caught.value)
