"""Creations from a template."""

from typing import Any

from flatrun_core.ports.deployments import TEMPLATES, Part

COMPOSE = "services:\n  web:\n    image: busybox\n    expose: ['80']\n"


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
