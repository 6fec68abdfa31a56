"""What every proxy backend must do, as a suite that its tests inherit.

class TestMyProxy(ProxyBackendContract):
    @pytest.fixture
    def backend(self): return MyProxy()     # one that serves nothing yet

    @pytest.fixture
    def spoiled(self): return lambda name: Site(name, ...)     # a site that the backend refuses
"""

from collections.abc import Callable

import pytest

from flatrun_core.errors import FlatrunError
from flatrun_core.ports.proxy import Host, ProxyBackend, Route, Site, VirtualHost

Spoiled = Callable[[str], Site]


def site(deployment: str, *, port: int = 80) -> Site:
    """A plain site of one host, ``<deployment>.example.com``."""
    route = Route("/", f"{deployment}-web", port)
    return Site(deployment, (Host(f"{deployment}.example.com", (), (route,)),))


class ProxyBackendContract:
    """What a ``ProxyBackend`` must do."""

    def test_has_a_name_for_the_settings(self, backend: ProxyBackend) -> None:
        assert backend.name
        assert backend.name == backend.name.strip().lower()

    def test_serves_what_it_is_given(self, backend: ProxyBackend) -> None:
        assert backend.status("blog") == VirtualHost()
        applied = backend.apply([site("blog"), site("shop")], {"blog"}, False)
        assert (applied.changed, applied.reloaded, applied.skipped) == (True, True, False)
        assert applied.quarantined == {}
        assert backend.status("blog") == backend.status("shop") == VirtualHost(exists=True)

    def test_a_site_that_is_no_longer_given_goes(self, backend: ProxyBackend) -> None:
        backend.apply([site("blog"), site("shop")], {"blog", "shop"}, False)
        assert backend.apply([site("shop")], {"blog"}, False).changed
        assert backend.status("blog") == VirtualHost()
        assert backend.status("shop").exists

    def test_the_same_again_changes_nothing_unless_forced(self, backend: ProxyBackend) -> None:
        backend.apply([site("blog")], {"blog"}, False)
        again = backend.apply([site("blog")], {"blog"}, False)
        assert (again.changed, again.reloaded) == (False, False)
        assert backend.apply([site("blog")], set(), True).reloaded
        assert backend.apply([site("blog", port=8080)], {"blog"}, False).changed

    def test_a_refused_change_leaves_everything_as_it_was(
        self, backend: ProxyBackend, spoiled: Spoiled
    ) -> None:
        backend.apply([site("blog")], {"blog"}, False)
        with pytest.raises(FlatrunError):
            backend.apply([site("blog"), spoiled("shop"), site("wiki")], {"shop", "wiki"}, False)
        assert backend.status("blog") == VirtualHost(exists=True)
        assert not backend.status("wiki").exists
        again = backend.apply([site("blog")], {"blog"}, False)
        assert not again.changed

    def test_somebody_elses_broken_site_does_not_stop_a_change(
        self, backend: ProxyBackend, spoiled: Spoiled
    ) -> None:
        applied = backend.apply([site("blog"), spoiled("shop")], {"blog"}, False)
        assert list(applied.quarantined) == ["shop"]
        assert applied.quarantined["shop"]
        assert backend.status("blog") == VirtualHost(exists=True)
        shop = backend.status("shop")
        assert (shop.exists, shop.quarantined) == (False, True)
        assert shop.reason == applied.quarantined["shop"]

    def test_a_broken_site_that_is_no_longer_given_is_forgotten(
        self, backend: ProxyBackend, spoiled: Spoiled
    ) -> None:
        backend.apply([site("blog"), spoiled("shop")], {"blog"}, False)
        assert backend.apply([site("blog")], {"shop"}, False).quarantined == {}
        assert backend.status("shop") == VirtualHost()

    @pytest.mark.parametrize("token", ["", " ", "guessed", "ü", "\0"])
    def test_accepts_no_token_but_its_own(self, backend: ProxyBackend, token: str) -> None:
        assert backend.accepts(token) is False
