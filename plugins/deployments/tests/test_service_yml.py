import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_core.errors import Invalid
from flatrun_deployments import service_yml
from flatrun_deployments.compose_file import ComposeFile
from flatrun_deployments.service_yml import canonical, from_request, generated, public, read, render_new
from flatrun_deployments.yaml_reader import YamlProblem, read_yaml

COMPOSE = ComposeFile.parse(
    Path("/root/my-app/docker-compose.yml"),
    "services: {db: {image: x, expose: [5432]}, web: {image: y, ports: ['8080:3000']}}",
)


def test_an_absent_file_has_the_contracts_defaults() -> None:
    assert public(generated("my-app", COMPOSE)) == {
        "name": "my-app",
        "type": "",
        "networking": {
            "expose": False,
            "domain": "",
            "service": "web",
            "container_port": 3000,
            "protocol": "http",
            "proxy_type": "http",
        },
        "ssl": {"enabled": False, "auto_cert": False},
        "healthcheck": {"path": "/", "interval": "30s"},
        "domains": [],
        "databases": [],
        "quick_actions": [],
    }
    assert read("", "my-app", COMPOSE) == generated("my-app", COMPOSE)
    assert read("# nothing yet\n", "my-app", COMPOSE) == generated("my-app", COMPOSE)


def test_without_a_usable_compose_file_the_defaults_are_plain() -> None:
    networking = generated("my-app", None)["networking"]
    assert networking["service"] == ""
    assert networking["container_port"] == 80


def test_every_documented_key_is_there() -> None:
    assert set(generated("a", None)) == {
        "name",
        "type",
        "created_at",
        "template_id",
        "networking",
        "ssl",
        "healthcheck",
        "quick_actions",
        "security",
        "backup",
        "credential_id",
        "domains",
        "databases",
    }


def test_the_port_of_the_named_service_is_the_default() -> None:
    metadata = read("networking: {service: db}", "my-app", COMPOSE)
    assert metadata["networking"]["service"] == "db"
    assert metadata["networking"]["container_port"] == 5432


def test_a_service_that_is_gone_stays_named() -> None:
    assert read("networking: {service: gone}", "my-app", COMPOSE)["networking"]["service"] == "gone"


def test_other_spellings_are_folded() -> None:
    metadata = read(
        "networking: {port: 81}\n"
        "ssl: {auto_renew: yes}\n"
        "health_check: {enabled: true, path: /up}\n"
        "domains:\n"
        "  - {domain: a.example.com, port: 82, path: /x, ssl: {enabled: on, auto_renew: off}}\n",
        "my-app",
        COMPOSE,
    )
    assert metadata["networking"]["container_port"] == 81
    assert metadata["ssl"]["auto_cert"] is True
    assert metadata["healthcheck"]["path"] == "/up"
    assert metadata["healthcheck"]["interval"] == "30s"
    assert metadata["domains"] == [
        {
            "domain": "a.example.com",
            "container_port": 82,
            "path_prefix": "/x",
            "ssl": {"enabled": True, "auto_cert": False},
        }
    ]
    assert metadata["networking"]["domain"] == "a.example.com"


def test_the_own_spelling_outdoes_the_other() -> None:
    metadata = read("networking: {port: 81, container_port: 82}", "a", None)
    assert metadata["networking"]["container_port"] == 82
    assert "port" not in metadata["networking"]


def test_values_are_taken_as_people_write_them() -> None:
    metadata = read(
        "name: 2048\ntype:\nnetworking: {expose: 'yes', container_port: '8080', protocol: ''}\nssl:\n"
        "healthcheck: {interval: 30}\ncredential_id: 7\ncreated_at: 2024-01-02\n",
        "my-app",
        None,
    )
    assert metadata["name"] == "2048"
    assert metadata["type"] == ""
    assert metadata["networking"]["expose"] is True
    assert metadata["networking"]["container_port"] == 8080
    assert metadata["networking"]["protocol"] == "http"
    assert metadata["ssl"] == {"enabled": False, "auto_cert": False}
    assert metadata["healthcheck"]["interval"] == "30"
    assert metadata["credential_id"] == "7"
    assert metadata["created_at"] == "2024-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("2024-01-01T02:00:00+02:00", "2024-01-01T00:00:00Z"),
        ("2024-01-01 10:00:00", "2024-01-01T10:00:00Z"),
        ("'2024-01-01T00:00:00.5Z'", "2024-01-01T00:00:00.500000Z"),
        ("2024-01-01T00:00:00.123456789Z", "2024-01-01T00:00:00.123456Z"),
        ("0001-01-01T00:00:00Z", None),
        ("''", None),
        ("", None),
    ],
)
def test_times_are_utc(written: str, value: str | None) -> None:
    assert read(f"created_at: {written}", "a", None)["created_at"] == value


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("- a", "the file"),
        ("text", "the file"),
        ("networking: web", "networking"),
        ("networking: [a]", "networking"),
        ("networking: {expose: perhaps}", "networking.expose"),
        ("networking: {container_port: x}", "container_port"),
        ("networking: {container_port: 65536}", "container_port"),
        ("networking: {container_port: -1}", "container_port"),
        ("networking: {container_port: 80.5}", "container_port"),
        ("networking: {protocol: ftp}", "protocol"),
        ("networking: {proxy_type: 'http; evil'}", "proxy_type"),
        ("domains: {a: b}", "domains"),
        ("domains: [a.example.com]", r"domains\[0\]"),
        ("domains: [{domain: a}, {aliases: b}]", r"domains\[1\].aliases"),
        ("ssl: true", "ssl"),
        ("name: [a]", "name"),
        ("backup: [a]", "backup"),
        ("security: yes", "security"),
        ("created_at: yesterday", "created_at"),
        ("created_at: 5", "created_at"),
        ("quick_actions: [5]", r"quick_actions\[0\]"),
        ("a: [", "line 2"),
        ("name: a\nname: b\n", "line 2"),
        ("name: *x", "line 1"),
    ],
)
def test_a_wrong_value_is_named(text: str, place: str) -> None:
    with pytest.raises(YamlProblem, match=place):
        read(text, "a", None)


def test_unknown_keys_are_kept_but_not_shown() -> None:
    metadata = read("x-notes: {by: me}\nnetworking: {mtu: 1400}\n404: page\n", "a", None)
    assert metadata["x-notes"] == {"by": "me"}
    assert metadata["networking"]["mtu"] == 1400
    assert metadata["404"] == "page"
    shown = public(metadata)
    assert "x-notes" not in shown
    assert "mtu" not in shown["networking"]


def test_passwords_are_masked() -> None:
    metadata = read(
        "backup:\n"
        "  databases:\n"
        "    - {service: db, type: mysql, user: root, password: hunter2, password_env: DB_PASSWORD}\n"
        "    - {service: db, type: mysql, password: ''}\n"
        "databases: [{id: a, alias: primary, password: hunter3}]\n",
        "a",
        None,
    )
    shown = public(metadata)
    assert "hunter" not in json.dumps(shown)
    first, second = shown["backup"]["databases"]
    assert first["password"] == "********"
    assert first["password_env"] == "DB_PASSWORD"
    assert second["password"] == ""
    assert "password" not in shown["databases"][0]
    assert metadata["backup"]["databases"][0]["password"] == "hunter2"


def test_a_request_gives_what_it_says_and_no_more() -> None:
    given_ = from_request(
        {
            "name": "My app",
            "created_at": "2000-01-01T00:00:00Z",
            "template_id": "x",
            "unknown": 1,
            "networking": {"expose": True, "port": 8080, "unknown": 2, "service": None},
            "ssl": None,
            "quick_actions": [{"id": "a", "name": "A", "command": "ls", "shell": True}],
        }
    )
    assert given_ == {
        "name": "My app",
        "networking": {"expose": True, "container_port": 8080},
        "quick_actions": [{"id": "a", "name": "A", "command": "ls"}],
    }


@pytest.mark.parametrize(
    "metadata",
    [
        {"name": 5},
        {"networking": []},
        {"networking": {"expose": "yes"}},
        {"networking": {"container_port": "80"}},
        {"networking": {"container_port": True}},
        {"networking": {"container_port": 0}},
        {"domains": {}},
        {"networking": {"container_port": 80.0}},
        {"domains": [{"ssl": True}]},
        {"domains": [{"aliases": "a"}]},
        {"networking": {"port": 80, "container_port": 81}},
        {"networking": {"protocol": "gopher"}},
        {"ssl": {"enabled": 1}},
        {"backup": []},
        {"quick_actions": "a"},
    ],
)
def test_a_request_with_a_wrong_type_is_refused(metadata: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        from_request(metadata)
    assert caught.value.code == "VALIDATION_ERROR"
    assert caught.value.message.startswith("Metadata")


def test_equal_spellings_do_not_conflict() -> None:
    assert from_request({"networking": {"port": 80, "container_port": 80}}) == {
        "networking": {"container_port": 80}
    }


def test_a_new_file_reads_as_what_was_given() -> None:
    values = {
        "networking": {"expose": True, "host_port": 8080},
        "name": "yes",
        "created_at": "2024-01-01T00:00:00Z",
        "x": 1,
    }
    text = render_new(values)
    assert text.startswith("name: 'yes'\ncreated_at: ")
    metadata = read(text, "my-app", None)
    assert metadata["name"] == "yes"
    assert metadata["created_at"] == "2024-01-01T00:00:00Z"
    assert metadata["networking"]["host_port"] == 8080
    assert metadata["x"] == 1
    assert "null" not in render_new({"name": "a", "type": None})


def test_a_bomb_is_no_metadata() -> None:
    text = "a0: &a0 [x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    with pytest.raises(YamlProblem, match="too many values"):
        read(text, "a", None)
    with pytest.raises(YamlProblem, match="larger than 256 KiB"):
        read("# " + "x" * service_yml.MAX_SIZE, "a", None)


KEYS = st.sampled_from(
    [
        "name",
        "networking",
        "ssl",
        "domains",
        "databases",
        "port",
        "container_port",
        "expose",
        "aliases",
        "backup",
        "password",
        "health_check",
        "healthcheck",
        "created_at",
        "security",
        "quick_actions",
        "x",
    ]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70000) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, TREES))
def test_any_document_is_canonical_or_refused(document: dict[str, Any]) -> None:
    try:
        metadata = canonical(document, "my-app", COMPOSE)
    except YamlProblem:
        return
    json.dumps(public(metadata), allow_nan=False)
    assert canonical(metadata, "my-app", COMPOSE) == metadata or "nan" in repr(metadata)
    assert 1 <= metadata["networking"]["container_port"] <= 65535


@given(st.dictionaries(KEYS, TREES))
def test_any_request_is_taken_or_refused_and_what_is_taken_can_be_written(document: dict[str, Any]) -> None:
    try:
        taken = from_request(document)
    except Invalid:
        return
    text = render_new(taken)
    read_yaml(text)
    canonical(read_yaml(text, string_keys=False), "a", None)
