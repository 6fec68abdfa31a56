"""Site blocks as the text of a Caddyfile, in which no value can be anything but one word."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from flatrun_caddy.blocks import DEFAULT_MAX_BODY, Block
from flatrun_caddy.settings import Layout
from flatrun_core import Failed
from flatrun_core.ports.proxy import PANEL, Route

HTTPS_PORT: Final = 443  # which no address has to name
DIAL_TIMEOUT: Final = 60  # seconds
# How long, in seconds, an idle connection to a target is kept. Caddy starts the clock of a read when
# the connection falls idle, so reads are given this much longer than the route's limit.
KEEPALIVE: Final = 5

_WORD: Final = re.compile(r"[A-Za-z0-9_@^/.(|$)\[\]:+~=,!*&-]+")


def render(layout: Layout, blocks: Sequence[Block]) -> str:
    """The Caddyfile. Raises ``Failed`` for a value that would not stay one word."""
    return _ENVIRONMENT.get_template("Caddyfile.j2").render(layout=layout, blocks=blocks)


def limit(route: Route) -> int:
    """The size of a body in bytes that a route takes; 0 is no limit."""
    return DEFAULT_MAX_BODY if route.max_body is None else route.max_body


def pattern(route: Route) -> str:
    """A regular expression for the path itself and what is below it.

    Caddy's own matcher of paths would not do: it takes ``/API`` for ``/api``.
    """
    return f"^{re.sub('[.+*]', lambda found: f'[{found[0]}]', route.path)}(/|$)"


def target(route: Route, layout: Layout) -> str:
    """Where a route leads: the panel's socket, or a container's address."""
    return f"unix/{layout.panel}" if route.upstream == PANEL else f"{route.upstream}:{route.port}"


def secure(route: Route) -> bool:
    """Whether the target is asked by TLS; its certificate is its own and not looked at."""
    return route.protocol == "https" and route.upstream != PANEL


def word(value: Any) -> str:
    """A value as it is written. Every one passes here, also those whose rules were looked at before."""
    text = str(value)
    if not _WORD.fullmatch(text):
        raise Failed(f"{text!r} cannot be written into a Caddyfile", code="PROXY_CONFIG_FAILED")
    return text


_ENVIRONMENT: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    undefined=StrictUndefined,
    finalize=word,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701 - the text is no HTML, and `word` lets nothing through that escapes
)
_ENVIRONMENT.globals.update(
    {"limit": limit, "pattern": pattern, "secure": secure, "target": target},
    dial_timeout=DIAL_TIMEOUT,
    keepalive=KEEPALIVE,
    usual_port=HTTPS_PORT,
)
