"""``docker compose`` by argument list, and its failures as the project's errors."""

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import yaml

from flatrun_core.docker.env_files import env_file_options
from flatrun_core.docker.refusals import engine_missing, known_refusal
from flatrun_core.errors import Failed, FlatrunError, Invalid, TimedOut, Unavailable
from flatrun_core.ports.docker import Compose, Project
from flatrun_core.ports.programs import Completed, Programs

logger = logging.getLogger(__name__)

_PROBE_TIMEOUT: Final = 15.0
_CONFIG_TIMEOUT: Final = 30.0
_HAS_PROGRESS: Final = (2, 20)
_HAS_ENV_FILES: Final = (2, 17)
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*")
_NUMBERS = re.compile(r"(\d+)\.(\d+)")
_SECRET_NAME = re.compile(r"PASS|PWD|SECRET|TOKEN|KEY|CREDENTIAL|AUTH|DSN|_URL", re.IGNORECASE)
_STOPPING: Final = (("stop",), ("kill",))
_SHORTEST_SECRET: Final = 6
_NO_PLUGIN = re.compile(
    r"unknown command: docker compose|'compose' is not a docker command|unknown flag: --project"
)


@dataclass(frozen=True, slots=True)
class _Found:
    command: tuple[str, ...]
    version: str
    numbers: tuple[int, int]


class ComposeCli(Compose):
    """Compose as it is installed; which one that is, is found out at the first use and kept.

    ``touch`` is called after each command, whatever came of it, and ``settle`` with the project's name
    after one that stops containers. ``host`` is the Engine's address, lest a context in the user's
    Docker configuration lead compose to another one.
    """

    def __init__(
        self,
        programs: Programs,
        touch: Callable[[], None],
        host: str = "",
        settle: Callable[[str], None] | None = None,
    ) -> None:
        self._programs = programs
        self._touch = touch
        self._settle = settle
        self._env = {"DOCKER_CLI_HINTS": "false", **({"DOCKER_HOST": host} if host else {})}
        self._found: _Found | None = None

    def version(self) -> str:
        """The version found."""
        return self._installed().version

    def run(self, project: Project, *args: str, timeout: float = 600.0, check: bool = True) -> Completed:
        """Run one command; see the port.

        Values of secrets in ``project.env_files`` and the project's folder are left out of ``output``;
        ``stdout`` is as it came.
        """
        found = self._installed()
        try:
            done = self._execute(project, found, args, timeout)
            if self._settle is not None and args[:1] in _STOPPING:
                self._settle(project.name)
        finally:
            self._touch()
        if check and done.returncode != 0:
            raise compose_failure(args[0] if args else "", done.output)
        return done

    def config(self, project: Project) -> Mapping[str, Any]:
        """The normalised document; secrets that the file names are in it."""
        found = self._installed()
        form = () if found.numbers < (2, 0) else ("--format", "json")
        done = self._execute(project, found, ("config", *form), _CONFIG_TIMEOUT)
        if done.returncode != 0:
            text = f"Compose refuses the file: {_reason(done.output)}"
            raise Invalid(text, code="COMPOSE_INVALID", output=done.output)
        try:
            document = json.loads(done.stdout) if form else yaml.safe_load(done.stdout)
        except (ValueError, yaml.YAMLError) as exc:
            raise Failed("Compose gave a configuration that cannot be read", code="COMPOSE_FAILED") from exc
        if not isinstance(document, Mapping):
            raise Invalid("Compose finds nothing in the file", code="COMPOSE_INVALID", output=done.output)
        return document

    def _installed(self) -> _Found:
        found = self._found
        if found is None:
            found = self._probe(("docker", "compose")) or self._probe(("docker-compose",))
            if found is None:
                text = "Neither 'docker compose' nor 'docker-compose' can be run: install Docker Compose"
                raise Unavailable(text, code="COMPOSE_MISSING")
            logger.info("using %s %s", " ".join(found.command), found.version)
            self._found = found
        return found

    def _probe(self, command: tuple[str, ...]) -> _Found | None:
        try:
            done = self._programs.run((*command, "version", "--short"), timeout=_PROBE_TIMEOUT)
        except (Unavailable, TimedOut):
            return None
        numbers = _NUMBERS.search(done.stdout)
        if done.returncode != 0 or numbers is None:
            return None
        return _Found(command, done.stdout.strip().removeprefix("v"), (int(numbers[1]), int(numbers[2])))

    def _execute(self, project: Project, found: _Found, args: tuple[str, ...], timeout: float) -> Completed:
        env = {**project.env, **self._env}
        try:
            with env_file_options(project.env_files, several=found.numbers >= _HAS_ENV_FILES) as variables:
                command = (*_command(project, found, variables), *args)
                done = self._programs.run(command, timeout=timeout, cwd=project.directory, env=env)
        except TimedOut as exc:
            output = _cleaned(str(exc.details.get("output", "")), project)
            raise TimedOut(
                f"Compose took longer than {timeout:g} seconds and was stopped", output=output
            ) from exc
        if done.returncode != 0 and _NO_PLUGIN.search(done.output):
            self._found = None  # it was removed or replaced: look again at the next use
        return replace(done, output=_cleaned(done.output, project))


def _command(project: Project, found: _Found, variables: Sequence[str]) -> tuple[str, ...]:
    if not _PROJECT.fullmatch(project.name):
        raise Invalid(f"'{project.name}' cannot be the name of a compose project", code="COMPOSE_INVALID")
    args = [*found.command, "--project-name", project.name, "--project-directory", str(project.directory)]
    for file in project.files:
        args += ["-f", str(file)]
    args += variables
    if found.numbers >= (2, 0):
        args += ["--ansi", "never"]
    if found.numbers >= _HAS_PROGRESS:
        args += ["--progress", "plain"]
    return tuple(args)


def compose_failure(command: str, output: str) -> FlatrunError:
    """The error of a command that failed, by what it printed."""
    # The old compose says it by a stack trace, which is for nobody to read.
    shown = {} if "Traceback (most recent call last)" in output else {"output": output}
    known = engine_missing(output, **shown) or known_refusal(output, output=output)
    if known is not None:
        return known
    return Failed(
        f"'docker compose {command}' failed: {_reason(output)}", code="COMPOSE_FAILED", output=output
    )


def _cleaned(output: str, project: Project) -> str:
    for secret in _secrets(project):
        output = output.replace(secret, "********")
    return output.replace(f"{project.directory}/", "").replace(str(project.directory), ".")


def _secrets(project: Project) -> list[str]:
    pairs = list(project.env.items())
    for file in project.env_files:
        try:
            lines = file.read_text("utf-8", "replace").splitlines()
        except OSError:
            lines = []
        pairs += [
            (name, value.strip().strip("\"'")) for name, _, value in (line.partition("=") for line in lines)
        ]
    found = {value for name, value in pairs if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET}
    return sorted(found, key=len, reverse=True)


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if "error" in line.lower() or "failed" in line.lower()]
    return (told or lines or ["no reason was given"])[-1][:500]
