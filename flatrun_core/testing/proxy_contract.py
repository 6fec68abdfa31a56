"""What every proxy backend must do, as a suite that its tests inherit.

class TestMyProxy(ProxyBackendContract):
    @pytest.fixture
    def backend(self): return MyProxy()     # one that serves nothing yet, and whose proxy runs

    @pytest.fixture
    def spoiled(self): return lambda name: Site(name, ...)     # a site that the backend refuses

A backend whose certificates must lie in a folder of its own gives the fixture ``tls`` too; without
one it is a certificate for ``*.example.com`` in the test's folder.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flatrun_core.errors import Failed, FlatrunError
from flatrun_core.ports.proxy import PANEL, Endpoints, Host, ProxyBackend, Route, Site, Tls, VirtualHost
from flatrun_core.testing.pem import self_signed
from flatrun_core.testing.proxy_samples import (
    CHANGES,
    HOSTILE_DEPLOYMENTS,
    HOSTILE_HOSTS,
    HOSTILE_PATHS,
    HOSTILE_UPSTREAMS,
    HOSTILE_VALUES,
    full_site,
    site,
    with_alias,
    with_host,
    with_route,
)

Spoiled = Callable[[str], Site]
SERVED = VirtualHost(exists=True)


class ProxyBackendContract:
    """What a ``ProxyBackend`` must do."""

    @pytest.fixture
    def tls(self, tmp_path: Path) -> Tls:
        return self_signed(tmp_path / "pem", "*.example.com")

    def test_has_a_name_for_the_settings(self, backend: ProxyBackend) -> None:
        assert backend.name
        assert backend.name == backend.name.strip().lower()

    def test_serves_what_it_is_given(self, backend: ProxyBackend) -> None:
        assert backend.status("blog") == VirtualHost()
        applied = backend.apply([site("blog"), site("shop")], {"blog"}, False)
        assert (applied.changed, applied.reloaded, applied.skipped) == (True, True, False)
        assert applied.quarantined == {}
        assert backend.status("blog") == backend.status("shop") == SERVED

    def test_serves_nothing_when_nothing_is_given(self, backend: ProxyBackend) -> None:
        assert backend.apply([], set(), False).quarantined == {}
        assert backend.virtual_hosts() == {}

    def test_serves_sites_of_every_kind(self, backend: ProxyBackend, tls: Tls) -> None:
        applied = backend.apply([full_site("blog", tls), full_site("shop")], {"blog"}, False)
        assert applied.changed
        assert applied.quarantined == {}
        assert backend.status("blog") == backend.status("shop") == SERVED

    @pytest.mark.parametrize("kind", CHANGES)
    def test_every_value_of_a_site_counts(self, backend: ProxyBackend, tls: Tls, kind: str) -> None:
        before = full_site("blog", tls)
        backend.apply([before], {"blog"}, False)
        after = CHANGES[kind](before)
        assert after != before
        for wanted in (after, before):
            applied = backend.apply([wanted], {"blog"}, False)
            assert (applied.changed, applied.reloaded) == (True, True)
            assert backend.status("blog") == SERVED
        assert not backend.apply([before], {"blog"}, False).changed

    def test_the_order_of_sites_means_nothing(self, backend: ProxyBackend) -> None:
        sites = [site("blog"), full_site("shop"), site("wiki")]
        backend.apply(sites, {"blog"}, False)
        again = backend.apply(sites[::-1], {"blog", "shop", "wiki"}, False)
        assert (again.changed, again.reloaded) == (False, False)

    def test_a_site_that_is_no_longer_given_goes(self, backend: ProxyBackend) -> None:
        backend.apply([site("blog"), site("shop")], {"blog", "shop"}, False)
        assert backend.apply([site("shop")], {"blog"}, False).changed
        assert backend.status("blog") == VirtualHost()
        assert backend.status("shop").exists
        assert backend.apply([], {"shop"}, False).changed
        assert backend.virtual_hosts() == {}

    def test_the_same_again_changes_nothing_unless_forced(self, backend: ProxyBackend) -> None:
        backend.apply([site("blog")], {"blog"}, False)
        again = backend.apply([site("blog")], {"blog"}, False)
        assert (again.changed, again.reloaded) == (False, False)
        assert backend.apply([site("blog")], set(), True).reloaded
        assert backend.apply([site("blog", port=8080)], {"blog"}, False).changed

    def test_what_changed_by_itself_is_served_too(self, backend: ProxyBackend) -> None:
        backend.apply([site("blog")], {"blog"}, False)
        assert backend.apply([site("blog", port=8080), site("shop")], set(), False).changed
        assert list(backend.virtual_hosts()) == ["blog", "shop"]

    def test_serves_many_sites(self, backend: ProxyBackend) -> None:
        sites = [site(f"site-{number}") for number in range(200)]
        backend.apply(sites, {"site-0"}, False)
        assert {name for name, found in backend.virtual_hosts().items() if found.exists} == {
            one.deployment for one in sites
        }
        assert backend.apply(sites[::2], {"site-1"}, False).changed
        assert len(backend.virtual_hosts()) == 100

    def test_serves_the_panel_itself(self, backend: ProxyBackend, tls: Tls) -> None:
        for secured in (None, tls):
            panel = Site(PANEL, (Host("panel.example.com", (), (Route("/", PANEL, 8090),), secured),))
            assert backend.apply([panel, site("blog")], {PANEL}, False).changed
            assert backend.status(PANEL) == SERVED

    def test_a_target_that_is_not_there_keeps_nothing_from_being_served(self, backend: ProxyBackend) -> None:
        absent = Site("blog", (Host("blog.example.com", (), (Route("/", "no-such-target", 1),)),))
        assert backend.apply([absent, site("shop")], {"blog"}, False).quarantined == {}
        assert backend.status("blog") == SERVED

    def test_names_and_paths_may_be_as_long_as_they_get(self, backend: ProxyBackend) -> None:
        labels = [letter * 61 for letter in "abcd"]
        longest = ".".join([*labels, "e" * 5])
        path = f"/{'p' * 254}"
        assert (len(longest), len(path)) == (253, 255)
        hosts = (
            Host(longest, (f"f{longest[1:]}",), (Route(path, "blog-web", 65535, True, 86400),)),
            Host(f"*.{'.'.join(labels[1:])}", (), (Route("/~a.b_c-d!*+,=:@&/-", "x" * 200, 1, timeout=1),)),
        )
        assert backend.apply([Site("b" * 128, hosts)], {"b" * 128}, False).quarantined == {}
        assert backend.status("b" * 128) == SERVED

    def test_a_host_may_have_many_names_and_paths(self, backend: ProxyBackend) -> None:
        aliases = tuple(f"alias-{number}.example.com" for number in range(60))
        routes = tuple(Route(f"/p{number}", f"web-{number}", 80) for number in range(60))
        many = Site("blog", (Host("blog.example.com", aliases, routes),))
        assert backend.apply([many], {"blog"}, False).quarantined == {}
        assert backend.status("blog") == SERVED

    def test_a_refused_change_leaves_everything_as_it_was(
        self, backend: ProxyBackend, spoiled: Spoiled
    ) -> None:
        backend.apply([site("blog")], {"blog"}, False)
        with pytest.raises(Failed) as caught:
            backend.apply([site("blog"), spoiled("shop"), site("wiki")], {"shop", "wiki"}, False)
        assert caught.value.code == "PROXY_CONFIG_FAILED"
        assert caught.value.details["details"]
        assert backend.virtual_hosts() == {"blog": SERVED}
        assert backend.status("wiki") == VirtualHost()
        again = backend.apply([site("blog")], {"blog"}, False)
        assert not again.changed

    def test_somebody_elses_broken_site_does_not_stop_a_change(
        self, backend: ProxyBackend, spoiled: Spoiled
    ) -> None:
        applied = backend.apply([site("blog"), spoiled("shop")], {"blog"}, False)
        assert list(applied.quarantined) == ["shop"]
        assert applied.quarantined["shop"]
        assert backend.status("blog") == SERVED
        shop = backend.status("shop")
        assert (shop.exists, shop.quarantined) == (False, True)
        assert shop.reason == applied.quarantined["shop"]
        assert backend.virtual_hosts() == {"blog": SERVED, "shop": shop}

    def test_a_broken_site_stays_left_out_while_others_change(
        self, backend: ProxyBackend, spoiled: Spoiled
    ) -> None:
        bad = [spoiled("shop"), spoiled("wiki")]
        backend.apply([site("blog"), *bad], {"blog"}, False)
        again = backend.apply([site("blog"), *bad], set(), False)
        assert (again.changed, list(again.quarantined)) == (False, ["shop", "wiki"])
        more = backend.apply([site("blog", port=81), *bad, site("zoo")], {"zoo"}, False)
        assert (more.changed, list(more.quarantined)) == (True, ["shop", "wiki"])
        assert [name for name, found in backend.virtual_hosts().items() if found.exists] == ["blog", "zoo"]

    def test_a_broken_site_that_is_no_longer_given_is_forgotten(
        self, backend: ProxyBackend, spoiled: Spoiled
    ) -> None:
        backend.apply([site("blog"), spoiled("shop")], {"blog"}, False)
        assert backend.apply([site("blog")], {"shop"}, False).quarantined == {}
        assert backend.status("shop") == VirtualHost()

    def test_a_site_that_was_left_out_is_served_once_it_is_good(self, backend: ProxyBackend) -> None:
        backend.apply([site("blog"), with_host("shop", "shop;.example.com")], {"blog"}, False)
        assert backend.status("shop").quarantined
        assert backend.apply([site("blog"), site("shop")], {"shop"}, False).quarantined == {}
        assert backend.virtual_hosts() == {"blog": SERVED, "shop": SERVED}

    def test_a_site_that_turns_bad_is_no_longer_served_as_it_was(self, backend: ProxyBackend) -> None:
        backend.apply([site("blog"), site("shop")], {"blog", "shop"}, False)
        applied = backend.apply([site("blog"), with_host("shop", "shop;.example.com")], {"blog"}, False)
        assert list(applied.quarantined) == ["shop"]
        assert backend.status("blog") == SERVED
        assert backend.status("shop").quarantined

    @pytest.mark.parametrize("name", HOSTILE_HOSTS)
    def test_what_is_no_host_is_never_written(self, backend: ProxyBackend, name: str) -> None:
        self._refuses(backend, with_host("shop", name))
        self._refuses(backend, with_alias("shop", name))

    @pytest.mark.parametrize("path", HOSTILE_PATHS)
    def test_what_is_no_path_is_never_written(self, backend: ProxyBackend, path: str) -> None:
        self._refuses(backend, with_route("shop", path=path))

    @pytest.mark.parametrize("upstream", HOSTILE_UPSTREAMS)
    def test_what_is_no_target_is_never_written(self, backend: ProxyBackend, upstream: str) -> None:
        self._refuses(backend, with_route("shop", upstream=upstream))

    @pytest.mark.parametrize("values", HOSTILE_VALUES, ids=str)
    def test_what_is_no_number_or_protocol_is_never_written(
        self, backend: ProxyBackend, values: dict[str, Any]
    ) -> None:
        self._refuses(backend, with_route("shop", **values))

    def _refuses(self, backend: ProxyBackend, bad: Site) -> None:
        good = site("blog")
        backend.apply([good], {"blog"}, False)
        with pytest.raises(FlatrunError):
            backend.apply([good, bad], {bad.deployment}, False)
        assert backend.virtual_hosts() == {"blog": SERVED}
        applied = backend.apply([good, bad, site("wiki")], {"wiki"}, False)
        assert list(applied.quarantined) == [bad.deployment]
        assert backend.status(bad.deployment).quarantined
        assert backend.status("blog") == backend.status("wiki") == SERVED

    @pytest.mark.parametrize("name", HOSTILE_DEPLOYMENTS)
    def test_what_can_be_no_deployment_is_never_written(self, backend: ProxyBackend, name: str) -> None:
        backend.apply([site("blog")], {"blog"}, False)
        bad = Site(name, site("shop").hosts)
        with pytest.raises(FlatrunError):
            backend.apply([site("blog"), bad], {name}, False)
        assert list(backend.apply([site("blog"), bad], {"blog"}, False).quarantined) == [name]
        assert backend.status("blog") == SERVED

    def test_certificate_files_that_went_break_no_other_site(self, backend: ProxyBackend, tls: Tls) -> None:
        sites = [full_site("shop", tls), site("blog")]
        backend.apply(sites, {"shop"}, False)
        tls.chain.unlink()
        assert set(backend.apply([*sites, site("wiki")], {"wiki"}, True).quarantined) <= {"shop"}
        assert backend.status("blog") == backend.status("wiki") == SERVED

    def test_tells_where_it_answers(self, backend: ProxyBackend) -> None:
        backend.apply([site("blog")], {"blog"}, False)
        found = backend.endpoints()
        assert isinstance(found, Endpoints)
        for address, port in (*found.http, *found.https):
            assert address
            assert 0 < port < 65536

    def test_tells_in_sentences_which_targets_are_away(self, backend: ProxyBackend) -> None:
        backend.apply([site("blog")], {"blog"}, False)
        assert list(backend.probe([])) == []
        found = backend.probe([Route("/", "no-such-target", 80), Route("/", "neither-is-this", 81)])
        assert len(found) <= 2
        assert all(isinstance(text, str) and text.strip() for text in found)

    @pytest.mark.parametrize("token", ["", " ", "guessed", "ü", "\0"])
    def test_accepts_no_token_but_its_own(self, backend: ProxyBackend, token: str) -> None:
        assert backend.accepts(token) is False
