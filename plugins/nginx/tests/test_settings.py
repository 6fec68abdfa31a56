"""Values that would take every site down are refused before anything is touched."""

import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatrun_core import FlatrunError, fields
from flatrun_core.ports.auth import SYSTEM
from flatrun_core.ports.settings import SETTINGS
from flatrun_nginx import ports, setting_rules


def refused(world: Any, **nginx: Any) -> FlatrunError:
    """Change settings as a request would; the refusal, with everything as it was."""
    before = world.service(SETTINGS).published()["nginx"]
    calls = len(world.compose.calls)
    with pytest.raises(FlatrunError) as caught:
        world.service(SETTINGS).change({"nginx": nginx}, SYSTEM)
    assert world.service(SETTINGS).published()["nginx"] == before
    assert len(world.compose.calls) == calls
    return caught.value


@pytest.fixture
def served(world: Any, make_site: Any) -> Any:
    world.contributor.sites = [make_site("blog")]
    assert world.proxy.apply().serving
    return world


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/nginx/conf.d", "/etc/nginx", "/etc", "/etc/nginx/lua/x", "/etc/letsencrypt", "/etc/x"),
        *("/proc/x", "/sys", "/dev/shm", "/run", "/run/flatrun", "/var/run/x", "/var", "/usr", "/usr/sbin/x"),
        *("/bin", "/lib", "/usr/local/openresty", "/usr/local/openresty/nginx", "/a/../etc", "/a/./b"),
        *("/", "", "relative", "/a b", "/a/", "/a\n"),
    ],
)
def test_a_webroot_that_covers_what_nginx_needs_is_refused(served: Any, path: str) -> None:
    assert refused(served, container_webroot_path=path).status == 400


@pytest.mark.parametrize("path", ["/usr/share/nginx/html", "/usr/local/openresty/nginx/html", "/srv/html"])
def test_a_webroot_of_its_own_is_taken(path: str) -> None:
    setting_rules.webroot(path)


@given(st.from_regex(r"(/[a-z.]{1,6}){1,4}", fullmatch=True))
def test_no_webroot_is_above_or_below_a_mounted_folder(path: str) -> None:
    try:
        setting_rules.webroot(path)
    except fields.ValidationError:
        return
    for taken in ("/etc/nginx/conf.d", "/run/flatrun", "/proc"):
        assert not f"{taken}/".startswith(f"{path}/")
        assert not f"{path}/".startswith(f"{taken}/")


@pytest.mark.parametrize(
    "path", ["/srv/nginx", "/conf.d", "/srv/a\n/conf.d", "/srv/../conf.d", "/srv/x.conf"]
)
def test_a_folder_of_generated_files_is_called_so_and_has_a_parent(path: str) -> None:
    with pytest.raises(fields.ValidationError):
        setting_rules.config_path(path)


@pytest.mark.parametrize(
    "size", ["8589934592g", "9223372036854775808", "99999999999999999999", "1t", "-1", ""]
)
def test_a_size_that_nginx_cannot_count_is_refused(served: Any, size: str) -> None:
    assert refused(served, client_max_body_size=size).status == 400


@pytest.mark.parametrize("size", ["0", "100m", "9223372036854775807", "8589934591G", "1K"])
def test_a_size_that_nginx_can_count_is_taken(size: str) -> None:
    setting_rules.size(size)


def test_two_ports_that_are_one_are_refused(served: Any) -> None:
    error = refused(served, http_port=443)
    assert error.status == 400
    assert "https_port" in error.message


def test_the_panels_own_port_is_refused(served: Any) -> None:
    error = refused(served, https_port=8090)
    assert error.status == 400
    assert "api.port" in error.message


def test_a_container_of_somebody_else_is_left_alone(served: Any) -> None:
    served.engine.add("theirs")
    error = refused(served, container_name="theirs")
    assert (error.status, error.code) == (409, "CONTAINER_NOT_OURS")
    assert "theirs is not nginx's of this panel" in error.message
    assert {one.name: one.state for one in served.engine.containers()} == {
        "edge": "running",
        "theirs": "running",
    }


def test_a_port_that_is_taken_is_found_before_nginx_is_touched(
    make_world: Callable[..., Any], make_site: Any
) -> None:
    world = make_world(**{"nginx.bind_address": "127.0.0.1"})
    world.contributor.sites = [make_site("blog")]
    assert world.proxy.apply().serving
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        error = refused(world, http_port=other.getsockname()[1])
    assert (error.status, error.code) == (409, "PORT_IN_USE")


def test_ports_are_tried_on_this_hosts_addresses_only() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert ports.is_taken("127.0.0.1", port)
        assert ports.is_taken("", port)
        assert not ports.is_taken("192.0.2.1", port)
    assert ports.overlap("", "127.0.0.1")
    assert not ports.overlap("127.0.0.1", "192.0.2.1")
