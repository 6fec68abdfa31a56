"""``metadata.yml``: what it says, and what becomes a default."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flatrun_templates.categories import counted
from flatrun_templates.environment import Variable
from flatrun_templates.metadata import File, Metadata, Mount, read_metadata

# A busy machine is no finding.
calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

FULL = """\
id: ignored
name: WordPress
description: Blogs
icon: pi pi-globe
logo: https://example.com/logo.svg
category: applications
priority: 100
container_port: 80
mounts:
  - id: html
    name: Files
    container_path: /var/www/html
    description: All of it
    type: file
    required: true
    user: "33:33"
    subdirectories: [uploads, cache/pages]
files:
  - path: conf/site.conf
    content: "server_name ${DOMAIN};"
env:
  - key: SALT
    generate: hex:64
  - key: TITLE
    default: Blog
    required: true
"""


def test_every_key_is_read() -> None:
    assert read_metadata("wordpress", FULL) == Metadata(
        name="WordPress",
        description="Blogs",
        icon="pi pi-globe",
        logo="https://example.com/logo.svg",
        category="application",
        priority=100,
        container_port=80,
        mounts=(
            Mount(
                "html",
                "Files",
                "/var/www/html",
                "All of it",
                "file",
                True,
                "33:33",
                ("uploads", "cache/pages"),
            ),
        ),
        files=(File("conf/site.conf", "server_name ${DOMAIN};"),),
        env=(Variable("SALT", generate="hex:64"), Variable("TITLE", "Blog", required=True)),
    )


@pytest.mark.parametrize("text", [None, "", "# nothing\n", "null"])
def test_without_metadata_there_are_defaults_and_no_complaint(text: str | None) -> None:
    assert read_metadata("my-web-app", text) == Metadata("My Web App")


@pytest.mark.parametrize("text", ["a: [", "- a", "text", "a: 1\na: 2", "x: &x [*x]", "7"])
def test_what_is_no_mapping_gives_defaults_and_a_reason(text: str) -> None:
    found = read_metadata("my-app", text)
    assert found.problems
    assert found == Metadata("My App", problems=found.problems)


@pytest.mark.parametrize(
    ("line", "attribute", "default"),
    [
        ("name: [a]", "name", "My App"),
        ("description: {a: b}", "description", ""),
        ("icon: true", "icon", "pi pi-box"),
        ("logo: 'javascript:alert(1)'", "logo", ""),
        ("category: [a]", "category", "general"),
        ("category: ../x", "category", "general"),
        ("priority: high", "priority", 0),
        ("priority: true", "priority", 0),
        ("container_port: 0", "container_port", None),
        ("container_port: '80'", "container_port", None),
        ("mounts: 7", "mounts", ()),
        ("mounts: [{id: a}]", "mounts", ()),
        ("mounts: [{id: a, container_path: a/../b}]", "mounts", ()),
        ("files: {path: a}", "files", ()),
        ("files: [a]", "files", ()),
        ("files: [{path: a, content: [1]}]", "files", ()),
        ("env: [{key: 'A-B'}]", "env", ()),
        ("env: [{key: A, generate: magic}]", "env", (Variable("A", generate="password"),)),
    ],
)
def test_one_wrong_value_is_a_default_with_a_reason_and_the_rest_stays(
    line: str, attribute: str, default: Any
) -> None:
    key = line.split(":", maxsplit=1)[0]
    rest = "icon: pi pi-star" if key != "icon" else "name: Kept"
    found = read_metadata("my-app", f"{line}\n{rest}\n")
    assert getattr(found, attribute) == default
    assert len(found.problems) == 1
    assert found.icon == "pi pi-star" or found.name == "Kept"


@pytest.mark.parametrize(
    ("given_id", "id_"),
    [("applications", "application"), ("Frameworks", "framework"), ("databases", "database"),
     ("runtimes", "runtime"), ("basic", "basic"), ("games", "games"), ("infrastructure", "infrastructure")],
)  # fmt: skip
def test_the_plural_ids_of_the_documentation_are_folded(given_id: str, id_: str) -> None:
    assert read_metadata("a", f"category: {given_id}").category == id_


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/passwd", "a/../../x", "..", ".", "''", "a\\..\\b", "a/", '"a\\0b"', '"a\\nb"', "7",
     "docker-compose.yml", "./service.yml", ".env.flatrun", ".flatrun.override.yml", "x" * 300],
)  # fmt: skip
def test_a_file_that_leaves_the_folder_or_is_the_panels_refuses_the_template(path: str) -> None:
    found = read_metadata("a", f"files: [{{path: {path}, content: x}}]")
    assert found.refusal
    assert found.files == ()


def test_a_subdirectory_that_leaves_its_mount_refuses_the_template() -> None:
    text = "mounts: [{id: a, container_path: /a, type: file, subdirectories: [../b]}]"
    assert read_metadata("a", text).refusal


def test_a_file_below_another_file_refuses_the_template() -> None:
    assert read_metadata("a", "files: [{path: a, content: x}, {path: a/b, content: y}]").refusal


@calm
@given(st.text(max_size=200))
def test_no_text_whatever_raises(text: str) -> None:
    read_metadata("a", text)


VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)
ENTRY = st.dictionaries(
    st.sampled_from(
        ["id", "key", "path", "content", "container_path", "type", "user", "subdirectories", "generate"]
    ),
    VALUES,
    max_size=4,
)
KEYS = [
    "name",
    "icon",
    "logo",
    "category",
    "priority",
    "container_port",
    "mounts",
    "files",
    "env",
    "description",
]


@calm
@given(st.dictionaries(st.sampled_from(KEYS), st.one_of(VALUES, st.lists(ENTRY, max_size=3)), max_size=6))
def test_no_value_whatever_raises_or_escapes(document: dict[str, Any]) -> None:
    found = read_metadata("a", json.dumps(document))
    assert all(not file.path.startswith(("/", "../")) and "/../" not in file.path for file in found.files)
    assert isinstance(found.name, str)
    assert found.name
    assert isinstance(found.priority, int)


def test_the_fixed_categories_are_there_with_zero() -> None:
    found = [
        (one.id, one.name, one.icon, one.priority, one.count) for one in counted(["basic", "games", "basic"])
    ]
    assert found == [
        ("application", "Applications", "pi pi-desktop", 100, 0),
        ("framework", "Frameworks", "pi pi-code", 90, 0),
        ("runtime", "Runtimes", "pi pi-cog", 80, 0),
        ("infrastructure", "Infrastructure", "pi pi-server", 70, 0),
        ("database", "Databases", "pi pi-database", 60, 0),
        ("basic", "Basic", "pi pi-file", 50, 2),
        ("games", "Games", "pi pi-box", 0, 1),
    ]
