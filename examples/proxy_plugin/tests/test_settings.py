"""The settings, and the paths that are worked out of them."""

from pathlib import Path
from typing import Any

import pytest

from flatrun_caddy.settings import CaddySchema, CaddySettings, Layout
from flatrun_core.fields import ValidationError

ROOT = Path("/srv/flatrun")


def test_everything_is_below_the_deployments_root() -> None:
    layout = Layout.of(CaddySettings(), ROOT)
    assert layout.file == ROOT / "caddy/Caddyfile"
    assert layout.admin == "unix//srv/flatrun/caddy/admin.sock"
    assert layout.webroot == ROOT / "nginx/html"
    assert layout.panel == ROOT / ".flatrun/proxy/panel.sock"
    assert layout.problem() == ""


def test_another_file_takes_the_admin_socket_along() -> None:
    layout = Layout.of(CaddySettings(file="/etc/caddy/Caddyfile", webroot="/srv/acme"), ROOT)
    assert (layout.file, layout.admin) == (Path("/etc/caddy/Caddyfile"), "unix//etc/caddy/admin.sock")
    assert layout.webroot == Path("/srv/acme")


def test_every_setting_is_in_the_readme() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    for name, field in CaddySchema().fields.items():
        (line,) = [line for line in readme.splitlines() if line.startswith(f"| `caddy.{name}` |")]
        assert line.endswith(f"| `FLATRUN_CADDY__{name.upper()}` | {field.metadata['description']} |")


@pytest.mark.parametrize("root", ["/srv/a b", "/srv/{env.HOME}", '/srv/"', "/srv/ä", "/srv/../etc", "/srv/#"])
def test_a_root_that_would_be_two_words_is_told(root: str) -> None:
    assert "have a meaning in a Caddyfile" in Layout.of(CaddySettings(), Path(root)).problem()


def test_a_socket_s_path_that_no_system_takes_is_told() -> None:
    layout = Layout.of(CaddySettings(), Path(f"/srv/{'a' * 90}"))
    assert "caddy.admin" in layout.problem()
    assert Layout.of(CaddySettings(admin="localhost:2019"), Path(f"/srv/{'a' * 90}")).problem() == ""


@pytest.mark.parametrize(
    "values",
    [
        {"file": "/etc/caddy/Caddyfile", "admin": "localhost:2019", "program": "/usr/bin/caddy"},
        {"admin": "unix//run/caddy/admin.sock", "bind_address": "127.0.0.1", "http_port": 8080},
        {"admin": "[::1]:2019", "bind_address": "::1", "https_port": 8443, "webroot": "/srv/acme"},
    ],
)
def test_sound_settings_are_taken(values: dict[str, Any]) -> None:
    loaded = CaddySchema().load(values)
    assert {name: getattr(loaded, name) for name in values} == values


@pytest.mark.parametrize(
    "values",
    [
        *({"file": text} for text in ("Caddyfile", "/a b", "/a\n", "/{a}", "/a/../b", "/..")),
        *(
            {"admin": text}
            for text in ("localhost", "localhost:0", "a b:1", "unix/", "unix/x", "h:99999", ":1\n")
        ),
        *({"program": text} for text in ("", "caddy run", "caddy;", "caddy\n")),
        *(
            {"bind_address": text}
            for text in ("localhost", "1.2.3", "127.0.0.1\n", "{a}", "999.0.0.1", "::g")
        ),
        *({"http_port": port} for port in (0, 65536, "80")),
        {"webroot": "html"},
    ],
    ids=str,
)
def test_settings_that_would_be_two_words_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CaddySchema().load(values)
