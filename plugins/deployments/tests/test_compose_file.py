import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_core.errors import Invalid
from flatrun_deployments.compose_file import ComposeFile, check_new, find, project_name

PATH = Path("/root/my-app/docker-compose.yml")


def read(text: str, **env: str) -> ComposeFile:
    return ComposeFile.parse(PATH, text, env)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"], "docker-compose.yml"),
        (["compose.yaml", "compose.yml", "docker-compose.yaml"], "docker-compose.yaml"),
        (["compose.yaml", "compose.yml"], "compose.yml"),
        (["compose.yaml", "a-compose.yml"], "compose.yaml"),
        (["b-compose.yml", "a-compose.yaml", "x.yml"], "a-compose.yaml"),
        (["compose.prod.yml"], "compose.prod.yml"),
        (["compose.override.yml", "docker-compose.override.yaml"], None),
        ([".flatrun.override.yml", ".compose.yml", "docker-compose.yml.bak.20240101000000"], None),
        (["compose.txt", "service.yml", "compose.yml~"], None),
        ([], None),
    ],
)
def test_the_compose_file_is_found(names: list[str], found: str | None) -> None:
    assert find(names) == found
    assert find(reversed(names)) == found


@pytest.mark.parametrize(
    ("folder", "project"),
    [("my-app", "my-app"), ("My.App_X-1", "myapp_x-1"), ("a.b", "ab"), ("0", "0"), ("A--b__", "a--b__")],
)
def test_the_project_is_the_folder_as_compose_has_it(folder: str, project: str) -> None:
    assert project_name(folder) == project


def test_services_are_described_in_order() -> None:
    compose = read(
        "services:\n"
        "  zeta: {image: 'redis:${TAG:-7}', expose: [6379]}\n"
        "  alpha: {build: ., ports: ['8080:80', '443:443/tcp'], networks: [proxy, inner]}\n"
        "  host: {image: x, network_mode: host}\n"
        "networks: {proxy: {external: true}, inner: {}, named: {name: other}}\n"
    )
    assert compose.problem == ""
    assert list(compose.services) == ["zeta", "alpha", "host"]
    zeta, alpha, host = compose.services.values()
    assert (zeta.image, zeta.networks, zeta.container_port) == ("redis:7", ("my-app_default",), 6379)
    assert (alpha.build, alpha.image, alpha.networks) == (True, "", ("proxy", "my-app_inner"))
    assert (host.networks, host.network_mode, host.container_port) == ((), "host", None)
    assert compose.published == {(8080, "tcp"), (443, "tcp")}
    assert compose.images == ("redis:7", "x")


def test_network_names_are_those_docker_knows() -> None:
    compose = read(
        "name: shop\n"
        "services: {a: {image: x, networks: {one: {}, two: null, three: null, four: null}}}\n"
        "networks:\n"
        "  one: {name: '${NET}'}\n"
        "  two: {external: {name: old-style}}\n"
        "  three: null\n"
        "  four: {external: false}\n",
        NET="shared",
    )
    assert compose.services["a"].networks == ("shared", "old-style", "shop_three", "shop_four")


@pytest.mark.parametrize(
    ("services", "wanted", "primary"),
    [
        ("{a: {image: x}, b: {image: x}}", "", "a"),
        ("{a: {image: x}, b: {image: x}}", "b", "b"),
        ("{a: {image: x}, b: {image: x}}", "gone", "a"),
        ("{a: {image: x}, web: {image: x}, app: {image: x}}", "", "app"),
        ("{a: {image: x, ports: ['1:1']}, web: {image: x}}", "", "web"),
        ("{a: {image: x}, b: {image: x, expose: [1]}, c: {image: x, ports: ['1:1']}}", "", "b"),
    ],
)
def test_the_primary_service_is_chosen(services: str, wanted: str, primary: str) -> None:
    assert read(f"services: {services}").primary(wanted) == primary


@pytest.mark.parametrize(
    ("service", "port"),
    [
        ("expose: ['8000', '9000'], ports: ['80:70']", 8000),
        ("ports: ['80:70', '81:71']", 70),
        ("ports: ['3000-3005:4000-4005']", 4000),
        ("ports: ['80:${X}', '81:71']", 71),
        ("environment: {A: b}", None),
    ],
)
def test_the_container_port_is_the_first_exposed_or_published_one(service: str, port: int | None) -> None:
    compose = read(f"services: {{a: {{image: x, {service}}}}}")
    assert compose.container_port("a") == port
    assert compose.container_port("none") is None
    assert compose.container_port(None) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "- a",
        "services:",
        "services: []",
        "services: {}",
        "services: {web: }",
        "services: {web: x}",
        "services: {'we b': {image: a}}",
        "services: {web: {image: a}}\nnetworks: [a]",
        "a: [",
        "volumes: {}",
        "name: My.App\nservices: {web: {image: a}}",
        "name: '${X}'\nservices: {web: {image: a}}",
        "name: 5\nservices: {web: {image: a}}",
        "name: ''\nservices: {web: {image: a}}",
    ],
)
def test_a_broken_file_says_why(text: str) -> None:
    compose = read(text)
    assert compose.problem
    assert compose.document is None
    assert compose.services == {}
    assert compose.text == text
    assert compose.project_name == "my-app"
    assert compose.primary() is None
    assert compose.published == frozenset()


@pytest.mark.parametrize(
    "text",
    [
        "include: [other.yml]",
        "include: [other.yml]\nservices:",
        "services: {a: {extends: {service: b}}, b: {image: x}}",
        "services: {a: {image: [x], ports: 5, expose: {}, networks: 7, network_mode: [1], build: null}}",
        "services: {a: {image: x}}\nnetworks: {a: 5, b: [1]}",
    ],
)
def test_unusual_files_are_no_problem_of_ours(text: str) -> None:
    assert read(text).problem == ""


@pytest.mark.parametrize(
    "text",
    ["services:\r\n  a:\r\n    image: x\r\n", "\ufeffservices: {a: {image: x}}", "services: {a: {image: x}}"],
)
def test_the_text_stays_as_it_is(text: str) -> None:
    assert read(text).text == text
    assert read(text).problem == ""


@pytest.mark.parametrize(
    "text",
    [
        "services: {web: {image: a}}",
        "services: {web: {build: .}}",
        "services: {web: {build: {context: .}}}",
        "name: my-app\nservices: {web: {image: a}}",
        "services: {web: {image: a, networks: [proxy]}}\nnetworks: {proxy: {external: true}}",
        "services: {web: {image: a, networks: [p]}}\nnetworks: {p: {name: proxy, external: true}}",
        "services: {web: {image: a, networks: [proxy]}}\nnetworks: {proxy: {external: {name: proxy}}}",
    ],
)
def test_a_sound_text_may_be_created(text: str) -> None:
    assert "web" in check_new(text, "my-app", "proxy")["services"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("services: {web: {}}", "neither image nor build"),
        ("services: {web: {image: ''}}", "neither image nor build"),
        ("include: [x.yml]", "names no service"),
        ("services: {}", "names no service"),
        ("name: other\nservices: {web: {image: a}}", "has to be 'my-app'"),
        ("name: '${X:-my-app}'\nservices: {web: {image: a}}", "has to be 'my-app'"),
        ("services: {web: {image: a}}\nnetworks: {proxy: {}}", "external"),
        ("services: {web: {image: a}}\nnetworks: {proxy: }", "external"),
        ("services: {web: {image: a}}\nnetworks: {p: {name: proxy}}", "external"),
        ("services: {web: {image: a}}\nnetworks: {proxy: {external: false}}", "external"),
        ("a: [", "line"),
        ("[]", "mapping"),
    ],
)
def test_an_unsound_text_is_refused(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words) as caught:
        check_new(text, "my-app", "proxy")
    assert caught.value.code == "COMPOSE_INVALID"


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(0, 70000) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "services",
                    "image",
                    "build",
                    "ports",
                    "expose",
                    "networks",
                    "network_mode",
                    "name",
                    "external",
                    "target",
                    "published",
                    "web",
                    "default",
                    "include",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["services", "networks", "name", "include"]), VALUE))
def test_no_document_breaks_the_reading(document: dict[str, object]) -> None:
    compose = read(json.dumps(document))
    assert bool(compose.problem) == (compose.document is None)
    compose.primary()
    assert compose.published is not None
    with suppress(Invalid):
        check_new(json.dumps(document), "my-app", "proxy")
