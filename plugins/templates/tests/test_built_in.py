"""The built-in templates, as texts."""

import re
from typing import Any

import pytest

from flatrun_core.yaml_reader import read_yaml
from flatrun_templates.sources import BUILT_IN, built_in

SECRET = re.compile(r"PASSWORD|SECRET|SALT|TOKEN|_KEY\b|APP_KEY", re.IGNORECASE)
VARIABLE = re.compile(r"\$\{([A-Z0-9_]+):\?[^}]*\}")
EACH = pytest.mark.parametrize("template_id", sorted(built_in()))
NEEDS = {"PORT": 8080, "DOMAIN": "site.example"}


def document(bench: Any, template_id: str) -> dict[str, Any]:
    found: dict[str, Any] = read_yaml(bench.render(template_id, **NEEDS).compose)
    return found


def test_every_folder_in_the_package_is_offered() -> None:
    assert {path.name: path for path in BUILT_IN.iterdir()} == built_in()


@EACH
def test_it_is_described(bench: Any, template_id: str) -> None:
    found = bench.service._library.get(template_id)
    assert found.metadata.problems == ()
    assert found.metadata.refusal == ""
    assert found.metadata.description
    assert found.metadata.container_port
    assert found.metadata.category != "general"


@EACH
def test_it_needs_neither_port_nor_domain_nor_anything_else(bench: Any, template_id: str) -> None:
    assert bench.render(template_id).compose


@EACH
def test_every_service_has_a_healthcheck_an_image_and_comes_back(bench: Any, template_id: str) -> None:
    for name, service in document(bench, template_id)["services"].items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name
        image = service.get("image")
        assert "build" in service or (":" in image and not image.endswith(":latest")), name
        assert "container_name" not in service, "two deployments of one template must not collide"
        assert "ports" not in service, "the port is published by the panel"


@EACH
def test_the_container_port_is_exposed_by_the_first_service(bench: Any, template_id: str) -> None:
    services = document(bench, template_id)["services"]
    first = services.get("app") or services.get("web") or next(iter(services.values()))
    assert first["expose"] == [str(bench.listed()[template_id]["container_port"])]


@EACH
def test_every_secret_is_generated_anew(bench: Any, template_id: str) -> None:
    first, second = bench.render(template_id), bench.render(template_id)
    env = {
        key: str(value)
        for service in read_yaml(first.compose)["services"].values()
        for key, value in (service.get("environment") or {}).items()
    }
    secrets = {key: value for key, value in env.items() if SECRET.search(key)}
    for key, value in secrets.items():
        match = VARIABLE.fullmatch(value)
        assert match, f"{key} is fixed"
        assert len(first.env[match[1]]) >= 32
        assert first.env[match[1]] != second.env[match[1]]
    wanted = {match[1] for match in VARIABLE.finditer(first.compose)}
    assert wanted <= set(first.env)


@EACH
def test_every_volume_and_folder_is_declared_and_made(bench: Any, template_id: str) -> None:
    rendered = bench.render(template_id)
    found = read_yaml(rendered.compose)
    for service in found["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert f"{source[2:]}/" in rendered.files, f"{source} is no mount of type file"
            else:
                assert source in found["volumes"]
                assert len(source) > 1


@EACH
def test_what_keeps_data_is_a_mount_that_people_can_see(bench: Any, template_id: str) -> None:
    shown = {mount["container_path"] for mount in bench.listed()[template_id]["mounts"]}
    services = document(bench, template_id)["services"].values()
    used = {volume.split(":")[1] for service in services for volume in service.get("volumes", ())}
    assert shown <= used
    assert used - shown <= {"/var/www/html/bootstrap/cache"}


def test_the_static_template_serves_a_page_out_of_the_box(bench: Any) -> None:
    rendered = bench.render("static")
    assert rendered.files["html/index.html"].startswith("<!doctype html>")
    assert "blog is online" in rendered.files["html/index.html"]
    assert read_yaml(rendered.compose)["services"]["web"]["volumes"] == ["./html:/usr/share/nginx/html:ro"]


def test_infrastructure_joins_the_panels_networks_by_their_configured_names(networked: Any) -> None:
    bench = networked("front", "sql")
    for template_id in built_in():
        metadata = bench.render(template_id).metadata
        joined = metadata["networking"].get("networks", [])
        kind = template_id.partition("-")[0]
        expected = ["front"] if template_id == "infra-nginx" else ["sql"] if kind == "infra" else []
        assert joined == expected, template_id


def test_salts_of_wordpress_are_eight_long_random_texts(bench: Any) -> None:
    env = bench.render("wordpress").env
    salts = {value for key, value in env.items() if key.startswith("WORDPRESS_")}
    assert len(salts) == 8
    assert all(len(salt) == 64 for salt in salts)


def test_laravel_gets_a_key_in_its_own_form(bench: Any) -> None:
    assert bench.render("laravel").env["APP_KEY"].startswith("base64:")
