"""``flatrun deployments``, on a panel that answers what it is told to."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flatrun_core.cli import ApiError, Session
from flatrun_core.cli.client import Event
from flatrun_deployments.commands import deployments

ITEMS = [
    {
        "name": "blog",
        "path": "/srv/blog",
        "status": "running",
        "created_at": "2024-01-01T00:00:00Z",
        "services": [
            {"name": "web", "status": "running", "health": "none"},
            {"name": "db", "status": "exited", "health": "none"},
        ],
    }
]
CREATED = {
    "message": "Deployment created",
    "name": "blog",
    "auto_started": False,
    "start_output": "",
    "start_error": "",
    "registry_login_error": "",
    "proxy_result": None,
}


class FakeApi:
    """Answers by path and keeps what was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, Any]] = []
        self.events: list[Event] = []

    def get(self, path: str, **query: Any) -> Any:
        return self._answer("get", path, query)

    def post(self, path: str, body: Any = None) -> Any:
        return self._answer("post", path, body)

    def stream(self, path: str, **query: Any) -> Iterator[Event]:
        self.asked.append(("stream", path, query))
        yield from self.events

    def _answer(self, method: str, path: str, sent: Any) -> Any:
        self.asked.append((method, path, sent))
        answer = self.answers[path.rsplit("/", 1)[-1]]
        if isinstance(answer, Exception):
            raise answer
        return answer


def run(api: FakeApi, *args: str, **more: Any) -> Result:
    return CliRunner().invoke(deployments, args, obj=Session(api=api), **more)


def test_list_is_a_table_in_a_pipe_and_json_when_asked() -> None:
    api = FakeApi(deployments=ITEMS)
    plain = run(api, "list")
    assert plain.exit_code == 0
    assert [line.split() for line in plain.output.splitlines()] == [
        ["NAME", "STATUS", "SERVICES", "CREATED"],
        ["blog", "running", "1/2", "running", "2024-01-01T00:00:00"],
    ]
    assert json.loads(run(api, "list", "--json").stdout) == ITEMS


def test_an_empty_list_says_so_beside_the_output() -> None:
    result = run(FakeApi(deployments=[]), "list")
    assert result.stdout == ""
    assert "no deployments" in result.stderr


def test_create_sends_file_variables_and_port(tmp_path: Path) -> None:
    compose, env = tmp_path / "c.yml", tmp_path / "env"
    compose.write_bytes("services: {web: {image: größe}}\r\n".encode())
    env.write_text("# comment\nA=1\nB='two words'\n")
    api = FakeApi(deployments=CREATED)
    result = run(
        *(api, "create", "blog", "-f", str(compose), "--env-file", str(env)),
        *("-e", "A=2", "-e", "C=x=y", "--port", "8080", "--start"),
    )
    assert result.exit_code == 0, result.output
    ((method, path, body),) = api.asked
    assert (method, path) == ("post", "/api/deployments")
    assert body["compose"].encode() == compose.read_bytes()
    assert (body["port"], body["auto_start"], body["template_id"]) == (8080, True, None)
    assert {item["key"]: item["value"] for item in body["env_vars"]} == {
        "A": "2",
        "B": "two words",
        "C": "x=y",
    }
    assert result.stdout == "Created blog\n"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_bytes(b"\xff\xfe")
    assert run(FakeApi(), "create", "blog", "-f", str(tmp_path / "c.yml")).exit_code == 2


def test_create_reads_stdin_and_takes_templates() -> None:
    api = FakeApi(deployments=CREATED)
    run(api, "create", "blog", "-f", "-", input="services: {}\n")
    run(api, "create", "blog", "--template", "static")
    assert [asked[2]["compose"] for asked in api.asked] == ["services: {}\n", None]
    assert api.asked[1][2]["template_id"] == "static"


@pytest.mark.parametrize(
    "args",
    [
        ("create", "blog"),
        ("create", "blog", "--template", "x", "--env", "novalue"),
        ("create", "blog", "--template", "x", "--env", "=x"),
        ("create", "blog", "--template", "x", "--port", "0"),
        ("create", "blog", "-f", "/does/not/exist"),
        ("logs", "blog", "--tail", "0"),
        ("start",),
    ],
)
def test_wrong_usage_is_2_and_asks_nothing(args: tuple[str, ...]) -> None:
    api = FakeApi()
    assert run(api, *args).exit_code == 2
    assert api.asked == []


def test_a_start_that_failed_after_the_creation_is_1_with_its_output() -> None:
    failed = {
        **CREATED,
        "auto_started": True,
        "start_output": "pull denied\n",
        "start_error": "compose failed",
    }
    result = run(FakeApi(deployments=failed), "create", "blog", "--template", "x", "--start")
    assert result.exit_code == 1
    assert result.stdout == "Created blog\n"
    assert "pull denied" in result.stderr
    assert "did not start: compose failed" in result.stderr


def test_warnings_of_a_creation_are_shown() -> None:
    made = {**CREATED, "warnings": ["mind the gap"], "registry_login_error": "denied"}
    result = run(FakeApi(deployments=made), "create", "blog", "--template", "x")
    assert result.exit_code == 0
    assert "mind the gap" in result.stderr
    assert "denied" in result.stderr


@pytest.mark.parametrize(("action", "done"), [("start", "started"), ("stop", "stopped")])
def test_actions_take_several_names(action: str, done: str) -> None:
    answer = {"message": f"Deployment {done}", "name": "x", "output": ""}
    api = FakeApi(**{action: answer})
    result = run(api, action, "one", "two/..")
    assert result.stdout == f"one: {done}\ntwo/..: {done}\n"
    assert [asked[1] for asked in api.asked] == [
        f"/api/deployments/one/{action}",
        f"/api/deployments/two%2F../{action}",
    ]
    assert json.loads(run(api, action, "one", "--json").stdout) == answer
    assert json.loads(run(api, action, "one", "two", "--json").stdout) == [answer, answer]


def test_a_refusal_shows_what_compose_wrote_and_ends_with_1() -> None:
    refused = ApiError("'docker compose up' failed", status=500, body={"output": "no such image\n"})
    result = run(FakeApi(start=refused), "start", "blog")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == ["no such image", "Error: 'docker compose up' failed"]


def test_logs_are_printed_as_they_are() -> None:
    api = FakeApi(logs={"name": "blog", "logs": "web-1  | [red]a[/red]\nweb-1  | b\n"})
    result = run(api, "logs", "blog", "-n", "5", "-s", "web", "--since", "10m", "-t")
    assert result.stdout == "web-1  | [red]a[/red]\nweb-1  | b\n"
    assert api.asked[0][2] == {"tail": 5, "service": "web", "since": "10m", "timestamps": True}
    assert run(FakeApi(logs={"name": "blog", "logs": ""}), "logs", "blog").stdout == ""
    assert json.loads(run(api, "logs", "blog", "--json").stdout)["name"] == "blog"


def test_following_prints_each_line_and_why_it_ended() -> None:
    api = FakeApi()
    line = {"service": "web", "container": "c", "timestamp": "T", "stream": "stdout", "line": "hello"}
    api.events = [Event("log", line), Event("skipped", {"lines": 3}), Event("end", {"reason": "deleted"})]
    plain = run(api, "logs", "blog", "-f")
    assert plain.stdout == "web  | hello\n"
    assert "3" in plain.stderr
    assert "deleted" in plain.stderr
    assert run(api, "logs", "blog", "-f", "-t").stdout == "web  | T hello\n"
    documents = [json.loads(text) for text in run(api, "logs", "blog", "-f", "--json").stdout.splitlines()]
    assert documents[0] == {"event": "log", **line}
    assert documents[2] == {"event": "end", "reason": "deleted"}
