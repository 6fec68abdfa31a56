"""What the backend does beyond the suite: who is left out, what is put aside, what a person is told."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_caddy.backend import CaddyBackend, culprits
from flatrun_caddy.program import CaddyProgram
from flatrun_caddy.settings import CaddySettings, Layout
from flatrun_core import Failed, TimedOut
from flatrun_core.ports.proxy import Endpoints, Host, Route, Site
from flatrun_core.programs import ProgramRunner
from flatrun_core.testing.proxy_samples import site, with_host


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@given(st.integers(0, 20), st.sets(st.integers(0, 20)))
def test_exactly_the_refused_ones_are_found(count: int, bad: set[int]) -> None:
    sites = [site(f"site-{number}") for number in range(count)]
    wrong = {f"site-{number}" for number in bad if number < count}

    def refusal(some: Sequence[Site]) -> str:
        return " ".join(sorted(wrong & {one.deployment for one in some}))

    assert culprits(sites, refusal) == {name: name for name in wrong}


def test_sites_that_are_refused_only_together_leave_everything_as_it_was(
    backend: CaddyBackend, layout: Layout
) -> None:
    backend.apply([site("cat")], {"cat"}, False)
    before = layout.file.read_bytes()
    with pytest.raises(Failed, match="cat and dog in one file"):
        backend.apply([site("cat"), site("dog")], {"dog"}, False)
    assert layout.file.read_bytes() == before
    assert names(layout.file.parent) == ["Caddyfile"]


def test_what_is_refused_by_our_own_rules_never_reaches_caddy(
    backend: CaddyBackend, fake_caddy: Any, layout: Layout
) -> None:
    backend.apply([site("blog"), with_host("shop", "evil{.example.com")], set(), False)
    assert all("evil" not in name for seen in fake_caddy.seen for name in seen)
    text = layout.file.read_text()
    assert "evil" in text.partition("\n{\n")[0]
    assert "evil" not in text.partition("\n{\n")[2]


def test_the_file_can_be_read_by_caddy_and_written_by_its_owner_alone(
    backend: CaddyBackend, layout: Layout
) -> None:
    backend.apply([site("blog")], {"blog"}, False)
    assert oct(layout.file.stat().st_mode)[-3:] == "644"
    assert names(layout.file.parent) == ["Caddyfile"]


def test_a_panel_that_starts_anew_knows_what_is_served_and_loads_it_once(
    backend: CaddyBackend, fake_caddy: Any, layout: Layout
) -> None:
    sites = [site("blog"), with_host("shop", "shop;.example.com")]
    backend.apply(sites, {"blog"}, False)
    again = CaddyBackend(lambda: layout, fake_caddy)
    assert again.virtual_hosts() == backend.virtual_hosts()
    assert again.status("blog").file == layout.file
    assert again.status("blog").modified_at is not None
    # It may have been killed between writing and reloading.
    first = again.apply(sites, set(), False)
    assert (first.changed, first.reloaded, first.serving) == (False, True, True)
    second = again.apply(sites, set(), False)
    assert (second.changed, second.reloaded, second.serving) == (False, False, True)


@pytest.mark.parametrize("mine", ["respond hello\n", "", "# Flatrun writes this file.\n", "\udc80"])
def test_a_file_of_somebody_else_is_put_aside(backend: CaddyBackend, layout: Layout, mine: str) -> None:
    layout.file.parent.mkdir(parents=True)
    data = mine.encode("utf-8", "surrogateescape")
    layout.file.write_bytes(data)
    applied = backend.apply([site("blog")], {"blog"}, False)
    (copy,) = layout.file.parent.glob("Caddyfile.edited-*")
    assert copy.read_bytes() == data
    assert copy.name in applied.message
    assert backend.status("blog").exists


def test_an_edit_by_hand_does_not_last_but_is_kept(backend: CaddyBackend, layout: Layout) -> None:
    backend.apply([site("blog")], {"blog"}, False)
    good = layout.file.read_text()
    edited = good.replace("blog-web:80", "elsewhere:80")
    layout.file.write_text(edited)
    applied = backend.apply([site("blog")], set(), False)
    assert (applied.changed, applied.reloaded) == (True, True)
    assert layout.file.read_text() == good
    (copy,) = layout.file.parent.glob("Caddyfile.edited-*")
    assert copy.read_text() == edited
    assert backend.apply([site("blog"), site("shop")], {"shop"}, False).message == ""


def test_a_caddy_that_does_not_run_takes_it_when_it_starts(
    backend: CaddyBackend, fake_caddy: Any, layout: Layout
) -> None:
    fake_caddy.running = False
    applied = backend.apply([site("blog")], {"blog"}, False)
    assert (applied.changed, applied.reloaded, applied.serving) == (True, False, False)
    assert applied.message == f"Caddy does not answer at {layout.admin}; this takes effect when it starts"
    assert backend.endpoints() == Endpoints()
    fake_caddy.running = True
    assert backend.apply([site("blog")], set(), False).serving
    assert backend.endpoints() == Endpoints((("127.0.0.1", 80),), (("127.0.0.1", 443),))


def test_a_caddy_that_went_serves_nothing(backend: CaddyBackend, fake_caddy: Any) -> None:
    backend.apply([site("blog")], {"blog"}, False)
    fake_caddy.running = False
    assert not backend.apply([site("blog")], set(), False).serving


def test_a_reload_that_fails_is_told_and_tried_again(backend: CaddyBackend, fake_caddy: Any) -> None:
    fake_caddy.stubborn = "address already in use"
    applied = backend.apply([site("blog")], {"blog"}, False)
    assert (applied.changed, applied.reloaded, applied.serving) == (True, False, False)
    assert "address already in use" in applied.message
    fake_caddy.stubborn = ""
    assert backend.apply([site("blog")], set(), False).reloaded
    assert not backend.apply([site("blog")], set(), False).reloaded


def test_a_reload_that_takes_too_long_undoes_nothing(
    backend: CaddyBackend, fake_caddy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object) -> str:
        raise TimedOut("caddy took longer than 60 seconds and was stopped")

    monkeypatch.setattr(fake_caddy, "reload", slow)
    applied = backend.apply([site("blog")], {"blog"}, False)
    assert (applied.changed, applied.reloaded, applied.serving) == (True, False, False)
    assert "took longer" in applied.message
    assert backend.status("blog").exists


@pytest.fixture
def without_program(layout: Layout) -> CaddyBackend:
    """Return a backend on a machine that has no such program."""
    absent = replace(layout, program="flatrun-no-such-caddy")
    return CaddyBackend(lambda: absent, CaddyProgram(ProgramRunner()))


def test_without_the_program_our_own_rules_decide_and_say_so(
    without_program: CaddyBackend, layout: Layout
) -> None:
    applied = without_program.apply([site("blog"), with_host("shop", "shop;.example.com")], set(), False)
    assert (applied.changed, applied.reloaded, applied.serving) == (True, False, False)
    assert "Caddy is not installed here, so only Flatrun's own rules" in applied.message
    assert "takes effect when it starts" in applied.message
    assert list(applied.quarantined) == ["shop"]
    assert "http://blog.example.com {" in layout.file.read_text()
    with pytest.raises(Failed):
        without_program.apply([site("blog"), with_host("shop", "shop;.example.com")], {"shop"}, False)


def test_a_caddy_elsewhere_cannot_be_reloaded_without_the_program(
    without_program: CaddyBackend, layout: Layout, listening: Callable[[Path], None]
) -> None:
    layout.file.parent.mkdir(parents=True)
    listening(layout.file.parent / "admin.sock")
    applied = without_program.apply([site("blog")], {"blog"}, False)
    assert not applied.serving
    assert "flatrun-no-such-caddy is not installed" in applied.message


def test_a_check_that_takes_too_long_leaves_everything_as_it_was(
    backend: CaddyBackend, fake_caddy: Any, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.apply([site("blog")], {"blog"}, False)

    def slow(*_: object) -> str:
        raise TimedOut("caddy took longer than 60 seconds and was stopped")

    monkeypatch.setattr(fake_caddy, "refusal", slow)
    with pytest.raises(TimedOut):
        backend.apply([site("blog"), site("shop")], {"shop"}, False)
    assert list(backend.virtual_hosts()) == ["blog"]
    assert names(layout.file.parent) == ["Caddyfile"]


def test_what_a_killed_panel_left_is_swept_away(backend: CaddyBackend, layout: Layout) -> None:
    layout.file.parent.mkdir(parents=True)
    (layout.file.parent / ".Caddyfile-left").write_text("half")
    backend.apply([site("blog")], {"blog"}, False)
    assert names(layout.file.parent) == ["Caddyfile"]


def test_a_folder_that_cannot_be_written_is_told(layout: Layout, root: Path, fake_caddy: Any) -> None:
    (root / "caddy").write_text("a file where the folder should be")
    backend = CaddyBackend(lambda: layout, fake_caddy)
    with pytest.raises(Failed, match="cannot be") as caught:
        backend.apply([site("blog")], {"blog"}, False)
    assert caught.value.code == "PROXY_CONFIG_FAILED"


def test_settings_that_make_no_caddyfile_are_told(fake_caddy: Any, root: Path) -> None:
    layout = Layout.of(CaddySettings(), root / "with blank")
    with pytest.raises(Failed, match="characters that have a meaning"):
        CaddyBackend(lambda: layout, fake_caddy).apply([site("blog")], {"blog"}, False)
    assert names(root) == []


def test_targets_that_take_no_connection_are_told(
    backend: CaddyBackend, target: Callable[[str], Any], closed_port: int
) -> None:
    there = Route("/", "localhost", target("blog").port)
    away = Route("/x", "localhost", closed_port)
    elsewhere = Route("/y", "known-to-caddy-only.invalid", 80)
    (sentence,) = backend.probe([there, away, elsewhere])
    assert sentence.startswith(f"localhost:{closed_port} takes no connection")


def test_a_name_of_two_hosts_of_one_site_is_refused(backend: CaddyBackend) -> None:
    host = Host("shop.example.com", (), (Route("/", "shop-web", 80),))
    with pytest.raises(Failed, match="named twice"):
        backend.apply([Site("shop", (host, host))], {"shop"}, False)
