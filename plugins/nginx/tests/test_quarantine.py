"""Files that nginx refuses: left out, kept with the reason, tried again, and never in the way of others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flatrun_core import Failed
from flatrun_core.ports.nginx import Fragment
from flatrun_nginx import quarantine

BROKEN = "server {\n    no_such_directive on;\n}\n"


def age(world: Any) -> None:
    """Let every refused file be old enough to be tried again."""
    for path in world.conf.glob("*.quarantined.json"):
        path.write_text(path.read_text().replace('"at": ', '"at": -'))


def test_a_hand_made_file_that_is_good_is_left_where_it_is(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], set(), False)
    (world.conf / "own.conf").write_text("server {\n    listen 80;\n    server_name own.example.com;\n}\n")
    applied = world.backend.apply([make_site("blog", port=81)], {"blog"}, False)
    assert applied.quarantined == {}
    assert (world.conf / "own.conf").exists()
    assert "own" not in world.backend.virtual_hosts()


def test_a_hand_made_file_that_is_broken_is_set_aside_and_kept(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], set(), False)
    (world.conf / "own.conf").write_bytes(BROKEN.encode() + b"# \xff\n")
    applied = world.backend.apply([make_site("blog", port=81)], {"blog"}, False)
    assert applied.reloaded
    assert "no_such_directive" in applied.quarantined["own"]
    assert (world.conf / "own.conf.quarantined").read_bytes() == BROKEN.encode() + b"# \xff\n"
    assert not (world.conf / "own.conf").exists()
    found = world.fresh().virtual_hosts()["own"]
    assert (found.exists, found.quarantined) == (False, True)
    assert "no_such_directive" in found.reason


def test_a_hand_made_file_that_was_mended_is_served_again(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], set(), False)
    (world.conf / "own.conf").write_text(BROKEN)
    world.backend.apply([make_site("blog")], set(), False)
    good = "server {\n    listen 80;\n    server_name own.example.com;\n}\n"
    (world.conf / "own.conf.quarantined").write_text(good)
    assert world.backend.apply([make_site("blog")], set(), True).quarantined == {}
    assert (world.conf / "own.conf").read_text() == good
    assert not list(world.conf.glob("*.quarantined*"))


def test_a_hand_made_file_put_back_by_hand_counts(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], set(), False)
    (world.conf / "own.conf").write_text(BROKEN)
    world.backend.apply([make_site("blog")], set(), False)
    (world.conf / "own.conf").write_text("server {\n    listen 80;\n    server_name own.example.com;\n}\n")
    assert world.backend.apply([make_site("blog")], set(), False).quarantined == {}
    assert world.backend.virtual_hosts().keys() == {"blog"}


def test_several_broken_ones_are_all_left_out(world: Any, make_site: Any, spoiled: Any) -> None:
    world.backend.apply([make_site("blog")], set(), False)
    (world.conf / "a.conf").write_text(BROKEN)
    (world.conf / "z.conf").write_text(BROKEN)
    sites = [make_site("blog", port=81), spoiled("shop"), spoiled("wiki")]
    applied = world.backend.apply(sites, {"blog"}, False)
    assert list(applied.quarantined) == ["a", "shop", "wiki", "z"]
    assert applied.reloaded
    assert world.nginx.judge_live() == ""


def test_a_generated_file_broken_by_hand_is_replaced_and_a_copy_kept(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog"), make_site("shop")], set(), False)
    good = (world.conf / "shop.conf").read_text()
    (world.conf / "shop.conf").write_text(good + BROKEN)
    applied = world.backend.apply([make_site("blog", port=81), make_site("shop")], {"blog"}, False)
    assert applied.quarantined == {}
    assert (world.conf / "shop.conf").read_text() == good
    copies = list(world.conf.glob("shop.conf.edited-*"))
    assert [path.read_text() for path in copies] == [good + BROKEN]


def test_a_generated_file_that_was_removed_comes_back(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], set(), False)
    (world.conf / "blog.conf").unlink()
    (world.conf / "default.conf").unlink()
    assert world.backend.apply([make_site("blog")], set(), False).changed
    assert (world.conf / "blog.conf").exists()
    assert (world.conf / "default.conf").exists()


def test_an_edited_file_of_a_site_that_goes_is_kept_as_a_copy(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], set(), False)
    with (world.conf / "blog.conf").open("a") as file:
        file.write("# mine\n")
    world.backend.apply([], {"blog"}, False)
    assert not (world.conf / "blog.conf").exists()
    assert [path.read_text()[-7:] for path in world.conf.glob("blog.conf.edited-*")] == ["# mine\n"]


def test_what_was_left_out_outlives_the_panel_and_is_tried_again_later(
    world: Any, make_site: Any, spoiled: Any
) -> None:
    sites = [make_site("blog"), spoiled("shop")]
    world.backend.apply(sites, {"blog"}, False)
    world.nginx.tests.clear()
    again = world.backend.apply(sites, set(), False)
    assert (list(again.quarantined), world.nginx.tests) == (["shop"], [])
    start = world.fresh()
    assert start.status("shop").quarantined
    age(world)
    world.nginx.tests.clear()
    start.apply(sites, set(), False)
    assert len(world.nginx.tests) == 2
    assert start.status("shop").quarantined


def test_a_refusal_that_names_no_file_is_traced_to_one(
    world: Any, make_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites = [make_site(f"site-{number}") for number in range(9)]
    world.backend.apply(sites, set(), False)

    def judge(main: str) -> str:
        folder = world.conf / Path(main).parent.name / "set"
        return "could not build the table" if (folder / "site-6.conf").exists() else ""

    monkeypatch.setattr(world.nginx, "judge", judge)
    applied = world.backend.apply([*sites[:8], make_site("site-8", port=81)], {"site-8"}, False)
    assert applied.quarantined == {"site-6": "could not build the table"}
    assert len([name for name in world.names() if name.startswith("site-") and name.endswith(".conf")]) == 8


def test_a_container_that_does_not_see_the_files_is_told_what_it_lacks(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], set(), False)

    def lost(call: Any) -> Any:
        told = f'nginx: [emerg] open() "{call.args[-1]}" failed (2: No such file or directory)\n'
        return call.done(stderr=told, returncode=1) if "-t" in call.args else world.nginx.run(call)

    world.engine.programs["nginx"] = lost
    with pytest.raises(Failed) as caught:
        world.backend.apply([make_site("blog", port=81)], {"blog"}, False)
    assert "does not have nginx's folder conf.d mounted at /etc/nginx/conf.d" in caught.value.message


def test_what_is_wrong_with_the_shared_files_is_nobodys_fault(world: Any, make_site: Any) -> None:
    world.backend.apply([make_site("blog")], set(), False)
    before = world.names()
    world.contributor.fragments = [Fragment("http", "no_such_directive on;")]
    with pytest.raises(Failed) as caught:
        world.backend.apply([make_site("blog", port=81)], {"blog"}, False)
    assert "no_such_directive" in caught.value.details["details"]
    assert "/etc/nginx/conf.d/00-flatrun-maps.conf" in caught.value.details["details"]
    assert world.names() == before


@pytest.mark.parametrize(
    "name", ["nginx", "default", "rate_limits", "blocked_ips", "00-flatrun", "00-flatrun-maps"]
)
def test_a_site_of_a_kept_name_is_left_out_with_the_reason(
    world: Any, make_site: Callable[..., Any], name: str
) -> None:
    host = make_site("other").hosts
    reserved = type(make_site("x"))(name, host)
    applied = world.backend.apply([make_site("blog"), reserved], {"blog"}, False)
    assert list(applied.quarantined) == [name]
    assert "kept" in applied.quarantined[name]
    assert world.backend.status(name).quarantined
    assert "default_server" in (world.conf / "default.conf").read_text()
    with pytest.raises(Failed):
        world.backend.apply([make_site("blog"), reserved], {name}, False)
    assert world.backend.apply([make_site("blog")], set(), False).quarantined == {}


def test_a_record_that_somebody_spoiled_is_still_one(tmp_path: Path) -> None:
    (tmp_path / "a.conf.quarantined.json").write_text("rubbish")
    (tmp_path / "b.conf.quarantined.json").write_text('{"name": 1, "reason": [], "at": "x"}')
    found = quarantine.read(tmp_path)
    assert {name: (one.deployment, one.reason, one.at) for name, one in found.items()} == {
        "a.conf": ("a", "", 0.0),
        "b.conf": ("b", "", 0.0),
    }
