"""Only words get into a Caddyfile, and it says of itself what it serves."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_caddy.blocks import blocks, sift
from flatrun_caddy.caddyfile import pattern, render, word
from flatrun_caddy.record import record_of, with_record
from flatrun_caddy.settings import CaddySettings, Layout
from flatrun_core import Failed
from flatrun_core.ports.proxy import Host, Route, Site
from flatrun_core.testing.pem import self_signed
from flatrun_core.testing.proxy_samples import site

LAYOUT = Layout.of(CaddySettings(), Path("/srv/flatrun"))
SEGMENT = st.text("abcAB019._~!*+,=:@&-", min_size=1, max_size=8).filter(lambda text: text.strip("."))
PATHS = st.lists(SEGMENT, min_size=1, max_size=4).map(lambda segments: "/" + "/".join(segments))


def routed(deployment: str, name: str, *paths: str, aliases: tuple[str, ...] = ()) -> Site:
    routes = tuple(Route(path, f"{deployment}-web", 80) for path in paths)
    return Site(deployment, (Host(name, aliases, routes),))


@given(st.text(max_size=20))
def test_what_is_written_stays_one_word(text: str) -> None:
    try:
        written = word(text)
    except Failed:
        return
    assert written == text
    assert written
    assert not re.search(r"[\s{}\"'`\\#<>;]|[^ -~]", written)


@given(PATHS)
def test_a_path_matches_itself_and_what_is_below_it(path: str) -> None:
    expression = re.compile(pattern(Route(path, "web", 80)))
    assert word(expression.pattern)
    for same in (path, f"{path}/", f"{path}/x"):
        assert expression.match(same)
    for other in (f"{path}x", f"{path}-x", f"/x{path}", path[:-1], path.swapcase()):
        assert bool(expression.match(other)) == (other == path or other.startswith(f"{path}/"))


@given(st.lists(PATHS, unique=True, min_size=1, max_size=6))
def test_longer_paths_come_first(paths: list[str]) -> None:
    (block, _others) = blocks([routed("blog", "blog.example.com", *paths)])
    lengths = [len(route.path) for route in block.routes]
    assert lengths == sorted(lengths, reverse=True)


@given(st.lists(st.text(), unique=True), st.dictionaries(st.text(), st.text()), st.text())
def test_a_file_says_what_was_said_of_it(served: list[str], refused: dict[str, str], body: str) -> None:
    text = with_record(body, served, refused)
    found = record_of(text)
    assert found.genuine
    assert found.served[: len(served)] == tuple(served)
    assert {name: found.refused[name] for name in refused} == refused
    head = text.removesuffix(body)
    assert head.isascii()
    assert not set("{}") & set(head)
    assert all(line.startswith("# ") for line in head.splitlines())
    assert not record_of(f"{text} ").genuine


@given(st.text())
def test_any_other_file_says_nothing(text: str) -> None:
    assert not record_of(text).genuine
    assert record_of(text).served == ()


def test_the_text_does_not_depend_on_the_order_of_sites(everything: list[Site]) -> None:
    first, _ = sift(everything, ())
    assert render(LAYOUT, blocks(everything)) != render(LAYOUT, blocks(everything[1:]))
    turned, _ = sift(everything[::-1], ())
    assert render(LAYOUT, blocks(first)) == render(LAYOUT, blocks(turned))


def test_sites_that_share_a_name_are_answered_together() -> None:
    sites = [routed("blog", "www.example.com", "/"), routed("shop", "www.example.com", "/shop", "/shop/x")]
    good, refused = sift(sites, ())
    assert refused == {}
    (block, _others) = blocks(good)
    assert [(route.path, route.upstream) for route in block.routes] == [
        ("/shop/x", "shop-web"),
        ("/shop", "shop-web"),
        ("/", "blog-web"),
    ]


@pytest.mark.parametrize(("changed", "loser"), [(set(), "shop"), ({"shop"}, "shop"), ({"blog"}, "blog")])
def test_of_two_that_claim_one_path_the_changed_one_loses(changed: set[str], loser: str) -> None:
    sites = [
        routed("blog", "www.example.com", "/", "/a"),
        routed("shop", "shop.example.com", "/", aliases=("www.example.com",)),
    ]
    good, refused = sift(sites, changed)
    assert list(refused) == [loser]
    assert "www.example.com/ is served for" in refused[loser]
    assert [one.deployment for one in good] == [one for one in ("blog", "shop") if one != loser]


def test_wildcards_have_blocks_of_their_own() -> None:
    found = blocks([routed("blog", "example.org", "/", aliases=("*.example.org", "www.example.org"))])
    assert [block.names for block in found] == [("*.example.org",), ("example.org", "www.example.org"), ()]


def test_a_certificate_that_does_not_fit_its_key_is_refused(tmp_path: Path) -> None:
    tls = self_signed(tmp_path / "a", "shop.example.com")
    host = site("shop").hosts[0]
    assert sift([Site("shop", (Host(host.name, (), host.routes, tls),))], ())[1] == {}
    whole = tls.chain.read_bytes()
    for spoil in (
        lambda: tls.key.write_bytes(self_signed(tmp_path / "b", "shop.example.com").key.read_bytes()),
        lambda: tls.chain.write_bytes(whole[: len(whole) // 2]),
        tls.chain.unlink,
    ):
        spoil()
        _, refused = sift([Site("shop", (Host(host.name, (), host.routes, tls),))], ())
        assert "cannot be used with its key" in refused["shop"]


def test_a_path_of_a_certificate_that_would_be_two_words_is_refused(tmp_path: Path) -> None:
    tls = self_signed(tmp_path / "a b", "shop.example.com")
    host = site("shop").hosts[0]
    _, refused = sift([Site("shop", (Host(host.name, (), host.routes, tls),))], ())
    assert "characters with a meaning in a Caddyfile" in refused["shop"]
