"""Certificates that nginx refuses: their hosts are served without TLS, and nothing else is touched."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flatrun_core import Failed
from flatrun_core.ports.proxy import Host, Route, Site, Tls, VirtualHost
from flatrun_nginx import checks, refused_certificates


@pytest.fixture
def shop(tls: Tls) -> Site:
    """Two hosts with a certificate each, of which a test spoils the first one's."""
    folder = tls.chain.parent.with_name("other")
    folder.mkdir()
    other = Tls(folder / "fullchain.pem", folder / "privkey.pem", "ab" * 32)
    other.chain.write_bytes(tls.chain.read_bytes())
    other.key.write_bytes(tls.key.read_bytes())
    route = Route("/", "shop-web", 80)
    return Site(
        "shop",
        (
            Host("shop.example.com", (), (route,), tls),
            Host("other.example.com", (), (route,), other),
        ),
    )


def secured(conf: Path) -> int:
    return (conf / "shop.conf").read_text().count("ssl_certificate ")


def age(world: Any) -> None:
    """Let every refused certificate be old enough to be tried again."""
    path = world.folder / refused_certificates.FILE
    path.write_text(path.read_text().replace('"at": ', '"at": -'))


def test_only_its_host_loses_tls(world: Any, make_site: Any, shop: Site) -> None:
    shop.hosts[0].tls.chain.unlink()  # type: ignore[union-attr]
    applied = world.backend.apply([make_site("blog"), shop], {"blog"}, False)
    assert applied.quarantined == {}
    assert "shop.example.com is served without TLS" in applied.message
    assert "cannot load certificate" in applied.message
    assert secured(world.conf) == 1
    assert world.nginx.judge_live() == ""
    for backend in (world.backend, world.fresh()):
        found = backend.status("shop")
        assert (found.exists, found.quarantined) == (True, False)
        assert "cannot load certificate" in found.reason
    assert world.backend.status("blog") == VirtualHost(True)
    told = checks.files(world.backend._ctx)
    assert (told.status, "shop.example.com" in told.message) == ("warning", True)


def test_it_is_not_tried_again_before_its_time(world: Any, make_site: Any, shop: Site) -> None:
    chain = shop.hosts[0].tls.chain  # type: ignore[union-attr]
    whole = chain.read_bytes()
    chain.unlink()
    first = world.backend.apply([make_site("blog"), shop], {"blog"}, False)
    world.nginx.tests.clear()
    again = world.backend.apply([make_site("blog"), shop], set(), False)
    assert (again.changed, again.reloaded, again.message) == (False, False, first.message)
    assert world.nginx.tests == []
    age(world)
    again = world.backend.apply([make_site("blog"), shop], set(), False)
    assert (again.changed, again.message, len(world.nginx.tests)) == (False, first.message, 2)
    chain.write_bytes(whole)
    age(world)
    applied = world.backend.apply([make_site("blog"), shop], set(), False)
    assert (applied.reloaded, applied.message, secured(world.conf)) == (True, "", 2)
    assert world.backend.status("shop") == VirtualHost(True)


def test_another_one_is_tried_at_once(world: Any, make_site: Any, shop: Site) -> None:
    tls = shop.hosts[0].tls
    assert tls is not None
    whole = tls.chain.read_bytes()
    tls.chain.unlink()
    world.backend.apply([make_site("blog"), shop], {"blog"}, False)
    tls.chain.write_bytes(whole)
    renewed = replace(shop.hosts[0], tls=replace(tls, fingerprint="cd" * 32))
    after = replace(shop, hosts=(renewed, shop.hosts[1]))
    assert world.backend.apply([make_site("blog"), after], set(), False).message == ""
    assert secured(world.conf) == 2


def test_forced_it_is_tried_at_once(world: Any, make_site: Any, shop: Site) -> None:
    chain = shop.hosts[0].tls.chain  # type: ignore[union-attr]
    whole = chain.read_bytes()
    chain.unlink()
    world.backend.apply([make_site("blog"), shop], {"blog"}, False)
    chain.write_bytes(whole)
    assert world.backend.apply([make_site("blog"), shop], set(), True).message == ""
    assert secured(world.conf) == 2


def test_one_that_the_caller_brings_is_his_own_refusal(world: Any, make_site: Any, shop: Site) -> None:
    plain = replace(shop, hosts=tuple(replace(host, tls=None) for host in shop.hosts))
    world.backend.apply([make_site("blog"), plain], {"shop"}, False)
    before = (world.conf / "shop.conf").read_text()
    shop.hosts[0].tls.chain.unlink()  # type: ignore[union-attr]
    with pytest.raises(Failed) as caught:
        world.backend.apply([make_site("blog"), shop], {"shop"}, False)
    assert "cannot load certificate" in caught.value.message
    assert (world.conf / "shop.conf").read_text() == before
    assert world.backend.status("shop") == VirtualHost(True)


def test_one_that_was_served_before_keeps_the_caller_from_no_change(
    world: Any, make_site: Any, shop: Site
) -> None:
    world.backend.apply([make_site("blog"), shop], {"shop"}, False)
    shop.hosts[0].tls.chain.unlink()  # type: ignore[union-attr]
    for port in (81, 82):
        hosts = tuple(replace(host, routes=(Route("/", "shop-web", port),)) for host in shop.hosts)
        applied = world.backend.apply([make_site("blog"), replace(shop, hosts=hosts)], {"shop"}, False)
        assert "without TLS" in applied.message
        assert f":{port};" in (world.conf / "shop.conf").read_text()
        age(world)


def test_what_is_refused_is_forgotten_with_the_site(world: Any, make_site: Any, shop: Site) -> None:
    shop.hosts[0].tls.chain.unlink()  # type: ignore[union-attr]
    world.backend.apply([make_site("blog"), shop], {"blog"}, False)
    assert world.backend.apply([make_site("blog")], {"shop"}, False).message == ""
    assert refused_certificates.read(world.folder) == []


@pytest.mark.parametrize("text", ["", "[]", '{"refused": 1}', '{"refused": [1, {}, {"at": "x"}]}'])
def test_a_record_that_somebody_spoiled_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / refused_certificates.FILE).write_text(text)
    assert refused_certificates.read(tmp_path) == []
