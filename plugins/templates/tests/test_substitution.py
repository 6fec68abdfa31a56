"""Placeholders and what they become."""

import re
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flatrun_core import Invalid
from flatrun_core.yaml_reader import read_yaml
from flatrun_templates.networks import adapted
from flatrun_templates.substitution import (
    check_name,
    fill_compose,
    fill_content,
    network_name,
    own_values,
    placeholders,
    unresolved,
)

# A busy machine is no finding.
calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
PLACEHOLDERS = ["NAME", "PORT", "DOMAIN", "PROXY_NETWORK", "DATABASE_NETWORK"]
VALUES = {
    "NAME": "blog",
    "PORT": "8080",
    "DOMAIN": "a.example",
    "PROXY_NETWORK": "web",
    "DATABASE_NETWORK": "sql",
}
SHAPES = st.one_of(
    st.sampled_from([f"${{{name}}}" for name in PLACEHOLDERS]),
    st.sampled_from(
        ["$", "{", "}", "${", "$NAME", "${NAME:-x}", "${NAMES}", "${name}", "${ NAME}", "$${", "${A}"]
    ),
    st.text(max_size=8),
)
TEXTS = st.lists(SHAPES, max_size=20).map("".join)


def filled(text: str, **values: str) -> str:
    return fill_compose(text, values or VALUES)[0]


@pytest.mark.parametrize("name", PLACEHOLDERS)
def test_the_five_exact_forms_are_replaced(name: str) -> None:
    assert filled(f"a ${{{name}}} b") == f"a {VALUES[name]} b"


@pytest.mark.parametrize(
    "text",
    [
        "${NAME:-x}", "${NAME-x}", "${NAME:?x}", "$NAME", "${name}", "${ NAME }", "${NAMES}", "${DB_HOST}",
        "${DB_HOST:-db}", "{{ NAME }}", "{{NAME}}", "<%= NAME %>", "%NAME%", "$${NAME}",
        "$$$${NAME}", "${${NAME",
    ],
)  # fmt: skip
def test_every_other_form_stays_for_compose(text: str) -> None:
    assert filled(text) == text
    assert placeholders(text) == set()


def test_an_escaped_dollar_before_a_placeholder_stays_one() -> None:
    assert filled("$$${NAME}") == "$$blog"


def test_a_value_is_not_filled_again() -> None:
    assert filled("${NAME}", NAME="${PORT}", PORT="1") == "${PORT}"


def test_what_has_no_value_stays() -> None:
    assert filled("${NAME} ${PORT}", NAME="blog") == "blog ${PORT}"


@calm
@given(TEXTS)
def test_text_without_the_five_forms_is_never_touched(text: str) -> None:
    for name in PLACEHOLDERS:
        text = text.replace(f"${{{name}}}", "")
    text = re.sub(r"\$\{(NAME|PORT|DOMAIN|PROXY_NETWORK|DATABASE_NETWORK)\}", "", text)
    if not placeholders(text):
        assert filled(text) == text


@calm
@given(TEXTS)
def test_filling_is_replacing_where_no_dollar_is_escaped(text: str) -> None:
    if "$$" in text:
        return
    expected = text
    for name in PLACEHOLDERS:
        expected = expected.replace(f"${{{name}}}", VALUES[name])
    assert filled(text) == expected


@calm
@given(TEXTS)
def test_the_places_are_where_the_values_are(text: str) -> None:
    result, spans = fill_compose(text, VALUES)
    assert {result[start:end] for start, end in spans} <= set(VALUES.values()) - {VALUES["PORT"]}


@calm
@given(NAMES, st.integers(1, 65535), st.sampled_from([" ", "  ", "\t"]))
def test_no_name_and_no_port_change_the_shape_of_the_yaml(name: str, port: int, space: str) -> None:
    template = (
        f"name:{space}${{NAME}}\nservices:\n  web:\n    image: busybox\n    container_name: a-${{NAME}}\n"
        f"    hostname: '${{NAME}}'\n    ports: [\"${{PORT}}:80\"]\n    x-port: ${{PORT}}\n"
        "    labels: {a: ${NAME}}\n"
    )
    text, spans = fill_compose(template, own_values({"NAME": name, "PORT": port}))
    assert read_yaml(adapted(text, spans, "proxy")) == {
        "name": name,
        "services": {
            "web": {
                "image": "busybox",
                "container_name": f"a-{name}",
                "hostname": name,
                "ports": [f"{port}:80"],
                "x-port": port,
                "labels": {"a": name},
            }
        },
    }


BAD_NAMES = [
    "",
    "A",
    "a b",
    "a\nb",
    "a\n",
    "-a",
    "a-",
    "a: b",
    "../a",
    "a/b",
    "a" * 64,
    "ä",
    "a#",
    None,
    1,
    "a\0",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_is_none_is_refused(name: object) -> None:
    with pytest.raises(Invalid) as caught:
        check_name(name)
    assert caught.value.code == "INVALID_NAME"


@calm
@given(st.text(alphabet=string.printable + "äß\u2028\x85", max_size=10))
def test_only_names_of_the_pattern_pass(name: str) -> None:
    try:
        check_name(name)
    except Invalid:
        return
    assert re.fullmatch(r"[a-z0-9-]+", name)


@pytest.mark.parametrize("port", [0, -1, 65536, True, "80", 1.5, "80\n"])
def test_a_port_that_is_none_is_refused(port: object) -> None:
    with pytest.raises(Invalid):
        own_values({"NAME": "a", "PORT": port})


@pytest.mark.parametrize("domain", ["", "a", "a.b\nx: y", "a b.c", "*.a.b", "1.2.3.4", 'a".b', "a.b:80", 7])
def test_a_domain_that_is_none_is_refused(domain: object) -> None:
    with pytest.raises(Invalid):
        own_values({"NAME": "a", "DOMAIN": domain})


@calm
@given(st.text(max_size=12))
def test_a_network_is_a_name_that_docker_takes_or_the_default(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", network_name(text, "proxy"))


def test_content_is_filled_with_every_variable_once() -> None:
    values = {"NAME": "blog", "DB_PASSWORD": "${NAME}$1\\1"}
    assert fill_content("${NAME} ${DB_PASSWORD} ${OTHER} $NAME", values) == "blog ${NAME}$1\\1 ${OTHER} $NAME"


@calm
@given(st.lists(st.sampled_from(["${A}", "${B}", "${C}", "$", "{A}", "x", "\n"]), max_size=20).map("".join))
def test_content_without_known_variables_is_never_touched(text: str) -> None:
    assert fill_content(text, {}) == text
    assert unresolved(text, {"A": "", "B": "", "C": ""}) is False


def test_content_does_not_grow_without_limit() -> None:
    with pytest.raises(Invalid):
        fill_content("${A}" * 10_000, {"A": "x" * 10_000})
