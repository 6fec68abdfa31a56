"""Every site of good values says exactly what it should, and no other value ever reaches a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flatrun_core import FlatrunError
from flatrun_core.ports.nginx import Fragment
from flatrun_core.ports.proxy import PANEL, Host, Route, Site, Tls
from flatrun_nginx import values
from flatrun_nginx.fragments import Fragments, collect
from flatrun_nginx.layout import Layout
from flatrun_nginx.parsing import Node, parse
from flatrun_nginx.rendering import Frame, NameTable, Renderer, Scene, is_ours, is_untouched
from flatrun_nginx.sites import Kept, Rendered
from flatrun_nginx.tree import Intended, difference
from flatrun_nginx.values import Refused

LAYOUT = Layout.of(Path("/srv/sites"), "", "/usr/share/nginx/html")
CERTS = LAYOUT.folder / "certs" / "live"
RENDERER = Renderer()


def rendered(site: Site, scene: Scene) -> Kept:
    return Rendered(RENDERER).one(site, scene)


label = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True).filter(
    lambda text: "--" not in text
)
host_names = st.lists(label, min_size=2, max_size=4).map(".".join)
segments = st.from_regex(r"[A-Za-z0-9._~!*+,=:@&-]{1,20}", fullmatch=True).filter(
    lambda text: text.strip(".")
)
paths = st.one_of(
    st.just("/"), st.lists(segments, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
)
upstreams = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}", fullmatch=True)


@st.composite
def routes(draw: Any) -> Route:
    path = draw(paths)
    return Route(
        path,
        draw(st.one_of(upstreams, st.just(PANEL))),
        draw(st.integers(1, 65535)),
        draw(st.booleans()) and path != "/",
        draw(st.integers(1, 86400)),
        draw(st.sampled_from(["http", "https"])),
        draw(st.one_of(st.none(), st.integers(0, 2**63 - 1))),
    )


@st.composite
def certificates(draw: Any) -> Tls:
    folder = CERTS / draw(host_names)
    return Tls(
        folder / "fullchain.pem",
        folder / "privkey.pem",
        draw(st.from_regex(r"[0-9a-f]{64}", fullmatch=True)),
        draw(st.booleans()),
        draw(st.booleans()),
    )


@st.composite
def sites(draw: Any) -> Site:
    names = draw(st.lists(host_names, min_size=1, max_size=6, unique=True))
    hosts = []
    while names:
        name, *rest = names
        aliases, names = tuple(rest[: len(rest) // 2]), rest[len(rest) // 2 :]
        several = draw(st.lists(routes(), min_size=1, max_size=4, unique_by=lambda route: route.path))
        hosts.append(Host(name, aliases, tuple(several), draw(st.one_of(st.none(), certificates()))))
    return Site(draw(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)), tuple(hosts))


frames = st.builds(
    Frame,
    webroot=st.just("/usr/share/nginx/html"),
    ipv6=st.booleans(),
    http2_directive=st.booleans(),
    lua=st.booleans(),
    https_port=st.integers(1, 65535),
)
PIECES = collect(
    [
        ("test", Fragment("server", 'access_by_lua_block { return "}" }\nadd_header X-A "a;b}";', lua=True)),
        (
            "test",
            Fragment("location", "deny 192.0.2.1;\nproxy_set_header X-Client-IP $remote_addr;", path="/"),
        ),
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(site=sites(), frame=frames, fragments=st.sampled_from([Fragments(), PIECES]))
def test_a_file_parses_to_exactly_the_intended_tree(
    tmp_path: Path, site: Site, frame: Frame, fragments: Fragments
) -> None:
    scene = Scene(frame, fragments, LAYOUT)
    kept = Rendered(RENDERER)
    text = kept.one(site, scene).text
    path = tmp_path / "site.conf"
    path.write_text(text)
    assert difference(parse(path), Intended(site, scene).tree()) == ""
    assert kept.check(site.deployment, scene) == ""
    assert is_ours(text)
    assert is_untouched(text)
    assert not is_untouched(text + "#")


FILTERS = sorted(set(values.FILTERS) - {"number", "protocol"})
HOSTILE = st.one_of(
    st.text(alphabet=st.sampled_from("ab./;{}\"'$\\#\n\r\t *~%\0é~"), max_size=30),
    st.text(max_size=30),
    st.none(),
    st.integers(),
    st.lists(st.text()),
)


@pytest.mark.parametrize("name", FILTERS)
@given(value=HOSTILE)
def test_what_a_filter_lets_through_is_one_word(name: str, value: Any) -> None:
    try:
        text = str(values.FILTERS[name](value))
    except Refused:
        return
    inner = text[1:-1] if text[:1] == '"' and text[-1:] == '"' and len(text) > 1 else text
    assert not set(inner) & set(";{}\"' \n\r\t\0" if inner == text else ';{}"\n\r\0')
    assert "$" not in inner.replace("$", "", 1) or name == "path_rest"


@given(value=st.one_of(HOSTILE, st.floats(), st.booleans()))
def test_only_whole_numbers_and_known_protocols_are_printed(value: Any) -> None:
    with pytest.raises(Refused):
        values.number(str(value), 1, 10)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10:
        with pytest.raises(Refused):
            values.number(value, 1, 10)
    with pytest.raises(Refused):
        values.protocol(value)


@pytest.mark.parametrize("value", ["plain", 1, None, ""])
def test_a_template_cannot_print_what_was_not_checked(value: Any) -> None:
    with pytest.raises(Refused):
        values.finalize(value)


@pytest.mark.parametrize(
    "chain",
    [
        "/etc/passwd",
        "/srv/sites/nginx/certs/../../secret",
        "/srv/sites/nginx/certs/a b.pem",
        "/srv/sites/nginx/certs/a;.pem",
        '/srv/sites/nginx/certs/"a.pem',
        "/srv/sites/nginx/certs/$a.pem",
        "relative.pem",
    ],
)
def test_a_certificate_that_nginx_does_not_see_is_refused(chain: str) -> None:
    tls = Tls(Path(chain), CERTS / "a" / "privkey.pem", "ab" * 32)
    host = Host("blog.example.com", (), (Route("/", "blog-web", 80),), tls)
    assert rendered(Site("blog", (host,)), Scene(Frame("/html"), Fragments(), LAYOUT)).reason


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ((Node("listen", ("80",)),), "missing"),
        ((Node("listen", ("80",)), Node("server_name", ("evil",))), "stands where"),
        ((Node("listen", ("80",)), Node("server_name", ("a",)), Node("deny", ("all",))), "too much"),
        ((Node("listen", ("80",)), Node("server_name", ("a",), ())), "not what it should be"),
        ((Node("listen", ("80",)), Node("server_name", ("a",))), ""),
    ],
)
def test_trees_that_differ_anywhere_are_told_apart(found: Any, told: str) -> None:
    wanted = (Node("listen", ("80",)), Node("server_name", ("a",)))
    said = difference(found, wanted)
    assert told in said
    assert bool(said) == bool(told)


def test_the_table_of_names_fits_many_and_long_ones() -> None:
    hosts = tuple(
        Host(f"{'a' * 60}.{number}.example.com", (), (Route("/", "a", 80),)) for number in range(900)
    )
    table = NameTable.of([Site("blog", hosts)])
    assert table.most >= 1800
    assert table.bucket >= 128
    assert NameTable.of([]) == NameTable()


@pytest.mark.parametrize(
    "fragment",
    [
        Fragment("server", "deny all"),
        Fragment("server", "deny all; }"),
        Fragment("server", "location / {"),
        Fragment("server", "}\nserver { listen 81; }\nserver {"),
        Fragment("server", "return 403;"),
        Fragment("server", "if ($host) { deny all; }"),
        Fragment("server", 'add_header X "a;'),
        Fragment("elsewhere", "deny all;"),
        Fragment("file", "", name="../a.lua"),
        Fragment("file", "", name=".hidden"),
        Fragment("file", "", name=""),
        "deny all;",
    ],
)
def test_a_fragment_that_is_not_whole_stops_everything_and_names_its_plugin(
    world: Any, make_site: Callable[..., Site], fragment: Any
) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    before = world.names()
    world.contributor.fragments = [fragment]
    with pytest.raises(FlatrunError) as caught:
        world.backend.apply([make_site("blog", port=81)], {"blog"}, False)
    assert caught.value.code == "NGINX_FRAGMENT_INVALID"
    assert "contributor" in caught.value.message
    assert world.names() == before


def test_a_plugin_that_fails_to_give_fragments_stops_the_apply(
    world: Any, make_site: Callable[..., Site]
) -> None:
    world.backend.apply([make_site("blog")], {"blog"}, False)
    before = world.names()
    world.contributor.failure = RuntimeError("no")
    with pytest.raises(RuntimeError):
        world.backend.apply([make_site("blog", port=81)], {"blog"}, False)
    assert world.names() == before


def test_lua_is_refused_where_the_image_has_none(world: Any, make_site: Callable[..., Site]) -> None:
    world.nginx.listing = "/etc/nginx:\nmime.types\n"
    world.contributor.fragments = [Fragment("http", "lua_shared_dict a 1m;", lua=True)]
    with pytest.raises(FlatrunError) as caught:
        world.backend.apply([make_site("blog")], {"blog"}, False)
    assert (caught.value.status, caught.value.code) == (409, "NGINX_LUA_MISSING")
    assert "openresty/openresty:alpine" in caught.value.message


def test_lua_modules_are_loaded_only_while_they_are_needed(
    world: Any, make_site: Callable[..., Site]
) -> None:
    world.contributor.fragments = [Fragment("http", "lua_shared_dict a 1m;", lua=True)]
    world.backend.apply([make_site("blog")], {"blog"}, False)
    text = (world.conf / "00-flatrun.main").read_text()
    assert text.index("ndk_http_module.so") < text.index("ngx_http_lua_module.so")
    world.contributor.fragments = []
    world.backend.apply([make_site("blog")], set(), False)
    assert not (world.conf / "00-flatrun.main").exists()


def test_a_file_that_holds_the_token_is_read_by_its_owner_only(
    world: Any, make_site: Callable[..., Site]
) -> None:
    world.contributor.fragments = [
        Fragment("file", f'return "{world.backend.token()}"', name="token.lua"),
        Fragment("file", "return 1", name="plain.lua"),
    ]
    world.backend.apply([make_site("blog")], {"blog"}, False)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (world.folder / "lua").iterdir()}
    assert modes == {"token.lua": 0o600, "plain.lua": 0o644}
