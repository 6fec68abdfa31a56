"""Hosts are rendered and compared one by one, and only those that are new."""

from collections.abc import Callable
from typing import Any

import pytest

from flatrun_core import Failed
from flatrun_core.ports.proxy import Host, Route, Site
from flatrun_nginx import parsing, sites
from flatrun_nginx.parsing import Node, Unreadable, parse_text
from flatrun_nginx.rendering import Renderer


def many(count: int, port: int = 80) -> Site:
    """A site of so many hosts, of which the first one has a port of its own."""
    hosts = [
        Host(f"d{number:04}.example.com", (), (Route("/", "blog-web", 80 if number else port),))
        for number in range(count)
    ]
    return Site("blog", tuple(hosts))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[int, int]]:
    """How many hosts were rendered and parsed since it was asked last."""
    done = [0, 0]

    def count(index: int, function: Any) -> Any:
        def counting(*args: Any) -> Any:
            done[index] += 1
            return function(*args)

        return counting

    monkeypatch.setattr(Renderer, "host", count(0, Renderer.host))
    monkeypatch.setattr(sites, "parse_text", count(1, parsing.parse_text))

    def since() -> tuple[int, int]:
        found = (done[0], done[1])
        done[:] = [0, 0]
        return found

    return since


def test_one_host_of_many_costs_as_much_as_the_first(world: Any, counted: Any) -> None:
    world.backend.apply([many(40)], {"blog"}, False)
    assert counted() == (40, 40)
    for after in (many(41), many(41, port=81)):
        world.backend.apply([after], {"blog"}, False)
        assert counted() == (1, 1)
    world.backend.apply([many(40, port=81)], {"blog"}, False)
    assert counted() == (0, 0)
    assert world.nginx.judge_live() == ""


def test_what_stands_in_a_file_is_not_compared_again_after_a_start(world: Any, counted: Any) -> None:
    world.backend.apply([many(20)], {"blog"}, False)
    counted()
    start = world.fresh()
    start.apply([many(20)], set(), False)
    start.apply([many(21)], {"blog"}, False)
    assert counted() == (21, 1)


def test_more_names_than_the_table_had_render_no_other_site(world: Any, make_site: Any, counted: Any) -> None:
    world.backend.apply([many(511), make_site("shop")], set(), False)
    counted()
    world.backend.apply([many(512), make_site("shop")], {"blog"}, False)
    assert counted() == (1, 1)
    assert "server_names_hash_max_size 2048;" in (world.conf / "00-flatrun-maps.conf").read_text()


@pytest.mark.parametrize(
    "tail",
    [
        '"',
        "'",
        "#",
        "# no end",
        "\\",
        "deny all",
        "deny all;\n",
        "}\n",
        "}\nserver {\n",
        "server {\n",
        "access_by_lua_block {",
        'x "',
    ],
)
def test_a_template_that_breaks_out_of_its_place_is_refused(
    world: Any, make_site: Any, monkeypatch: pytest.MonkeyPatch, tail: str
) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    render = Renderer.host
    monkeypatch.setattr(Renderer, "host", lambda *args: render(*args) + tail)
    with pytest.raises(Failed) as caught:
        world.backend.apply([many(2, port=81)], {"blog"}, False)
    assert "would not say what it should" in caught.value.message
    assert ":81;" not in (world.conf / "blog.conf").read_text()


@pytest.mark.parametrize("text", ["a;", "a 'b';\n", "a;\n# b\n", "a { b; }", "", "\n"])
def test_whole_statements_are_read(text: str) -> None:
    assert [node.name for node in parse_text(text)] == (["a"] if text.strip() else [])


@pytest.mark.parametrize("text", ["a", "a 'b", 'a; "', "a; # b", "a; \\", "a {", "}", "a { b }", "${"])
def test_what_is_left_open_is_not_read(text: str) -> None:
    with pytest.raises(Unreadable, match=r"\w"):
        parse_text(text)


def test_the_statements_of_a_row_are_those_of_its_pieces() -> None:
    pieces = ["a 'b;}';\n", "# c\nd { e; }\n"]
    assert parse_text("".join(pieces)) == (*parse_text(pieces[0]), *parse_text(pieces[1]))
    assert parse_text(pieces[0]) == (Node("a", ("b;}",)),)
