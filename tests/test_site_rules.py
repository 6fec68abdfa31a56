"""What may stand in a site: the rule that every backend can rely on."""

import contextlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_core.errors import Invalid
from flatrun_core.ports.proxy import PANEL, Host, Route, Site, Tls
from flatrun_core.site_rules import check_host, check_path, check_site
from flatrun_core.testing.proxy_samples import (
    CHANGES,
    HOSTILE_HOSTS,
    HOSTILE_PATHS,
    full_site,
    site,
    with_host,
    with_route,
)

TLS = Tls(Path("/certs/fullchain.pem"), Path("/certs/privkey.pem"), "0f" * 32)
SYNTAX = re.compile(r"[\s;{}'\"$#\\%?`()<>^|\[\]\x00-\x1f\x7f-\U0010ffff]")


@pytest.mark.parametrize("kind", CHANGES)
def test_good_sites_pass(kind: str) -> None:
    check_site(CHANGES[kind](full_site("blog", TLS)))


def test_the_panels_own_site_passes() -> None:
    check_site(Site(PANEL, (Host("panel.example.com", (), (Route("/", PANEL, 8090),), TLS),)))


@pytest.mark.parametrize(
    "name", ["a.b", "*.example.com", "xn--kse-qla.example.com", "hello.localhost", "1.a"]
)
def test_host_names_in_their_stored_form_pass(name: str) -> None:
    check_host(name)


@pytest.mark.parametrize(
    "name", [*HOSTILE_HOSTS, "*.*.example.com", "*.com", "xn--a-.example.com", "*example.com"]
)
def test_what_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_host(name)
    assert caught.value.code == "SITE_INVALID"


@pytest.mark.parametrize("path", ["/", "/a", "/a/b", "/.well-known", "/a..b", "/...a", "/~me", "/a@b:c,d"])
def test_paths_pass(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize("path", [*HOSTILE_PATHS, "/...", "/a/.../b"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_path(path)
    assert caught.value.code == "SITE_INVALID"


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=20))
def test_nothing_that_passes_means_anything_in_a_configuration(host: str, path: str, upstream: str) -> None:
    route = Route(f"/{path}", f"w{upstream}", 80)
    with contextlib.suppress(Invalid):
        check_site(Site("blog", (Host(f"{host}.example.com", (), (route,)),)))
        assert not SYNTAX.search(f"{host}{path}{upstream}")


@given(st.from_regex(r"(/[A-Za-z0-9._~!*+,=:@&-]{1,9}){1,5}", fullmatch=True))
def test_what_passes_stays_below_where_it_is(path: str) -> None:
    try:
        check_path(path)
    except Invalid:
        assert any(not segment.strip(".") for segment in path.split("/")[1:])
    else:
        assert not {"", ".", ".."} & set(path.split("/")[1:])


def of_host(**values: object) -> Site:
    plain = site("blog")
    return replace(plain, hosts=(replace(plain.hosts[0], **values),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (of_host(aliases=("blog.example.com",)), "named twice"),
        (Site("blog", (*site("blog").hosts, *site("blog").hosts)), "named twice"),
        (of_host(routes=()), "has no route"),
        (of_host(routes=(Route("/", "a", 80), Route("/", "b", 80))), "routed twice"),
        (with_route("blog", port=True), "is not a port"),
        (with_route("blog", timeout=86401), "number of seconds"),
        (of_host(routes=(Route("/", "a", 80, strip_prefix=True),)), "no prefix to be stripped"),
        (with_host("blog", "a" * 10_000), "is not a host name"),
        (of_host(tls=replace(TLS, chain=Path("chain.pem"))), "is not the path of a file"),
        (of_host(tls=replace(TLS, key=Path("/a\nb"))), "is not the path of a file"),
        (of_host(tls=replace(TLS, fingerprint="\n}")), "is not the fingerprint"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refusal_says_which_value_is_wrong(bad: Site, reason: str) -> None:
    with pytest.raises(Invalid, match=reason) as caught:
        check_site(bad)
    assert len(caught.value.message) < 400
    assert caught.value.message.isprintable()
