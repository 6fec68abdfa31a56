"""Texts that mean harm, in every place of every route that takes text, as an administrator.

None of them reaches a program's arguments, leaves the deployments root, comes back in a header or
makes the panel fail; and whatever is asked, nothing tells a secret.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from flatrun_core.docker import ComposeCli
from flatrun_core.testing.document import Operation, Place
from flatrun_core.testing.fake_docker import FakeEngine
from flatrun_core.testing.programs import RecordingPrograms
from flatrun_core.testing.serving import Answer

# In each text, so that it is found wherever it went.
MARK = "hx7q"
TEXTS = {
    "command substitution": f"$(touch {MARK})",
    "backticks": f"`touch {MARK}`",
    "semicolon": f"; touch {MARK}",
    "pipe": f"| touch {MARK}",
    "background": f"& touch {MARK} && true #",
    "redirection": f"> {MARK}",
    "quotes": f"' \" {MARK}",
    "backslash": f"{MARK}\\",
    "glob": f"*{MARK}?[!a]",
    "newline": f"{MARK}\ntouch {MARK}",
    "carriage return": f"{MARK}\rtouch",
    "header injection": f"{MARK}\r\nX-Injected: {MARK}\r\n\r\n<p>",
    "leading dash": f"-{MARK}",
    "leading dashes": f"--{MARK}=/etc",
    "an option with a command": f"-oProxyCommand={MARK}",
    "NUL": f"{MARK}\0.yml",
    "right-to-left": f"\u202e{MARK}\u202c",
    "no width": f"{MARK}\u200b\ufeff",
    "combining marks": MARK + "\u0301" * 500,
    "lone surrogate": f"{MARK}\ud800",
    "surrogates the wrong way round": f"\udc00{MARK}\ud83d",
    "64 KiB": MARK + "a" * 65536,
    "SQL": f"' OR 1=1; DROP TABLE core_job; --{MARK}",
    "SQL union": f"{MARK}') UNION SELECT * FROM users_user --",
    "traversal": f"../../../{MARK}",
    "traversal with backslashes": f"..\\..\\{MARK}",
    "encoded traversal": f"..%2f..%2f{MARK}",
    "twice encoded traversal": f"%252e%252e%252f{MARK}",
    "overlong traversal": f"....//....//{MARK}",
    "absolute path": f"/tmp/{MARK}",
    "full-width traversal": f"\uff0e\uff0e\uff0f{MARK}",
    "hidden name": f".{MARK}",
    "shell variable": "${HOME}" + MARK,
    "mustache": "{{7*7}}" + MARK,
    "percent": f"%s%n%(x)s%x{MARK}",
    "format": "{0.__class__}" + MARK,
    "block": "{% for x in y %}" + MARK,
    "YAML tag": f"!!python/object/apply:os.system ['touch {MARK}']",
    "YAML keys": f"{MARK}\nprivileged: true\nimage: {MARK}",
    "JSON": f'{{"{MARK}": 1}}',
    "HTML": f"<script>{MARK}</script>",
    "huge number": "9" * 4400,
    "huge exponent": "1e999999",
    "not a number": "NaN",
    "terminal control": f"\x1b[31m{MARK}\x07",
    "formula": f"=cmd|'/c {MARK}'!A1",
    "upper case": f"{MARK.upper()}.{MARK}",
    "empty": "",
}
# What they would be if somebody evaluated them.
EVALUATED = (f"49{MARK}", f"{os.environ.get('HOME', '/root')}{MARK}", f"<class 'str'>{MARK}")
# Names that were found to be right may go anywhere.
VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
SAFE_PATH = re.compile(r"[!-~]+")
# Follows the text where a secret belongs, and is never to be seen again.
CANARY = "-canary-9f31"
SECRET_PLACE = re.compile(r"passw|secret|token|api_key|code$|^value$", re.IGNORECASE)
SECRETS = {
    "an environment variable": "kept-in-the-environment-51b7",
    "the key of the settings": "the-key-of-the-settings-of-this-test",
    "the signing key": "what-this-panel-signs-with",
    "a password": "correct horse battery",
}
EMPTY_PROJECT = {"name": "shop", "services": {"web": {"image": "test/web"}}}
# Places of service.yml, which the document leaves open, and of compose texts.
METADATA: tuple[Place, ...] = (
    *(("name",), ("type",), ("template_id",), ("credential_id",), ("created_at",)),
    *(("networking", key) for key in ("domain", "service", "protocol", "proxy_type")),
    ("networking", "networks", 0),
    *(("healthcheck", key) for key in ("path", "interval")),
    *(("quick_actions", 0, key) for key in ("id", "name", "command", "service")),
    *(("domains", 0, key) for key in ("id", "service", "domain", "path_prefix")),
    ("domains", 0, "aliases", 0),
    *(("databases", 0, key) for key in ("id", "alias", "type", "service", "host", "container", "username")),
    *(("security", "protected_paths", 0, "pattern"), ("backup", "pre_hooks", 0, "command")),
)
COMPOSE: tuple[Place, ...] = (
    ("name",),
    *(("services", "web", key) for key in ("image", "container_name", "command", "build", "network_mode")),
    *(("services", "web", key, 0) for key in ("ports", "volumes", "env_file", "networks", "expose")),
    *(("networks", "default", "name"), ("volumes", "data", "name"), ("include", 0)),
)
CREATE = "POST /api/deployments"
Case = tuple[Operation, str, dict[str, str], dict[str, str], Any]


class Corpus:
    """Sends one text everywhere and looks at what comes of it."""

    def __init__(self, world: Any, programs: RecordingPrograms, text: str) -> None:
        self.world, self.programs, self.text = world, programs, text
        self.places: set[tuple[str, str]] = set()
        self.sent = 0
        self.tables: set[str] = set()
        self.secrets = {**SECRETS, **world.secrets, "what was given as a secret": CANARY}
        self.wrong: list[str] = []

    def run(self) -> None:
        before = self.world.state.picture()
        for operation, where, values, query, body in self.cases():
            self.places.add((str(operation), where))
            for target in self.targets(operation, values, query):
                self.sent += 1
                headers = self.world.keeper
                answer = self.world.panel.ask(operation.method, target, headers=headers, body=body)
                label = f"{operation} {where}"
                self.judge(label, answer)
                if operation.method != "GET":
                    self.put_back(label, before)
        self.judge_files("afterwards")

    def put_back(self, label: str, before: Any) -> None:
        """Look at what was written, and make it as it was."""
        changed = self.world.state.changes(before)
        if "files" in changed:
            self.judge_files(label)
        if set(changed) - {"Docker's work"}:
            self.world.state.restore(before)

    def cases(self) -> "Iterator[Case]":
        """Each place of each route with the text in it, everything else being right."""
        for one in self.world.operations:
            values, body = self.world.values_of(one), self.world.body_of(one)
            for name in one.path_names:
                yield one, f"path {name}", {**values, name: self.text}, {}, body
            for name in one.query:
                yield one, f"query {name}", values, {name: self.text}, body
            for place in self.world.places_of(one):
                secret = any(SECRET_PLACE.search(str(key)) for key in place)
                text = self.text + CANARY if secret else self.text
                yield one, f"body {shown(place)}", values, {}, one.body_with(place, text, body)
            if str(one) == CREATE:
                yield from self.creations(one, body)

    def creations(self, one: Operation, body: Any) -> "Iterator[Case]":
        """Deployments with the text in service.yml and in the compose file."""
        base = {"services": {"web": {"image": "test/web"}}}
        for place in METADATA:
            whole = merged({"networking": {"expose": True}}, nested(place, self.text))
            yield one, f"metadata {shown(place)}", {}, {}, {**body, "metadata": whole}
        for place in COMPOSE:
            whole = merged(base, nested(place, self.text))
            yield one, f"compose {shown(place)}", {}, {}, {**body, "compose": json.dumps(whole)}
        for kind in ("services", "networks", "volumes"):
            whole = merged(base, {kind: {self.text: {"image": "test/web"}}})
            yield one, f"compose {kind}", {}, {}, {**body, "compose": json.dumps(whole)}

    def targets(self, operation: Operation, values: dict[str, str], query: dict[str, str]) -> "Iterator[str]":
        """Encoded as a client should, and in a path as it is, where HTTP allows that."""
        yield operation.target(values, query)
        if self.text in values.values() and SAFE_PATH.fullmatch(self.text):
            path = operation.path
            for name, value in values.items():
                path = path.replace(f"{{{name}}}", value if value == self.text else quote(value))
            yield path

    def judge(self, label: str, answer: Answer) -> None:
        """The answer is no failure, has clean headers and tells nothing it should not."""
        text = answer.body.decode("utf-8", "replace")
        headers = json.dumps(answer.headers)
        if answer.status >= 500:
            self.wrong.append(f"{label}: {answer.status} {text[:200]}")
        if MARK in headers.lower() or answer.header("X-Injected"):
            self.wrong.append(f"{label}: the headers hold it: {headers}")
        if not re.fullmatch(r"[0-9a-f]{32}", answer.header("X-Request-ID")):
            self.wrong.append(f"{label}: the request's id is {answer.header('X-Request-ID')!r}")
        self.wrong += [f"{label}: it was evaluated to {one}" for one in EVALUATED if one in text]
        self.wrong += [
            f"{label}: tells {name}" for name, one in self.secrets.items() if one in text + headers
        ]

    def told(self, text: str) -> list[str]:
        """Names of the secrets in a text."""
        return [name for name, secret in self.secrets.items() if secret in text]

    def judge_files(self, label: str) -> None:
        """Nothing was written outside the deployments root, and no name in it is the text."""
        root = self.world.root
        for path in self.world.folder.rglob("*"):
            inside = path.is_relative_to(root)
            parts = path.relative_to(root if inside else self.world.folder).parts
            marked = [part for part in parts if MARK in part.lower() and not VALID.fullmatch(part)]
            if marked or (MARK in str(path).lower() and not inside) or path.is_symlink():
                self.wrong.append(f"{label}: wrote {path}")

    def judge_programs(self) -> None:
        """No argument, variable, folder or input of a program has it, but for names that are right."""
        self.world.done("POST /api/deployments/shop/restart")
        assert self.programs.calls[-1].args[-3:] == ("-d", "--force-recreate", "--remove-orphans")
        for call in self.programs.calls:
            given = [*call.args, *call.env, *call.env.values(), str(call.cwd or "").rpartition("/")[2]]
            self.wrong += [f"ran with {one!r}" for one in given if not harmless(one)]
            if call.stdin is not None and MARK.encode() in call.stdin:
                self.wrong.append(f"{call.args[0]} was given it on standard input")
        for method, *given in self.world.engine.calls:
            self.wrong += [f"Engine: {method} {one!r}" for one in given if not harmless(one)]

    def judge_rows(self, logged: str) -> None:
        """No secret stands in a column or in the log, whatever was asked; and the tables are there."""
        database = self.world.state.database
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        self.tables = set(names)
        for name in names:
            for row in database.execute(f'SELECT * FROM "{name}"'):
                text = repr(row)
                self.wrong += [
                    f"table {name} has {what}" for what, one in self.secrets.items() if one in text
                ]
        self.wrong += [f"the log tells {what}" for what, one in self.secrets.items() if one in logged]


def harmless(given: str) -> bool:
    """Whether an argument is free of the text, or a path whose last part is a right name."""
    parts = [part for part in given.split("/") if MARK in part.lower()]
    return all(VALID.fullmatch(part) for part in parts)


def nested(place: Place, text: str) -> Any:
    """A document with nothing but the text at its place."""
    if not place:
        return text
    inner = nested(place[1:], text)
    return [inner] if isinstance(place[0], int) else {place[0]: inner}


def merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Two documents in one."""
    both = {
        key: merged(under[key], value) if isinstance(value, dict) else value
        for key, value in over.items()
        if key in under
    }
    return {**under, **over, **both}


def shown(place: Place) -> str:
    """A place as people write it."""
    return ".".join(str(key) for key in place)


@pytest.fixture(scope="session")
def all_programs() -> RecordingPrograms:
    found = RecordingPrograms()
    found.answer(("docker", "compose"), stdout=json.dumps(EMPTY_PROJECT))
    found.answer(("docker", "compose", "version"), stdout="2.26.1")
    return found


@pytest.fixture(scope="session")
def opened_world(all_programs: RecordingPrograms, open_world: Callable[..., Any]) -> Iterator[Any]:
    def make_compose(engine: FakeEngine) -> tuple[ComposeCli, list[Any]]:
        return ComposeCli(all_programs, engine.touch), all_programs.calls

    with open_world(make_compose) as world:
        yield world


@pytest.fixture
def programs(all_programs: RecordingPrograms) -> RecordingPrograms:
    """With nothing recorded so far."""
    all_programs.calls.clear()
    return all_programs


@pytest.fixture
def hostile_world(opened_world: Any, programs: RecordingPrograms) -> Any:
    opened_world.panel.take_models()
    opened_world.engine.calls.clear()
    return opened_world


@pytest.mark.parametrize("kind", TEXTS)
def test_a_hostile_text_is_harmless_wherever_it_is_given(
    kind: str,
    hostile_world: Any,
    programs: RecordingPrograms,
    record_property: Callable[[str, Any], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    corpus = Corpus(hostile_world, programs, TEXTS[kind])
    corpus.run()
    corpus.judge_programs()
    corpus.judge_rows(caplog.text)
    routes = {route for route, _ in corpus.places}
    counts = {"texts": corpus.sent, "places": len(corpus.places), "routes": len(routes)}
    record_property("hostile input", {**counts, "wrong": len(corpus.wrong)})
    assert {"core_job", "users_user"} <= corpus.tables
    assert corpus.wrong == []
