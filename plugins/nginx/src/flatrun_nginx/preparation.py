"""Everything the container needs before it can be made: folders, its compose file, its main file."""

import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from flatrun_core import Failed
from flatrun_core.ports.docker import Project
from flatrun_core.ports.programs import Completed
from flatrun_nginx import compose_file, image_facts
from flatrun_nginx.container import NginxContainer, State
from flatrun_nginx.environment import Environment
from flatrun_nginx.files import Files, read_json
from flatrun_nginx.image_facts import UNKNOWN, ImageFacts
from flatrun_nginx.rendering import Renderer, is_untouched

log = logging.getLogger(__name__)

_FACTS: Final = ".image.json"
_WELCOME: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Flatrun</title>
<h1>It works.</h1>
<p>This server is managed by Flatrun. No site has this name yet.</p>
</html>
"""


class Preparation:
    """Keeps what it learned of an image for as long as the container is the same."""

    def __init__(self, container: NginxContainer, renderer: Renderer, files: Files) -> None:
        self._container = container
        self._renderer = renderer
        self._files = files
        self._facts: tuple[str, ImageFacts] | None = None

    def image(self, environment: Environment) -> ImageFacts:
        """What the image in the settings is, asked in a throw-away container."""
        facts = self._probe(environment)
        self._keep(environment, "", facts)
        return facts

    def running(self, environment: Environment, state: State) -> ImageFacts:
        """What the image of a running container is, asked once; without one, what was found last.

        An answer that is missing is asked for again the next time.
        """
        if state.running and (self._facts is None or self._facts[0] != state.id):
            run = partial(self._container.execute, state)
            try:
                self._keep(environment, state.id, image_facts.ask(run, environment.settings.image))
            except Failed as exc:
                if exc.code != image_facts.UNANSWERED:
                    raise
                log.warning("nginx: %s", exc.message)
        return self.last(environment)

    def last(self, environment: Environment) -> ImageFacts:
        """What was found last of the image in the settings."""
        if self._facts is not None:
            return self._facts[1]
        stored = read_json(environment.layout.folder / _FACTS)
        if stored.get("image") != environment.settings.image:
            return UNKNOWN
        return image_facts.restored(stored.get("facts") or {}) or UNKNOWN

    def was_made(self, environment: Environment) -> bool:
        """Whether a container has ever run."""
        return bool(read_json(environment.layout.folder / _FACTS).get("container"))

    def prepare(self, environment: Environment, facts: ImageFacts) -> str:
        """Write what is missing or different, and give the mark of a container that is made by it.

        Empty where the container is not ours to make, or somebody changed its file. Raises ``OSError``.
        """
        layout = environment.layout
        layout.ensure()
        welcome = layout.folder / "html" / "index.html"
        if not welcome.exists():
            self._files.write_whole(welcome, _WELCOME)
        if environment.settings.external:
            return ""
        main = self._renderer.main(facts.mime)
        # A file that is mounted by itself must keep its inode, or the container goes on seeing the old one.
        if _text(layout.main) != main:
            self._files.write(layout.main, main)
            self._files.sync(layout.main)
        wanted = compose_file.wanted(environment, facts.conf_path, main)
        self._put(layout.folder / compose_file.METADATA, wanted.metadata)
        return wanted.mark if self._put(layout.folder / compose_file.FILE, wanted.compose) else ""

    def staged_main(self, facts: ImageFacts, folder: str) -> str:
        """A main file for a test."""
        return self._renderer.main(facts.mime, folder)

    def _put(self, path: Path, text: str) -> bool:
        there = _text(path)
        if there == text:
            return True
        if there and not is_untouched(there):
            log.debug("%s was changed by hand and stays as it is; remove it to have it made anew", path)
            return False
        self._files.write_whole(path, text)
        return True

    def _probe(self, environment: Environment) -> ImageFacts:
        layout = environment.layout
        layout.ensure()
        wanted = compose_file.probe(environment.settings, layout)
        self._files.write_whole(layout.folder / compose_file.PROBE, wanted.compose)
        try:
            return image_facts.ask(
                lambda args: self._asked(environment, wanted.project, args), environment.settings.image
            )
        finally:
            self._files.remove(layout.folder / compose_file.PROBE)

    def _asked(self, environment: Environment, project: Project, args: Sequence[str]) -> Completed:
        done = self._container.throw_away(project, args)
        if args[0] == "nginx" and "nginx version:" not in done.output:
            lines = [line.strip() for line in done.output.splitlines() if line.strip()]
            raise Failed(
                f"The image {environment.settings.image} cannot be used: "
                f"{(lines or ['no reason was given'])[-1]}. "
                "Pull it, or set nginx.image to one that this host has or can get",
                code="NGINX_START_FAILED",
            )
        return done

    def _keep(self, environment: Environment, key: str, facts: ImageFacts) -> None:
        self._facts = (key, facts)
        path = environment.layout.folder / _FACTS
        made = key or str(read_json(path).get("container") or "")
        stored = {"image": environment.settings.image, "facts": facts.stored(), "container": made}
        if read_json(path) != json.loads(json.dumps(stored)):
            environment.layout.folder.mkdir(parents=True, exist_ok=True)
            self._files.write_whole(path, json.dumps(stored, indent=2) + "\n")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        return "\0"
