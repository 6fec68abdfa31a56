"""Creation: completely or not at all."""

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flatrun_core import Conflict, Failed, Forbidden, Invalid, NotFound, Unavailable
from flatrun_core.ports.auth import SYSTEM, Actor, Identity, Level
from flatrun_core.ports.deployments import (
    CREDENTIALS,
    ROUTES,
    TEMPLATES,
    NewDeployment,
    Part,
    Rendered,
)
from flatrun_deployments import host_ports

COMPOSE = "services:\n  web:\n    image: busybox\n    expose: ['80']\n"


def scoped(name: str = "ann", **more: Any) -> Identity:
    return Identity(Actor("user", name, name), role="operator", permissions=None, **more)


def refuse(*_: Any) -> Part:
    raise Conflict("not here", code="NEIGHBOUR_REFUSES")


class FakeRoutes:
    """Routes of every exposed deployment's service web."""

    def __init__(self) -> None:
        self.published: list[str] = []
        self.failures: list[Exception] = []
        self.known: set[str] = set()

    def publish(self, name: str) -> Mapping[str, Any]:
        self.published.append(name)
        if self.failures:
            raise self.failures.pop(0)
        return {"deployment_name": name, "success": True}

    def status(self, name: str) -> Mapping[str, Any]:
        return {"deployment_name": name, "exposed": True}

    def networks(self, name: str) -> Mapping[str, tuple[str, ...]]:
        if self.known and name not in self.known:
            raise NotFound("Deployment not found", code="DEPLOYMENT_NOT_FOUND")
        return {"web": (f"{name}-web",)}


class FakeTemplates:
    """One template, ``static``, that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []

    def render(self, template_id: str, values: Mapping[str, Any]) -> Rendered:
        if template_id != "static":
            raise NotFound("Template not found", code="TEMPLATE_NOT_FOUND")
        self.asked.append(values)
        env = {"SALT": values["env"].get("SALT", f"generated-{len(self.asked)}")}
        host = values["env"].get("DB_HOST", "${DB_HOST}")
        return Rendered(
            compose="services:\n  site:\n    image: busybox\n",
            files={"conf/site.conf": f"server {values['NAME']} {host}\n", "data/": "", "data/cache/": ""},
            env=env,
            metadata={"networking": {"container_port": 8080}, "healthcheck": {"path": "/up"}},
        )


# --- what is written ---


@pytest.mark.parametrize(
    "text",
    [
        "services:\r\n  web:\r\n    image: busybox\r\n",
        "\ufeffservices:\n  web: {image: busybox}",
        "# größer ✓\nservices:\n  web:   {image:  busybox}\n\n\n# end",
    ],
)
def test_the_compose_text_is_kept_byte_for_byte(bench: Any, text: str) -> None:
    bench.create(compose=text)
    assert (bench.root / "blog" / "docker-compose.yml").read_bytes() == text.encode()
    assert bench.client.get("/api/deployments/blog").get_json()["compose_content"] == text


def test_a_plain_creation_answers_the_contracts_body_and_starts_nothing(bench: Any) -> None:
    assert bench.create() == {
        "message": "Deployment created",
        "name": "blog",
        "auto_started": False,
        "start_output": "",
        "start_error": "",
        "registry_login_error": "",
        "proxy_result": None,
    }
    assert bench.compose.commands() == ["config"]
    assert (bench.root / "blog").stat().st_mode & 0o777 == 0o755
    assert sorted(path.name for path in (bench.root / "blog").iterdir()) == [
        "docker-compose.yml",
        "service.yml",
    ]


def test_auto_start_starts_and_tells_everybody(bench: Any) -> None:
    answer = bench.create(auto_start=True)
    assert answer["auto_started"] is True
    assert "Started" in answer["start_output"]
    assert not answer["start_error"]
    events = [(what, event.name) for what, event in bench.neighbours["neighbour"].events]
    assert events == [("created", "blog"), ("started", "blog")]


def test_a_start_that_fails_leaves_the_deployment_and_is_told(bench: Any) -> None:
    bench.compose.fail_next("no such image: busybox", command="up")
    answer = bench.create(auto_start=True)
    assert answer["auto_started"] is True
    assert "no such image" in answer["start_output"]
    assert answer["start_error"]
    assert bench.names() == ["blog"]
    assert [what for what, _ in bench.neighbours["neighbour"].events] == ["created"]


def test_variables_go_into_the_env_file_and_empty_keys_are_dropped(bench: Any) -> None:
    variables = [{"key": "A", "value": 'x"y\nz'}, {"key": "", "value": "lost"}, {"key": "B"}]
    bench.create(env_vars=variables)
    file = bench.root / "blog" / ".env.flatrun"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == 'A="x\\"y\\nz"\nB=\n'


def test_the_port_is_published_on_the_primary_service_by_the_override(bench: Any, free_port: int) -> None:
    bench.create(compose="services:\n  db: {image: x}\n  app: {image: y, expose: ['3000']}\n", port=free_port)
    override = (bench.root / "blog" / ".flatrun.override.yml").read_text()
    assert f"{free_port}:3000" in override
    assert "app" in override
    assert "db" not in override
    detail = bench.client.get("/api/deployments/blog").get_json()["deployment"]
    assert f"{free_port}:3000" in detail["services"][1]["ports"]


@pytest.mark.parametrize(
    ("compose", "metadata", "target"),
    [
        (
            "services:\n  a: {image: x, expose: ['81'], ports: ['9:82']}\n",
            {"networking": {"container_port": 99}},
            99,
        ),
        ("services:\n  a: {image: x, expose: ['81'], ports: ['9:82']}\n", {}, 81),
        ("services:\n  a: {image: x, ports: ['9:82']}\n", {}, 82),
        ("services:\n  a: {image: x}\n", {}, 80),
    ],
)
def test_the_container_port_is_chosen_in_the_contracts_order(
    bench: Any, free_port: int, compose: str, metadata: dict[str, Any], target: int
) -> None:
    bench.create(compose=compose, port=free_port, metadata=metadata)
    assert f"{free_port}:{target}" in (bench.root / "blog" / ".flatrun.override.yml").read_text()


def test_a_port_that_the_compose_text_publishes_itself_is_not_bound_twice(bench: Any, free_port: int) -> None:
    text = f"services:\n  a: {{image: x, expose: ['3000'], ports: ['${{P:-{free_port}}}:80']}}\n"
    bench.create(compose=text, port=free_port)
    assert not (bench.root / "blog" / ".flatrun.override.yml").exists()
    bench.refused(409, "PORT_IN_USE", name="other", compose=text, port=free_port)


def test_folders_that_services_mount_from_beside_the_file_are_made(bench: Any) -> None:
    volumes = (
        "['./data:/d', './conf.d:/c', './nginx.conf:/n', 'named:/v', '../up:/u', '/etc:/e', './a/b:/ab:ro']"
    )
    bench.create(compose=f"services:\n  a: {{image: x, volumes: {volumes}}}\nvolumes: {{named: }}\n")
    made = {str(p.relative_to(bench.root / "blog")) for p in (bench.root / "blog").rglob("*") if p.is_dir()}
    assert made == {"data", "conf.d", "a", "a/b"}


def test_request_metadata_is_kept_and_domains_are_normalised(bench: Any) -> None:
    domains = [
        {"id": "primary", "domain": "Bücher.Example.", "aliases": ["WWW.example.com"], "container_port": 80}
    ]
    bench.create(metadata={"name": "Books", "domains": domains, "created_at": "1999-01-01T00:00:00Z", "x": 1})
    found = bench.client.get("/api/deployments/blog").get_json()["deployment"]["metadata"]
    assert found["name"] == "Books"
    assert found["domains"][0]["domain"] == "xn--bcher-kva.example"
    assert found["domains"][0]["aliases"] == ["www.example.com"]
    assert not found["created_at"].startswith("1999")


def test_a_domain_that_is_none_is_refused(bench: Any) -> None:
    assert "domain" in bench.refused(
        400, "VALIDATION_ERROR", metadata={"networking": {"domain": "no spaces"}}
    )
    bench.refused(
        400, "VALIDATION_ERROR", metadata={"domains": [{"domain": "ok.example", "aliases": ["10.0.0.1"]}]}
    )


# --- what is refused ---


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


def test_without_docker_a_deployment_can_be_prepared(bench: Any) -> None:
    bench.engine.down = True
    bench.compose.fail_next(error=Unavailable("not installed", code="COMPOSE_MISSING"), command="config")
    bench.create()
    item = bench.client.get("/api/deployments").get_json()[0]
    assert (item["status"], item["services"][0]["status"]) == ("unknown", "unknown")


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


def test_a_key_limited_to_deployments_cannot_create(bench: Any) -> None:
    with pytest.raises(Forbidden) as caught:
        bench.deployments.create(NewDeployment("blog", COMPOSE), scoped(may_create=False))
    assert caught.value.code == "DEPLOYMENT_FORBIDDEN"


# --- ports ---


def test_a_port_of_another_deployment_is_in_use(bench: Any, free_port: int) -> None:
    bench.create(name="one", compose=f"services:\n  a: {{image: x, ports: ['127.0.0.1:{free_port}:80']}}\n")
    assert "'one'" in bench.refused(409, "PORT_IN_USE", port=free_port)
    bench.create(name="udp", compose=f"services:\n  a: {{image: x, ports: ['{free_port + 1}:80/udp']}}\n")
    bench.create(name="two", port=free_port + 1)
    assert "'two'" in bench.refused(409, "PORT_IN_USE", port=free_port + 1)


def test_a_port_bound_on_the_host_is_in_use(bench: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bench.refused(409, "PORT_IN_USE", port=listener.getsockname()[1])
    assert bench.tree() == {}


class Sockets:
    """The socket module of a host on which one step with IPv6 fails so."""

    def __init__(self, step: str, reason: int) -> None:
        self._failing = (step, reason)

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)

    def socket(self, family: socket.AddressFamily, _kind: int) -> Any:
        def step(name: str) -> None:
            if family == socket.AF_INET6 and name == self._failing[0]:
                raise OSError(self._failing[1], os.strerror(self._failing[1]))

        step("socket")
        return contextlib.nullcontext(
            SimpleNamespace(setsockopt=lambda *_: None, bind=lambda _address: step("bind"))
        )


def test_a_port_bound_on_ipv6_alone_is_in_use(
    bench: Any, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_ports, "socket", Sockets("bind", errno.EADDRINUSE))
    bench.refused(409, "PORT_IN_USE", port=free_port)
    assert bench.tree() == {}


@pytest.mark.parametrize(
    ("step", "reason"),
    [("socket", errno.EAFNOSUPPORT), ("bind", errno.EADDRNOTAVAIL), ("bind", errno.EACCES)],
)
def test_a_port_is_free_where_there_is_no_ipv6(
    bench: Any, free_port: int, monkeypatch: pytest.MonkeyPatch, step: str, reason: int
) -> None:
    monkeypatch.setattr(host_ports, "socket", Sockets(step, reason))
    assert bench.create(port=free_port)["name"] == "blog"


def test_two_creations_at_once_cannot_have_one_port(bench: Any, free_port: int) -> None:
    arrived, go = threading.Event(), threading.Event()

    def wait(_: Any) -> None:
        arrived.set()
        go.wait(10)

    bench.neighbours["neighbour"].on_create = wait
    with ThreadPoolExecutor() as pool:
        first = pool.submit(bench.create, name="one", port=free_port)
        assert arrived.wait(10)
        bench.refused(409, "PORT_IN_USE", name="two", port=free_port)
        go.set()
        assert first.result()["name"] == "one"


# --- two at once ---


def test_of_two_creations_of_one_name_one_wins(bench: Any) -> None:
    barrier = threading.Barrier(8)

    def attempt(number: int) -> int:
        client = bench.client
        barrier.wait(10)
        body = {"name": "blog", "compose": f"{COMPOSE}# {number}\n"}
        answer = client.post("/api/deployments", json=body)
        assert answer.status_code == 201 or answer.get_json()["code"] == "DEPLOYMENT_EXISTS"
        return int(answer.status_code)

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(attempt, range(8)))
    assert statuses == [201] + [409] * 7
    assert bench.names() == ["blog"]


def test_a_name_under_creation_is_taken_and_not_listed(bench: Any) -> None:
    seen: list[Any] = []

    def look(_: Any) -> None:
        seen.append(bench.client.get("/api/deployments").get_json())
        seen.append(bench.client.get("/api/deployments/blog").status_code)
        with ThreadPoolExecutor() as pool:
            seen.append(pool.submit(bench.refused, 409, "DEPLOYMENT_EXISTS").result())

    bench.neighbours["neighbour"].on_create = look
    bench.create()
    assert seen[:2] == [[], 404]
    assert "blog" in seen[2]


# --- other plugins ---


def test_parts_of_plugins_reach_env_networks_and_warnings(bench: Any) -> None:
    bench.engine.ensure_network("database")
    bench.neighbours["neighbour"].on_create = lambda draft: Part(
        env={"DB_HOST": "db", "A": "theirs"}, networks=("database",), warnings=("mind the gap",)
    )
    answer = bench.create(env_vars=[{"key": "A", "value": "mine"}])
    assert answer["warnings"] == ["mind the gap"]
    assert (bench.root / "blog" / ".env.flatrun").read_text() == "A=mine\nDB_HOST=db\n"
    bench.client.post("/api/deployments/blog/start")
    assert "database" in (bench.root / "blog" / ".flatrun.override.yml").read_text()
    container = next(iter(bench.engine.containers()))
    assert container.networks == ("blog_default", "database")


def test_a_plugin_that_refuses_undoes_those_before_it_in_reverse(make_bench: Any, new_neighbour: Any) -> None:
    undone: list[str] = []
    first, second, third = (new_neighbour(f"n{number}") for number in (1, 2, 3))
    first.on_create = lambda draft: Part(undo=lambda: undone.append("first"))
    second.on_create = lambda draft: Part(undo=lambda: undone.append("second"))
    third.on_create = refuse
    bench = make_bench(first, second, third)
    bench.refused(409, "NEIGHBOUR_REFUSES")
    assert undone == ["second", "first"]
    assert bench.tree() == {}
    assert list(bench.root.glob("[!.]*")) == []
    assert not first.events


def test_an_undo_that_fails_does_not_stop_the_others(make_bench: Any, new_neighbour: Any) -> None:
    undone: list[str] = []

    def broken() -> None:
        raise RuntimeError("no")

    first, second, third = (new_neighbour(f"n{number}") for number in (1, 2, 3))
    first.on_create = lambda draft: Part(undo=lambda: undone.append("first"))
    second.on_create = lambda draft: Part(undo=broken)
    third.on_create = refuse
    bench = make_bench(first, second, third)
    bench.refused(409, "NEIGHBOUR_REFUSES")
    assert undone == ["first"]
    assert bench.tree() == {}


def test_a_draft_shows_the_folder_as_it_will_be(bench: Any) -> None:
    drafts = []

    def look(draft: Any) -> None:
        drafts.append((draft, sorted(path.name for path in draft.directory.iterdir())))

    bench.neighbours["neighbour"].on_create = look
    bench.create(metadata={"type": "web"}, env_vars=[{"key": "A", "value": "b"}])
    draft, files = drafts[0]
    assert draft.directory == bench.root / "blog"
    assert draft.compose["services"] == {"web": {"image": "busybox", "expose": ["80"]}}
    assert draft.metadata["type"] == "web"
    assert draft.request.env == {"A": "b"}
    assert {"docker-compose.yml", "service.yml", ".env.flatrun"} <= set(files)


def test_a_name_that_a_plugin_keeps_is_refused(bench: Any) -> None:
    def keep(draft: Any) -> None:
        raise Invalid("The name 'nginx' is kept", code="RESERVED_NAME")

    bench.neighbours["neighbour"].on_create = keep
    bench.refused(400, "RESERVED_NAME", name="nginx")
    assert bench.tree() == {}


def test_a_database_may_be_what_the_compose_file_insists_on(make_bench: Any, new_neighbour: Any) -> None:
    databases = new_neighbour("databases")
    databases.on_create = lambda draft: Part(env={"DB_HOST": "db"})
    bench = make_bench(databases)
    text = "services:\n  web:\n    image: busybox\n    environment: ['H=${DB_HOST:?needs a database}']\n"
    bench.create(compose=text, use_shared_database=True)
    (validation,) = bench.compose.calls
    assert validation.args == ("config",)
    assert [file.name for file in validation.project.env_files] == [".env.flatrun"]


# --- templates ---


@pytest.fixture
def templates(make_bench: Any, new_neighbour: Any) -> Any:
    """Return a panel with the fake templates, and a neighbour that joins."""
    neighbour = new_neighbour("templates")
    neighbour.offers[TEMPLATES] = FakeTemplates()
    return make_bench(neighbour)


def test_a_template_gives_compose_files_folders_and_metadata(templates: Any, free_port: int) -> None:
    templates.create(
        compose=None, template_id="static", port=free_port, metadata={"networking": {"domain": "a.example"}}
    )
    asked = templates.neighbours["templates"].offers[TEMPLATES].asked
    assert asked == [{"NAME": "blog", "PORT": free_port, "DOMAIN": "a.example", "env": {}}]
    folder = templates.root / "blog"
    assert (folder / "conf/site.conf").read_text() == "server blog ${DB_HOST}\n"
    assert (folder / "data/cache").is_dir()
    assert (folder / ".env.flatrun").read_text() == "SALT=generated-1\n"
    metadata = templates.client.get("/api/deployments/blog").get_json()["deployment"]["metadata"]
    assert metadata["template_id"] == "static"
    assert metadata["healthcheck"]["path"] == "/up"
    assert metadata["networking"]["container_port"] == 8080


def test_an_unknown_template_is_404_and_nothing_stays(templates: Any) -> None:
    templates.refused(404, "TEMPLATE_NOT_FOUND", compose=None, template_id="nope")
    assert templates.tree() == {}


def test_a_template_beside_compose_only_adds_its_files(templates: Any) -> None:
    templates.create(compose=COMPOSE, template_id="static")
    assert (templates.root / "blog" / "docker-compose.yml").read_text() == COMPOSE
    assert (templates.root / "blog" / "conf/site.conf").exists()
    metadata = templates.client.get("/api/deployments/blog").get_json()["deployment"]["metadata"]
    assert metadata["networking"]["container_port"] == 8080
    assert metadata["healthcheck"]["path"] == "/"
    assert templates.neighbours["templates"].offers[TEMPLATES].asked[0]["files_only"] is True


def test_template_files_are_filled_with_what_joins_add_and_nothing_is_generated_twice(templates: Any) -> None:
    templates.neighbours["templates"].on_create = lambda draft: Part(env={"DB_HOST": "db"})
    templates.create(compose=None, template_id="static")
    folder = templates.root / "blog"
    assert (folder / "conf/site.conf").read_text() == "server blog db\n"
    assert (folder / ".env.flatrun").read_text() == "SALT=generated-1\nDB_HOST=db\n"


@pytest.mark.parametrize(
    "path", ["../x", "/etc/x", "a/../../x", "docker-compose.yml", "./service.yml", ".flatrun-x"]
)
def test_files_never_leave_the_folder_nor_replace_the_panels_own(bench: Any, path: str) -> None:
    with pytest.raises(Invalid) as caught:
        bench.deployments.create(NewDeployment("blog", COMPOSE, files={path: "x"}), SYSTEM)
    assert caught.value.code == "INVALID_PATH"
    assert bench.tree() == {}
    assert list(bench.root.glob("[!.]*")) == []


# --- proxy and registry ---


def test_an_exposed_creation_without_a_proxy_says_so(bench: Any) -> None:
    result = bench.create(metadata={"networking": {"expose": True, "domain": "a.example"}})["proxy_result"]
    assert result["skipped"] is True
    assert result["success"] is False
    assert result["deployment_name"] == "blog"


@pytest.fixture
def routed(make_bench: Any, new_neighbour: Any) -> Any:
    """Return a panel with fake routes."""
    neighbour = new_neighbour("domains")
    neighbour.offers[ROUTES] = FakeRoutes()
    return make_bench(neighbour)


EXPOSED = {"networking": {"expose": True, "domain": "a.example"}}


def test_an_exposed_creation_joins_the_proxy_network_and_is_published(routed: Any) -> None:
    result = routed.create(auto_start=True, metadata=EXPOSED)["proxy_result"]
    assert result == {"deployment_name": "blog", "success": True}
    assert "proxy" in routed.engine.networks()
    assert next(iter(routed.engine.containers())).networks == ("blog_default", "proxy")
    assert routed.client.get("/api/deployments/blog").get_json()["proxy_status"]["exposed"] is True


def test_publishing_is_tried_three_times_and_its_failure_is_told(routed: Any) -> None:
    routes = routed.neighbours["domains"].offers[ROUTES]
    routes.failures = [Failed("busy"), Failed("busy")]
    assert routed.create(metadata=EXPOSED)["proxy_result"]["success"] is True
    routes.failures = [Failed("no"), Failed("no"), Failed("never")]
    result = routed.create(name="two", metadata=EXPOSED)["proxy_result"]
    assert (result["success"], result["skipped"], result["message"]) == (False, False, "never")
    assert routes.published == ["blog"] * 3 + ["two"] * 3


def test_an_exposed_creation_needs_the_engine_for_its_network(routed: Any) -> None:
    routed.engine.down = True
    routed.refused(503, "DOCKER_UNAVAILABLE", metadata=EXPOSED)
    assert routed.tree() == {}


def test_routes_that_do_not_know_an_unfinished_deployment_do_not_stop_it(routed: Any) -> None:
    routed.neighbours["domains"].offers[ROUTES].known = {"another"}
    routed.create(metadata=EXPOSED)


class FakeCredentials:
    """A login for every image, or a failure."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.asked: list[tuple[tuple[str, ...], str | None]] = []

    @contextmanager
    def docker_config(self, images: Any, credential_id: str | None) -> Any:
        self.asked.append((tuple(images), credential_id))
        if self.failure:
            raise self.failure
        yield Path("/tmp/throw-away")


def test_pulls_use_a_throw_away_login(make_bench: Any, new_neighbour: Any) -> None:
    registries, credentials = new_neighbour("registries"), FakeCredentials()
    registries.offers[CREDENTIALS] = credentials
    bench = make_bench(registries)
    bench.create(auto_start=True, registry_credential={"credential_id": "c1"})
    assert credentials.asked == [(("busybox",), "c1")]
    assert bench.compose.calls[-1].project.env["DOCKER_CONFIG"] == "/tmp/throw-away"
    bench.client.post("/api/deployments/blog/stop")
    assert len(credentials.asked) == 1


def test_a_login_that_fails_is_told_and_the_start_goes_on(make_bench: Any, new_neighbour: Any) -> None:
    registries = new_neighbour("registries")
    registries.offers[CREDENTIALS] = FakeCredentials(Failed("the key is lost"))
    bench = make_bench(registries)
    answer = bench.create(auto_start=True)
    assert answer["registry_login_error"] == "the key is lost"
    assert not answer["start_error"]
    assert bench.client.post("/api/deployments/blog/start").status_code == 500


# --- over a removed deployment ---


def test_a_removed_deployments_folder_is_taken_over_with_its_data(bench: Any) -> None:
    bench.create(env_vars=[{"key": "OLD", "value": "1"}, {"key": "BOTH", "value": "old"}])
    folder = bench.root / "blog"
    (folder / "data").mkdir()
    (folder / "data/rows").write_text("precious")
    (folder / "compose.override.yml").write_text("services: {web: {image: other}}")
    old = {
        name: (folder / name).read_bytes() for name in ("docker-compose.yml", "service.yml", ".env.flatrun")
    }
    bench.client.delete("/api/deployments/blog")
    bench.create(compose=COMPOSE + "# new\n", env_vars=[{"key": "BOTH", "value": "new"}])
    assert (folder / "data/rows").read_text() == "precious"
    assert (folder / "docker-compose.yml").read_text() == COMPOSE + "# new\n"
    assert (folder / ".env.flatrun").read_text() == "OLD=1\nBOTH=new\n"
    assert not (folder / ".flatrun-removed").exists()
    assert not (folder / "compose.override.yml").exists()
    for name, content in old.items():
        assert [path.read_bytes() for path in folder.glob(f"{name}.bak.*")] == [content], name
    assert len(list(folder.glob("compose.override.yml.bak.*"))) == 1
    assert bench.names() == ["blog"]


@pytest.mark.parametrize("name", ["compose.yml", "my-compose.yaml"])
def test_a_compose_file_of_another_name_is_put_aside(bench: Any, name: str) -> None:
    bench.names()
    folder = bench.root / "blog"
    folder.mkdir()
    (folder / name).write_text("services: {a: {image: old}}")
    (folder / ".flatrun-removed").touch()
    bench.create()
    assert not (folder / name).exists()
    assert len(list(folder.glob(f"{name}.bak.*"))) == 1
    assert bench.client.get("/api/deployments/blog").get_json()["compose_filename"] == "docker-compose.yml"


def test_a_creation_over_a_removed_one_that_fails_puts_every_byte_back(
    make_bench: Any, new_neighbour: Any
) -> None:
    neighbour = new_neighbour("templates")
    neighbour.offers[TEMPLATES] = FakeTemplates()
    bench = make_bench(neighbour)
    bench.create(env_vars=[{"key": "A", "value": "1"}])
    folder = bench.root / "blog"
    (folder / "conf").mkdir()
    (folder / "conf/site.conf").write_text("mine")
    (folder / "compose.override.yml").write_text("services: {}")
    bench.client.delete("/api/deployments/blog")
    before = bench.tree()
    neighbour.on_create = refuse
    bench.refused(
        409, "NEIGHBOUR_REFUSES", compose=None, template_id="static", env_vars=[{"key": "B", "value": "2"}]
    )
    assert bench.tree() == before
    assert not (folder / "data").exists()
    assert bench.names() == []
    neighbour.on_create = lambda draft: None
    bench.create(compose=None, template_id="static")
    assert (folder / "conf/site.conf").read_text().startswith("server blog")
    assert [path.read_text() for path in (folder / "conf").glob("site.conf.bak.*")] == ["mine"]


def test_generated_secrets_of_a_removed_deployment_are_kept(templates: Any) -> None:
    templates.create(compose=None, template_id="static")
    templates.client.delete("/api/deployments/blog")
    templates.create(compose=None, template_id="static")
    assert (templates.root / "blog" / ".env.flatrun").read_text() == "SALT=generated-1\n"


def test_only_who_removed_it_or_an_administrator_takes_a_folder_over(bench: Any) -> None:
    ann, bob = scoped("ann", grants={"blog": Level.ADMIN}), scoped("bob")
    new = NewDeployment("blog", COMPOSE)
    bench.deployments.create(new, ann)
    bench.deployments.remove("blog", _options(), ann)
    with pytest.raises(Conflict):
        bench.deployments.create(new, bob)
    bench.deployments.create(new, ann)
    bench.deployments.remove("blog", _options(), ann)
    bench.deployments.create(new, SYSTEM)


def test_at_most_five_earlier_compose_files_are_kept(bench: Any) -> None:
    for number in range(8):
        bench.create(compose=f"{COMPOSE}# {number}\n")
        bench.client.delete("/api/deployments/blog")
    bench.create(compose=COMPOSE)
    kept = [path.read_text() for path in sorted((bench.root / "blog").glob("docker-compose.yml.bak.*"))]
    assert kept == [f"{COMPOSE}# {number}\n" for number in range(3, 8)]


def test_at_most_five_earlier_copies_of_every_other_file_are_kept(bench: Any) -> None:
    folder = bench.root / "blog"
    for number in range(8):
        bench.create(env_vars=[{"key": "A", "value": str(number)}])
        bench.client.delete("/api/deployments/blog")
    bench.create()
    assert [path.read_text() for path in sorted(folder.glob(".env.flatrun.bak.*"))] == [
        f"A={number}\n" for number in range(2, 7)
    ]
    assert len(list(folder.glob("service.yml.bak.*"))) == 5


def test_no_copy_changes_with_the_file_in_use(bench: Any) -> None:
    folder = bench.root / "blog"
    bench.create(env_vars=[{"key": "A", "value": "1"}])
    bench.client.delete("/api/deployments/blog")
    bench.create(env_vars=[{"key": "A", "value": "1"}])
    assert [path.name for path in folder.iterdir() if path.is_file() and path.stat().st_nlink > 1] == []


def _options() -> Any:
    from flatrun_core.ports.deployments import RemoveOptions

    return RemoveOptions()
