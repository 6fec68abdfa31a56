"""The panel's networks in compose text."""

from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flatrun_core.yaml_reader import YamlProblem, read_yaml
from flatrun_templates.networks import adapted, declared_external
from flatrun_templates.substitution import fill_compose

# A busy machine is no finding.
calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEMPLATE = """\
# the proxy, and a proxy
services:
  proxy:   # a service may be called proxy
    image: proxy
    environment: {proxy: proxy}
    networks:
      - proxy
      - "proxy"
      - default
  web:
    networks:
      'proxy':
        aliases: [proxy]
      back: {}
    depends_on: [proxy]
    volumes: ["proxy:/proxy"]
networks:
  proxy:
    external: true
  back:
volumes:
  proxy:
"""


def rename(text: str, name: str = "edge") -> Any:
    return read_yaml(adapted(text, [], name))


def test_only_the_network_is_renamed_and_nothing_else_of_that_word() -> None:
    text = adapted(TEMPLATE, [], "edge")
    assert text == (
        TEMPLATE.replace("- proxy", "- edge")
        .replace('- "proxy"', "- edge")
        .replace("'proxy':", "edge:")
        .replace("networks:\n  proxy:", "networks:\n  edge:")
    )


def test_with_the_usual_name_the_text_stays() -> None:
    assert adapted(TEMPLATE, [], "proxy") == TEMPLATE


def test_merged_and_anchored_networks_are_renamed_too() -> None:
    text = """\
x-base: &base
  image: größer
  networks: &nets [&p proxy]
services:
  one: {<<: *base}
  two:
    networks: *nets
  three:
    <<: [*base]
    networks: [*p]
networks:
  proxy: {name: proxy, external: true}
"""
    found = rename(text)
    assert [service["networks"] for service in found["services"].values()] == [["edge"]] * 3
    assert found["networks"] == {"edge": {"name": "edge", "external": True}}


def test_a_network_of_another_name_keeps_its_key() -> None:
    text = "services: {a: {networks: [proxy]}}\nnetworks: {proxy: {name: mine}}\n"
    assert adapted(text, [], "edge") == text


def test_a_network_called_proxy_under_another_key_gets_the_name_only() -> None:
    text = "services: {a: {networks: [web]}}\nnetworks: {web: {name: proxy, external: true}}\n"
    assert adapted(text, [], "edge") == text.replace("name: proxy", "name: edge")


def test_a_network_of_the_template_by_the_configured_name_is_a_clear_problem() -> None:
    with pytest.raises(YamlProblem, match="cannot be called 'edge'"):
        adapted("networks:\n  proxy: {external: true}\n  edge: {}\n", [], "edge")


@pytest.mark.parametrize("name", ["123", "1e5", "true", "No", "2024-01-01", "0x1f", "a.b_c-d"])
def test_a_name_that_looks_like_something_else_stays_text(name: str) -> None:
    text = "services: {a: {networks: [proxy, default]}}\nnetworks: {proxy: {external: true}, default: }\n"
    found = rename(text, name)
    assert found["services"]["a"]["networks"] == [name, "default"]
    assert name in found["networks"]


@pytest.mark.parametrize("name", ["123", "1e5", "true", "no", "null", "2024-01-01", "007", "0x1f", "1-1"])
def test_a_filled_name_that_looks_like_something_else_stays_text(name: str) -> None:
    text, spans = fill_compose("name: ${NAME}\nx: [${NAME}, '${NAME}', a${NAME}]\n", {"NAME": name})
    assert read_yaml(adapted(text, spans, "proxy")) == {"name": name, "x": [name, name, f"a{name}"]}


@pytest.mark.parametrize("name", ["blog", "my-app", "a1", "nope"])
def test_an_ordinary_name_gets_no_quotes(name: str) -> None:
    text, spans = fill_compose("name: ${NAME}\n", {"NAME": name})
    assert adapted(text, spans, "proxy") == f"name: {name}\n"


@pytest.mark.parametrize(
    "text",
    [
        "a: [", "a: *b", "a: 1\na: 2\n", "\0", "[" * 100,
        "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(f"{c}: &{c} [{','.join(['*' + p] * 10)}]\n"
                                                  for p, c in zip("abcdef", "bcdefg", strict=True)),
    ],
    ids=["syntax", "alias", "twice", "nul", "deep", "bomb"],
)  # fmt: skip
def test_what_cannot_be_read_is_a_problem_soon(text: str) -> None:
    with pytest.raises(YamlProblem):
        adapted(text, [], "edge")


KEYS = st.sampled_from(["proxy", "web", "back", "a"])
LEAVES = st.one_of(KEYS, st.integers(0, 9), st.none(), st.booleans())


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    networks = st.one_of(
        st.lists(KEYS, unique=True, max_size=3), st.dictionaries(KEYS, st.none(), max_size=3)
    )
    service = st.fixed_dictionaries(
        {"image": KEYS}, optional={"networks": networks, "labels": st.dictionaries(KEYS, KEYS, max_size=2)}
    )
    return {
        "services": draw(st.dictionaries(KEYS, service, max_size=3)),
        "networks": draw(st.dictionaries(KEYS, st.none(), max_size=3)),
        "volumes": draw(st.dictionaries(KEYS, LEAVES, max_size=3)),
    }


@calm
@given(documents(), st.sampled_from(["flow", "block"]))
def test_renaming_in_the_text_is_renaming_in_the_document(document: dict[str, Any], style: str) -> None:
    text = yaml.safe_dump(document, default_flow_style=style == "flow", sort_keys=False)

    def renamed(networks: Any) -> Any:
        if isinstance(networks, dict):
            return {"edge" if key == "proxy" else key: value for key, value in networks.items()}
        return ["edge" if key == "proxy" else key for key in networks]

    expected = {**document, "networks": renamed(document["networks"])}
    expected["services"] = {
        name: {**service, "networks": renamed(service["networks"])} if "networks" in service else service
        for name, service in document["services"].items()
    }
    assert rename(text) == expected


def test_external_networks_are_those_that_every_service_joins() -> None:
    document = read_yaml(
        "services: {a: {networks: [p, d]}, b: {networks: {p: }}}\n"
        "networks: {p: {name: edge, external: true}, d: {name: database, external: true}, own: }\n"
    )
    assert declared_external(document, ["edge", "database"]) == ["edge"]
    assert declared_external({}, ["edge"]) == []
    assert declared_external({"services": None, "networks": {"edge": None}}, ["edge"]) == []
