"""Creations over a removed deployment's folder: its data, and the copies that are kept."""

from collections.abc import Callable
from typing import Any

import pytest

from flatrun_core import Conflict
from flatrun_core.ports.auth import SYSTEM, Identity, Level
from flatrun_core.ports.deployments import TEMPLATES, NewDeployment, Part

COMPOSE = "services:\n  web:\n    image: busybox\n    expose: ['80']\n"


def _options() -> Any:
    from flatrun_core.ports.deployments import RemoveOptions

    return RemoveOptions()


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
    make_bench: Any, new_neighbour: Any, fake_templates: Any, refuse: Callable[..., Part]
) -> None:
    neighbour = new_neighbour("templates")
    neighbour.offers[TEMPLATES] = fake_templates
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


def test_only_who_removed_it_or_an_administrator_takes_a_folder_over(
    bench: Any, scoped: Callable[..., Identity]
) -> None:
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
