"""The command: its session, what it prints, and its commands without a server."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from flatrun_core import hookimpl
from flatrun_core.cli import Column, Session, api_options, main, pass_session
from flatrun_core.cli.output import Output
from flatrun_core.context import PluginInfo
from flatrun_core.plugins import PluginRecord
from flatrun_core.storage import sqlite_url

Run = Callable[..., Result]

FILE = """\
deployments_path: {root}
api: {{host: 127.0.0.1, port: {port}}}
auth: {{api_keys: [a-key-of-some-length-0123]}}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, no plugin installed, and nothing in the environment."""
    for name in [name for name in os.environ if name.startswith("FLATRUN_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flatrun_core.plugins.discover", lambda: [])
    return tmp_path


@pytest.fixture
def config(place: Path) -> Path:
    file = place / "flatrun.yml"
    file.write_text(FILE.format(root=place / "deployments", port=18999))
    file.chmod(0o600)
    return file


@pytest.fixture
def flatrun(place: Path) -> Run:
    def run(*arguments: str, **options: Any) -> Result:
        return CliRunner().invoke(main, list(arguments), **options)

    return run


def plugin(slug: str, commands: Callable[[], list[click.Command]], **info: Any) -> PluginRecord:
    module = ModuleType(f"plugin_{slug}")

    @hookimpl
    def flatrun_register_commands() -> list[click.Command]:
        return commands()

    module.PLUGIN = PluginInfo(slug=slug, hook_api=1, **info)  # type: ignore[attr-defined]
    module.flatrun_register_commands = flatrun_register_commands  # type: ignore[attr-defined]
    return PluginRecord(slug=slug, version="1.2", module=module)


def install(monkeypatch: pytest.MonkeyPatch, *records: PluginRecord) -> None:
    monkeypatch.setattr("flatrun_core.plugins.discover", lambda: list(records))


# --- configuration -----------------------------------------------------------------------------


def test_the_file_named_wins_over_the_environment_and_the_folder(
    flatrun: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("flatrun.yml", "env.yml", "named.yml"):
        (place / name).write_text(f"deployments_path: /srv/{name}\n")
    shown = lambda *arguments: json.loads(flatrun(*arguments).stdout)["deployments_path"]  # noqa: E731
    assert shown("config", "--json") == "/srv/flatrun.yml"
    monkeypatch.setenv("FLATRUN_CONFIG", "env.yml")
    assert shown("config", "--json") == "/srv/env.yml"
    assert shown("config", "--config", "named.yml", "--json") == "/srv/named.yml"
    assert shown("--config", "named.yml", "--json", "config") == "/srv/named.yml"


def test_without_a_file_defaults_and_environment_count(flatrun: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flatrun_core.cli.session.PLACES", (Path("flatrun.yml"),))
    monkeypatch.setenv("FLATRUN_API__PORT", "9123")
    assert json.loads(flatrun("config", "--json").stdout)["api"]["port"] == 9123


def test_a_missing_file_is_a_usage_error(flatrun: Run) -> None:
    result = flatrun("config", "--config", "nowhere.yml")
    assert result.exit_code == 2
    assert "nowhere.yml" in result.stderr


@pytest.mark.usefixtures("config")
def test_config_shows_effective_settings_without_secrets(
    flatrun: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLATRUN_DATABASE", "postgresql://u:hush@db/x")
    text = flatrun("config").stdout
    assert "port: 18999" in text
    assert text.count("***") == 2
    assert "hush" not in text
    assert "a-key-of-some-length" not in text


def test_check_names_all_problems_at_once(flatrun: Run, config: Path) -> None:
    config.write_text("deployments_path: relative\napi: {port: 70000, hots: x}\nauth: {enabled: 1}\n")
    result = flatrun("config", "--check")
    assert result.exit_code == 1
    assert all(key in result.stderr for key in ("deployments_path", "api.port", "api.hots", "auth.enabled"))
    report = json.loads(flatrun("config", "--check", "--json").stdout)
    assert report["valid"] is False
    assert len(report["problems"]) == 4


def test_check_names_the_line_of_what_is_not_yaml(flatrun: Run, config: Path) -> None:
    config.write_text("api:\n  port: [1\n")
    result = flatrun("config", "--check")
    assert result.exit_code == 1
    assert "line " in result.stderr


@pytest.mark.usefixtures("config")
def test_check_is_content_with_a_valid_file(flatrun: Run) -> None:
    result = flatrun("config", "--check")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "flatrun.yml is valid.\n"


# --- the database ------------------------------------------------------------------------------


@pytest.mark.usefixtures("config")
def test_migrate_lists_what_it_applied_and_then_nothing(flatrun: Run, place: Path) -> None:
    first = flatrun("migrate")
    assert first.exit_code == 0
    assert first.stdout == "applied core/0001_initial\n"
    assert (place / "deployments/.flatrun/flatrun.db").exists()
    assert flatrun("migrate").stdout == "The database is up to date.\n"
    assert json.loads(flatrun("migrate", "--json").stdout) == {"applied": []}


@pytest.mark.usefixtures("config")
def test_migrate_copies_an_older_database_first(
    flatrun: Run, place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flatrun("migrate")
    folder = place / "scripts"
    folder.mkdir()
    script = "def up(migrator, db):\n    db.execute_sql('CREATE TABLE x_y (id integer)')\n"
    (folder / "0001_first.py").write_text(script)
    monkeypatch.setattr("flatrun_core.assembly.migrations_folder", lambda _record: folder)
    install(monkeypatch, plugin("x", list))
    assert flatrun("migrate").stdout == "applied x/0001_first\n"
    copies = list((place / "deployments/.flatrun/backups").iterdir())
    assert len(copies) == 1
    assert stat.S_IMODE(copies[0].stat().st_mode) == 0o600
    assert str(copies[0]) in caplog.text


@pytest.mark.usefixtures("config")
def test_looking_makes_no_database(flatrun: Run, place: Path) -> None:
    flatrun("plugins")
    flatrun("doctor")
    flatrun("config")
    assert not (place / "deployments").exists()


def test_a_database_that_cannot_be_used_is_one_sentence(flatrun: Run, config: Path, place: Path) -> None:
    config.write_text(config.read_text() + f"database: {sqlite_url(place / 'flatrun.yml' / 'x.db')}\n")
    result = flatrun("migrate")
    assert result.exit_code == 1
    assert "atabase" in result.stderr
    assert "Traceback" not in result.stderr


# --- plugins -----------------------------------------------------------------------------------


def test_plugins_are_listed_with_state_and_reason(flatrun: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        monkeypatch,
        plugin("good", list),
        plugin("needy", list, requires=("absent",)),
        PluginRecord("wrong", version="0.3", module=ModuleType("wrong")),
    )
    monkeypatch.setenv("FLATRUN_PLUGINS__DISABLED", "off")
    result = flatrun("plugins")
    lines = [line.split(maxsplit=3) for line in result.stdout.splitlines()]
    assert lines[0] == ["NAME", "VERSION", "STATE", "REASON"]
    assert [line[:3] for line in lines[1:]] == [
        ["good", "1.2", "active"],
        ["needy", "1.2", "unavailable"],
        ["wrong", "0.3", "failed"],
    ]
    assert "'absent'" in result.stdout
    entries = json.loads(flatrun("plugins", "--json").stdout)["plugins"]
    assert [entry["status"] for entry in entries] == ["active", "unavailable", "failed"]


def test_plugins_are_listed_even_when_the_configuration_is_wrong(
    flatrun: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text("api: {port: no}\n")
    install(monkeypatch, plugin("good", list))
    result = flatrun("plugins")
    assert result.exit_code == 0
    assert "good" in result.stdout
    assert "api.port" in result.stderr


def test_a_plugins_command_is_listed_and_gets_the_session(
    flatrun: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    @api_options
    @pass_session
    def greet(session: Session) -> None:
        """Say hello."""
        session.output.result({"url": session.api.url}, f"hello {session.key} {session.api.url}")

    install(monkeypatch, plugin("other", lambda: [greet]))
    assert "greet    Say hello." in flatrun("--help").stdout
    assert flatrun("greet", "--key", "k", "--url", "localhost:1/").stdout == "hello k http://localhost:1\n"
    assert flatrun("--key", "k", "--url", "http://a", "greet").stdout == "hello k http://a\n"
    assert json.loads(flatrun("--url", "http://a", "greet", "--json").stdout) == {"url": "http://a"}


def test_a_plugins_command_uses_the_file_named_after_it(
    flatrun: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command(name="speak")
    @api_options
    @pass_session
    def speak(session: Session) -> None:
        """Say where the panel is."""
        session.output.line(session.api.url)

    named = place / "named.yml"
    named.write_text(FILE.format(root=place, port=18777))
    install(monkeypatch, plugin("speak", lambda: [speak]))
    assert flatrun("speak", "--config", str(named)).output.strip() == "http://127.0.0.1:18777"


def test_a_command_named_like_its_plugin_leaves_the_others_alone(
    flatrun: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def commands(name: str) -> list[click.Command]:
        asked.append(name)
        return [click.Command(name, callback=lambda: click.echo(name))]

    install(monkeypatch, *(plugin(slug, lambda slug=slug: commands(slug)) for slug in ("a", "b")))  # type: ignore[misc]
    assert flatrun("b").stdout == "b\n"
    assert asked == ["b"]


def test_a_broken_plugin_prevents_no_command(flatrun: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[click.Command]:
        raise RuntimeError("no luck")

    install(monkeypatch, plugin("bad", broken), plugin("good", lambda: [click.Command("nice")]))
    result = flatrun("--help")
    assert "doctor" in result.stdout
    assert "nice" in result.stdout
    assert "plugin bad has no commands" in result.stderr
    assert flatrun("config").exit_code == 0
    unknown = flatrun("bogus")
    assert unknown.exit_code == 2
    assert "No such command 'bogus'" in unknown.stderr


def test_a_command_that_a_plugin_already_has_is_warned_of(
    flatrun: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, *(plugin(slug, lambda: [click.Command("same")]) for slug in ("a", "b")))
    result = flatrun("--help")
    assert result.stdout.count("  same") == 1
    assert "plugin b has a command 'same' too" in result.stderr


def test_a_disabled_plugin_has_no_command(flatrun: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLATRUN_PLUGINS__DISABLED", "a")
    install(monkeypatch, plugin("a", lambda: [click.Command("a")]))
    assert flatrun("a").exit_code == 2


# --- output ------------------------------------------------------------------------------------

ROWS = [("blog", "running", 3), ("a-long-name", "error", 12), ("x", None, 0)]


def table(capsys: pytest.CaptureFixture[str]) -> str:
    output = Output()
    rows = [(name, output.state(state or ""), number) for name, state, number in ROWS]
    output.table(["Name", "State", Column("Services", right=True)], rows)
    return capsys.readouterr().out


def test_in_a_pipe_a_table_is_plain_and_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    assert table(capsys) == (
        "NAME         STATE    SERVICES\n"
        "blog         running         3\n"
        "a-long-name  error          12\n"
        "x            -               0\n"
    )


def test_a_full_disk_behind_the_output_is_one_line() -> None:
    program = "from flatrun_core.cli import main; main(['config', '--json'])"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: The output cannot be written: ")
    assert "Traceback" not in done.stderr


def as_terminal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_on_a_terminal_a_table_has_colours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    as_terminal(monkeypatch)
    text = table(capsys)
    assert "\x1b[32mrunning\x1b[0m" in text
    assert "\u2500" in text


def test_no_color_is_respected(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    as_terminal(monkeypatch, NO_COLOR="1")
    text = table(capsys)
    assert "[32m" not in text
    assert "[31m" not in text
    assert Output().paint(Output().state("error"), width=7) == "error  "


def test_values_are_not_markup_and_cannot_steer_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for terminal in (False, True):
        if terminal:
            as_terminal(monkeypatch, NO_COLOR="1")
        Output().table(["A"], [("[bold]x[/bold]\x1b]0;title\x07",)])
        text = capsys.readouterr().out
        assert "[bold]x[/bold]" in text
        assert "\x07" not in text
        assert "\x1b]" not in text


def test_lists_and_flags_are_written_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    Output().fields([("Name", "x"), ("Ports", ["80", "443"]), ("On", True), ("Nothing", [])])
    assert capsys.readouterr().out == "Name:     x\nPorts:    80, 443\nOn:       yes\nNothing:  -\n"


def test_an_empty_table_is_a_remark_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(["A"], [], empty="Nothing.")
    assert capsys.readouterr() == ("", "Nothing.\n")


def test_with_json_stdout_has_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(json=True)
    output.note("a remark")
    with output.progress("wait"):
        output.result({"path": Path("/x")}, "text")
    assert capsys.readouterr() == ('{\n  "path": "/x"\n}\n', "")


def test_progress_shows_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Output().progress("Starting ..."):
        pass
    assert capsys.readouterr().err == ""
    as_terminal(monkeypatch)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Output().progress("Starting ..."):
        pass
    assert "Starting ..." in capsys.readouterr().err


# --- start-up ----------------------------------------------------------------------------------


def test_what_a_command_does_not_need_is_not_imported() -> None:
    code = (
        "import sys; from flatrun_core.cli import main; main(['--version'], standalone_mode=False); "
        "print([name for name in ('docker', 'peewee', 'rich', 'waitress') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
