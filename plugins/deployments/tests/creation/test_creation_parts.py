"""What other plugins add to a creation, refuse and undo."""

from collections.abc import Callable
from typing import Any

from flatrun_core import Invalid
from flatrun_core.ports.deployments import Part


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


def test_a_plugin_that_refuses_undoes_those_before_it_in_reverse(
    make_bench: Any, new_neighbour: Any, refuse: Callable[..., Part]
) -> None:
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


def test_an_undo_that_fails_does_not_stop_the_others(
    make_bench: Any, new_neighbour: Any, refuse: Callable[..., Part]
) -> None:
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
