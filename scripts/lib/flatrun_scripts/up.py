"""`scripts/up`: from a bare machine to a site that answers."""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict
from pathlib import Path

from flatrun_scripts import (
    administrator,
    engine,
    environment,
    hello_site,
    images,
    layout,
    proxy,
    requirements,
)
from flatrun_scripts.panel import DEFAULT_PORT, Client, Panel, next_free_port, read_settings, write_settings
from flatrun_scripts.panel import Settings as PanelSettings
from flatrun_scripts.shell import say, step

LAST_PORT = 65535
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def main(argv: list[str]) -> int:
    """Bring everything up, or find it up."""
    options = _options(argv)
    folder = layout.state_folder()
    with layout.only_one(folder):
        folder.chmod(0o700)
        state = layout.State.load(folder)
        cache = folder / "cache"
        had_engine = engine.program_present()
        requirements.obtain(requirements.survey(cache), state, cache, agreed=options.yes)
        _start_engine(folder, state, fresh=not had_engine)
        panel = Panel(folder, layout.REPOSITORY / ".venv")
        if not panel.config.exists():
            proxy.check_name(options.proxy_name)
        _prepare_environment(panel)
        settings = _settings(panel, state, cache, options)
        reference = _make_image(state, cache)
        password = None if panel.process() else administrator.choose()
        panel.start(settings, password.environment if password else None)
        client = Client(settings)
        proxy.start_again(settings.proxy)
        hello_site.ensure(client, state, reference, options.site_name)
        address = hello_site.wait_until_it_answers(state.site, settings.proxy)
        who = administrator.lines(client, password, panel.program, panel.config)
    _summary(address, settings, panel, who)
    return 0


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/up",
        description="Install what is missing, start the panel, and start a first site with it.",
        epilog="Everything it makes is in $FLATRUN_HOME (.flatrun in the repository by default) "
        "and .venv; scripts/down undoes it.",
    )
    parser.add_argument("--yes", action="store_true", help="install without asking")
    parser.add_argument("--port", type=_port, metavar="N", help=f"port of the panel ({DEFAULT_PORT})")
    parser.add_argument(
        "--site-name", type=_name, metavar="NAME", help=f"name of the site ({hello_site.DEFAULT_NAME})"
    )
    parser.add_argument(
        "--proxy-name",
        type=_name,
        metavar="NAME",
        help=f"name of the proxy's container and network ({proxy.DEFAULT_NAME})",
    )
    for option, first, other in (
        ("--http-port", proxy.HTTP, proxy.OTHER_HTTP),
        ("--https-port", proxy.HTTPS, proxy.OTHER_HTTPS),
    ):
        text = f"port of the proxy on this machine ({first}; when taken, a free one from {other} on)"
        parser.add_argument(option, type=_port, metavar="N", help=text)
    return parser.parse_args(argv)


def _port(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is no port (1 to 65535)")
    return number


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name (a-z, 0-9, and dashes in between)")
    return text


def _start_engine(folder: Path, state: layout.State, *, fresh: bool) -> None:
    if engine.running() and not (fresh and engine.has_systemd()):
        return
    # Under systemd the package starts the Engine by itself: that counts as started by this script.
    step("Starting the Docker Engine")
    engine.check_access()
    started = engine.start(folder / "engine")
    state.engine = asdict(started)
    state.save()


def _prepare_environment(panel: Panel) -> None:
    stamp = environment.panel_stamp()
    if environment.current(panel.venv, stamp):
        return
    if panel.process():
        say("The code has changed, so the panel is restarted.")
        panel.stop()
    environment.make_for_panel(panel.venv, stamp)


def _settings(panel: Panel, state: layout.State, cache: Path, options: argparse.Namespace) -> PanelSettings:
    if not panel.config.exists():
        _first_settings(panel, state, cache, options)
    settings = read_settings(panel.config, panel.venv)
    proxy.make_image(state, cache, settings.proxy.image)
    for wanted, now, key in (
        (options.port, settings.port, "api.port"),
        (options.http_port, settings.proxy.http_port, "nginx.http_port"),
        (options.https_port, settings.proxy.https_port, "nginx.https_port"),
        (options.proxy_name, settings.proxy.container, "nginx.container_name"),
    ):
        if wanted and wanted != now:
            say(f"{key} is {now} in {panel.config}; it stays like that.")
    return settings


def _first_settings(panel: Panel, state: layout.State, cache: Path, options: argparse.Namespace) -> None:
    first = options.port or DEFAULT_PORT
    port = next_free_port(first, proxy.HERE)
    if port != first:
        say(f"Port {first} is taken, so the panel gets port {port}.")
    step("Making the image of the proxy")
    wish = proxy.Wish(options.proxy_name, options.http_port, options.https_port)
    chosen = proxy.choose(wish, proxy.make_image(state, cache, ""))
    proxy.remember(state, chosen)
    write_settings(panel.config, port, chosen)


def _make_image(state: layout.State, cache: Path) -> str:
    reference = images.build(hello_site.image(), cache)
    if reference not in state.images:
        state.images.append(reference)
        state.save()
    return reference


def _summary(address: str, settings: PanelSettings, panel: Panel, who: list[tuple[str, str]]) -> None:
    known = [
        ("Site", address),
        ("Panel", settings.url),
        ("Documentation", f"{settings.url}/api/docs"),
        ("Admin key", settings.key),
        *who,
    ]
    say("")
    for title, text in known:
        say(f"  {title:<15}{text}")
    say("")
    say(f"  Settings {panel.config}, output {panel.log}.")
    say("  Try: curl -H 'Authorization: Bearer <admin key>' " + f"{settings.url}/api/deployments")
    say("  scripts/down undoes all of this.")
