"""What a creation refuses, of which nothing stays, and what of a request it takes all the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flatrun_core import Forbidden, Invalid
from flatrun_core.ports.auth import SYSTEM, Identity
from flatrun_core.ports.deployments import NewDeployment

COMPOSE = "services:\n  web:\n    image: busybox\n    expose: ['80']\n"


# --- the request ---


@pytest.mark.parametrize(
    "name",
    [
        "..",
        ".",
        "a/b",
        "/etc",
        "-a",
        "a-",
        "a_b",
        "A",
        "",
        "a\nb",
        "a" * 64,
        "a" * 300,
        "ä",
        "a b",
        "a\u0000",
    ],
)
def test_names_that_are_none_are_refused_and_touch_nothing(bench: Any, name: str) -> None:
    answer = bench.client.post("/api/deployments", json={"name": name, "compose": COMPOSE})
    assert answer.status_code == 400
    assert answer.get_json()["code"] in ("INVALID_NAME", "VALIDATION_ERROR")
    assert bench.tree() == {}
    assert bench.names() == []


@pytest.mark.parametrize(
    "compose",
    [
        "not: [yaml",
        "just text",
        "[]",
        "services: {}\n",
        "services:\n  web: {}\n",
        "name: other\nservices:\n  web: {image: x}\n",
        "services:\n  web: {image: x}\nnetworks:\n  proxy: {}\n",
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
        "d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e]\n"
        "g: [*f,*f,*f,*f,*f,*f,*f]\nservices:\n  web: {image: x}\n",
    ],
)
def test_compose_text_that_cannot_be_used_is_refused_and_nothing_stays(bench: Any, compose: str) -> None:
    bench.refused(400, "COMPOSE_INVALID", compose=compose)
    assert bench.tree() == {}
    assert bench.names() == []


def test_what_compose_itself_refuses_is_400_and_taken_back(bench: Any) -> None:
    bench.compose.fail_next("services.web Additional property imag is not allowed", command="config")
    assert "imag" in bench.refused(400, "COMPOSE_INVALID", compose=COMPOSE + "    imag: y\n")
    assert list(bench.root.glob("[!.]*")) == []


def test_neither_compose_nor_template_is_refused(bench: Any) -> None:
    bench.refused(400, "COMPOSE_OR_TEMPLATE_REQUIRED", compose=None)


def test_an_empty_compose_or_template_counts_as_left_out(bench: Any) -> None:
    bench.refused(400, "COMPOSE_OR_TEMPLATE_REQUIRED", compose="", compose_content="", template_id="")
    bench.create(compose=COMPOSE, compose_content="", template_id="")
    bench.create(name="other", compose="", compose_content=COMPOSE)


def test_the_other_spelling_of_compose_works_and_must_not_differ(bench: Any) -> None:
    bench.create(compose=None, compose_content=COMPOSE)
    bench.refused(400, "VALIDATION_ERROR", name="other", compose_content=COMPOSE + "#")
    bench.create(name="other", compose_content=COMPOSE)


@pytest.mark.parametrize(
    "body",
    [
        {"port": 0},
        {"port": 65536},
        {"port": "80"},
        {"port": True},
        {"auto_start": "yes"},
        {"auto_start": 1},
        {"name": 5},
        {"compose": {"services": {}}},
        {"metadata": []},
        {"env_vars": {"A": "b"}},
        {"env_vars": [{"key": "A-B", "value": "x"}]},
        {"env_vars": [{"key": "A", "value": 5}]},
        {"metadata": {"networking": {"container_port": 70000}}},
        {"metadata": {"networking": "x"}},
    ],
)
def test_wrong_types_and_values_are_400_and_nothing_stays(bench: Any, body: dict[str, Any]) -> None:
    bench.refused(400, "VALIDATION_ERROR", **body)
    assert bench.tree() == {}


def test_a_domain_that_is_none_is_refused(bench: Any) -> None:
    assert "domain" in bench.refused(
        400, "VALIDATION_ERROR", metadata={"networking": {"domain": "no spaces"}}
    )
    bench.refused(
        400, "VALIDATION_ERROR", metadata={"domains": [{"domain": "ok.example", "aliases": ["10.0.0.1"]}]}
    )


def test_unknown_fields_are_ignored(bench: Any) -> None:
    bench.create(whatever={"a": 1})


@pytest.mark.parametrize(
    ("wish", "plugin"),
    [
        ({"use_shared_database": True}, "databases"),
        ({"existing_database_container": "mysql"}, "databases"),
        ({"databases": [{"alias": "main"}]}, "databases"),
        ({"registry_credential": {"credential_id": "x"}}, "registries"),
        ({"template_id": "static", "compose": None}, "templates"),
        ({"template_id": "static"}, "templates"),
    ],
)
def test_a_wish_whose_plugin_is_absent_names_it(bench: Any, wish: dict[str, Any], plugin: str) -> None:
    assert f"'{plugin}'" in bench.refused(400, "PLUGIN_REQUIRED", **wish)
    assert bench.tree() == {}


@pytest.mark.parametrize(
    "path", ["../x", "/etc/x", "a/../../x", "docker-compose.yml", "./service.yml", ".flatrun-x"]
)
def test_files_never_leave_the_folder_nor_replace_the_panels_own(bench: Any, path: str) -> None:
    with pytest.raises(Invalid) as caught:
        bench.deployments.create(NewDeployment("blog", COMPOSE, files={path: "x"}), SYSTEM)
    assert caught.value.code == "INVALID_PATH"
    assert bench.tree() == {}
    assert list(bench.root.glob("[!.]*")) == []


# --- who asks, and what is there already ---


def test_an_existing_name_is_409_and_its_files_stay(bench: Any) -> None:
    bench.create()
    before = bench.tree()
    bench.refused(409, "DEPLOYMENT_EXISTS", compose=COMPOSE + "# other\n")
    assert bench.tree() == before


@pytest.mark.parametrize("kind", ["folder", "file", "dangling", "link"])
def test_whatever_has_the_name_already_is_left_alone(bench: Any, tmp_path: Path, kind: str) -> None:
    bench.names()
    path, outside = bench.root / "blog", tmp_path / "outside"
    outside.mkdir()
    if kind == "folder":
        path.mkdir()
        (path / "mine.txt").write_text("keep")
    elif kind == "file":
        path.write_text("keep")
    else:
        path.symlink_to(outside if kind == "link" else tmp_path / "nowhere")
    before = bench.tree()
    bench.refused(409, "DEPLOYMENT_EXISTS")
    assert bench.tree() == before
    assert list(outside.iterdir()) == []


def test_a_key_limited_to_deployments_cannot_create(bench: Any, scoped: Callable[..., Identity]) -> None:
    with pytest.raises(Forbidden) as caught:
        bench.deployments.create(NewDeployment("blog", COMPOSE), scoped(may_create=False))
    assert caught.value.code == "DEPLOYMENT_FORBIDDEN"
