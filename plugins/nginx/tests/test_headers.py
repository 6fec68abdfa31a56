"""Headers stand once for all sites, and once more only where something within would hide them."""

from typing import Any

import crossplane
import pytest

from flatrun_core.ports.nginx import Fragment
from flatrun_nginx.fragments import collect
from flatrun_nginx.tree import _HEADERS


def test_the_file_of_all_sites_has_every_header(world: Any, make_site: Any, contributor: Any) -> None:
    contributor.sites = [make_site("blog")]
    world.proxy.apply({"blog"})
    path = world.conf / "00-flatrun-maps.conf"
    parsed = crossplane.parse(str(path), single=True, check_ctx=False, check_args=False)["config"][0][
        "parsed"
    ]
    found = [tuple(one["args"]) for one in parsed if one["directive"] == "proxy_set_header"]
    assert sorted(found) == sorted(_HEADERS)
    assert "proxy_set_header" not in (world.conf / "blog.conf").read_text()


@pytest.mark.parametrize("place", ["server", "location"])
def test_a_fragment_that_sets_a_header_takes_none_of_the_others_away(place: str) -> None:
    fragment = Fragment(place, "proxy_set_header X-Mine 1;", site="blog")
    fragments = collect([("guard", fragment)])
    assert not fragments.inherits("blog", "/")
    assert fragments.inherits("shop", "/")
