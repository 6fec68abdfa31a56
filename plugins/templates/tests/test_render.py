"""A template filled for a deployment (``TEMPLATES``)."""

from pathlib import Path
from typing import Any

import pytest

from flatrun_core import HOOK_API, FlatrunError, Invalid, NotFound, PluginInfo, hookimpl
from flatrun_core.ports.deployments import TEMPLATES
from flatrun_core.yaml_reader import read_yaml

COMPOSE = """\
name: ${NAME}
services:
  web:
    image: busybox
    environment: {PASSWORD: "${DB_PASSWORD:?}", TZ: "${TZ:-UTC}"}
    networks: [proxy, data]
networks:
  proxy: {external: true}
  data: {name: "${DATABASE_NETWORK}", external: true}
  edge: {name: "x-${PROXY_NETWORK}"}
"""


def test_the_port_is_offered(bench: Any) -> None:
    services = bench.app.extensions["flatrun"].services
    assert services.get(TEMPLATES) is bench.service


@pytest.mark.parametrize(
    "template_id", ["nope", "", "..", "../static", "Static", "static/", "a\0b", "infra/mysql"]
)
def test_an_unknown_id_is_404(bench: Any, template_id: str) -> None:
    with pytest.raises(NotFound) as caught:
        bench.render(template_id)
    assert caught.value.code == "TEMPLATE_NOT_FOUND"


def test_networks_are_proxy_and_database_without_the_plugin_that_names_them(bench: Any) -> None:
    bench.write("mine", COMPOSE)
    networks = read_yaml(bench.render("mine").compose)["networks"]
    assert networks == {
        "proxy": {"external": True},
        "data": {"name": "database", "external": True},
        "edge": {"name": "x-proxy"},
    }


def test_networks_have_the_configured_names(networked: Any) -> None:
    bench = networked("front", "sql")
    bench.write("mine", COMPOSE)
    rendered = bench.render("mine")
    document = read_yaml(rendered.compose)
    assert document["networks"] == {
        "front": {"external": True},
        "data": {"name": "sql", "external": True},
        "edge": {"name": "x-front"},
    }
    assert document["services"]["web"]["networks"] == ["front", "data"]
    assert rendered.metadata == {"networking": {"networks": ["front", "sql"]}}


def test_a_network_of_the_configured_name_in_the_template_is_a_clear_400(networked: Any) -> None:
    bench = networked("edge")
    bench.write("mine", COMPOSE)
    with pytest.raises(Invalid, match="'edge'") as caught:
        bench.render("mine")
    assert caught.value.code == "COMPOSE_INVALID"


@pytest.mark.parametrize(("name", "given"), [("PORT", {"PORT": 8080}), ("DOMAIN", {"DOMAIN": "a.example"})])
def test_a_placeholder_without_a_value_is_400_naming_it(bench: Any, name: str, given: dict[str, Any]) -> None:
    bench.write("mine", f"services: {{web: {{image: busybox, hostname: 'x-${{{name}}}'}}}}\n")
    with pytest.raises(Invalid, match=name):
        bench.render("mine")
    assert bench.render("mine", files_only=True).compose == ""
    assert str(*given.values()) in bench.render("mine", **given).compose


@pytest.mark.parametrize(
    "values",
    [
        {"NAME": "a\nb: c"},
        {"NAME": None},
        {"PORT": "80"},
        {"PORT": 0},
        {"DOMAIN": "a.b\nservices: {}"},
        {"DOMAIN": "x"},
    ],
)
def test_no_value_breaks_out_of_the_yaml(bench: Any, values: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        bench.render("static", **values)


def test_files_get_every_variable_and_keep_what_is_unknown(bench: Any) -> None:
    bench.write(
        "mine",
        metadata="files:\n- path: conf/./site.conf\n"
        "  content: '${NAME}|${DOMAIN}|${DB_NAME}|${DB_PASSWORD}|${X}|$host'\n",
    )
    env = {"DB_DATABASE": "blog_db", "DB_PASSWORD": "${NAME}", "NAME": "liar"}
    assert bench.render("mine", env=env).files == {
        "conf/site.conf": "blog|${DOMAIN}|blog_db|${NAME}|${X}|$host"
    }


def test_a_file_outside_the_folder_refuses_the_whole_template(bench: Any) -> None:
    bench.write("mine", metadata="files: [{path: ../../evil, content: x}]")
    with pytest.raises(Invalid) as caught:
        bench.render("mine")
    assert caught.value.code == "INVALID_PATH"
    assert "mine" in bench.listed()


def test_secrets_are_made_once_and_never_again_for_what_is_given(bench: Any) -> None:
    bench.write(
        "mine",
        metadata="env: [{key: SALT, generate: true}, {key: TZ, default: UTC}]\n"
        "files: [{path: salt, content: '${SALT}'}]\n",
    )
    first, other = bench.render("mine"), bench.render("mine")
    assert set(first.env) == {"SALT", "TZ"}
    assert first.env["SALT"] != other.env["SALT"]
    again = bench.render("mine", env={**first.env, "DB_HOST": "db"})
    assert again.env == {}
    assert again.files == first.files == {"salt": first.env["SALT"]}


def test_a_required_variable_is_asked_for(bench: Any) -> None:
    bench.write("mine", metadata="env: [{key: API_TOKEN, required: true}]")
    with pytest.raises(Invalid, match="API_TOKEN"):
        bench.render("mine")


def test_mounts_beside_the_compose_file_are_folders_with_their_subdirectories(bench: Any) -> None:
    bench.write(
        "mine",
        """\
services:
  web:
    image: busybox
    volumes:
      - ./html/:/var/www:ro
      - ./site.conf:/etc/site.conf
      - type: bind
        source: ./v1.2
        target: /opt/data/
      - data:/data
      - ../up:/up
      - /abs:/abs
      - ./${WHERE}:/where
""",
        """\
container_port: 8080
mounts:
  - {id: html, container_path: /var/www, type: file, subdirectories: [a/b, c]}
  - {id: conf, container_path: /etc/site.conf, type: file}
  - {id: data, container_path: /data, type: volume, subdirectories: [d]}
  - {id: opt, container_path: /opt/data, type: file}
  - {id: up, container_path: /up, type: file}
  - {id: abs, container_path: /abs, type: file}
  - {id: where, container_path: /where, type: file}
  - {id: other, container_path: /other, type: file}
files: [{path: site.conf, content: x}]
""",
    )
    rendered = bench.render("mine")
    assert rendered.files == {"site.conf": "x", "html/": "", "html/a/b/": "", "html/c/": "", "v1.2/": ""}
    assert rendered.metadata == {"networking": {"container_port": 8080}}


def test_compose_text_that_is_no_yaml_is_a_400_with_its_line(bench: Any) -> None:
    bench.write("mine", "services:\n  web: [\n")
    with pytest.raises(Invalid, match="line") as caught:
        bench.render("mine")
    assert caught.value.code == "COMPOSE_INVALID"
    assert bench.render("mine", files_only=True).files == {}


@pytest.mark.parametrize(
    "text", ["services: {web: }", "services: [a]", "a", "", "services: {web: {volumes: {a: b}}}"]
)
def test_odd_documents_are_left_to_whoever_creates(bench: Any, text: str) -> None:
    bench.write("mine", text, "mounts: [{id: a, container_path: /a, type: file}]")
    assert bench.render("mine").compose == text


def test_another_plugins_templates_are_treated_like_built_in_ones(make_bench: Any, tmp_path: Path) -> None:
    shop = Shop(tmp_path / "package" / "shop", "my-shop")
    bench = make_bench(shop)
    assert bench.listed()["my-shop"]["name"] == "Shop"
    assert (bench.folder / "my-shop" / "metadata.yml").exists()
    (bench.folder / "my-shop" / "metadata.yml").write_text("name: Edited\n")
    bench.client.post("/api/templates/refresh")
    assert bench.listed()["my-shop"]["name"] == "Shop"
    assert (bench.folder / "my-shop" / "metadata.yml.bak").exists()


@pytest.mark.parametrize("name", ["static", "no id"])
def test_another_plugins_template_with_a_bad_id_stops_the_start(
    make_bench: Any, tmp_path: Path, name: str
) -> None:
    with pytest.raises(Exception, match=name) as caught:
        make_bench(Shop(tmp_path / "package" / "shop", name))
    assert not isinstance(caught.value, FlatrunError)


class Shop:
    """A plugin with a template."""

    PLUGIN = PluginInfo(slug="shop", hook_api=HOOK_API, display_name="Shop")

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True)
        (folder / "docker-compose.yml").write_text("services: {}\n")
        (folder / "metadata.yml").write_text("name: Shop\n")
        self.folder = folder
        self.name = name

    @hookimpl(optionalhook=True)
    def flatrun_register_templates(self) -> list[Any]:
        return [self]
