"""Settings from variables of the environment, and secrets in files of their own."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flatrun_core.settings import ApiSettings, AuthSettings, PanelSettings


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(load: Any) -> None:
    text, environ = (
        "api: {port: 1, threads: 1, host: file}\n",
        {"FLATRUN_API__PORT": "2", "FLATRUN_API__THREADS": "2"},
    )
    snapshot = load(text, environ, overrides={"api.port": 3, "api.max_streams": None})
    assert snapshot.of(ApiSettings) == ApiSettings(host="file", port=3, threads=2)
    assert load(overrides={"api": {"port": 4}, "deployments_path": Path("/x")}).of(ApiSettings).port == 4


def test_variables_are_read_as_the_type_of_their_key(load: Any, database_type: Any) -> None:
    snapshot = load(
        environ={
            "FLATRUN_DEPLOYMENTS_PATH": "/srv/sites",
            "FLATRUN_API__HOST": "1",
            "FLATRUN_API__ENABLE_CORS": "true",
            "FLATRUN_API__ALLOWED_ORIGINS": '["https://a.example", "https://b.example"]',
            "FLATRUN_API__TRUSTED_PROXIES": "10.0.0.1, ::1,",
            "FLATRUN_PLUGINS__DISABLED": "",
            "FLATRUN_AUTH__API_KEYS": "first-of-the-keys,1234567890123456",
            "FLATRUN_INFRASTRUCTURE__DATABASE__WAIT": "5m",
            "FLATRUN_INFRASTRUCTURE__DATABASE__ROOT_PASSWORD": "12345",
            "PATH": "/bin",
        }
    )
    assert snapshot.of(PanelSettings).deployments_path == Path("/srv/sites")
    assert snapshot.of(ApiSettings).host == "1"
    assert snapshot.of(ApiSettings).enable_cors is True
    assert snapshot.of(ApiSettings).allowed_origins == ("https://a.example", "https://b.example")
    assert snapshot.of(ApiSettings).trusted_proxies == ("10.0.0.1", "::1")
    assert snapshot.of(AuthSettings).api_keys == ("first-of-the-keys", "1234567890123456")
    assert snapshot.of(database_type) == database_type(wait=timedelta(minutes=5), root_password="12345")
    assert snapshot.fixed["api.host"] == "the environment variable FLATRUN_API__HOST"
    assert snapshot.warnings == ()


@pytest.mark.parametrize("text", ["", "x", "1.5", "[1", "1\nb: 2", "{a: 1}", "true", "0x", "&a 1 *b"])
def test_a_variable_that_is_no_number_names_its_key(text: str, problems: Any) -> None:
    (problem,) = problems(environ={"FLATRUN_API__THREADS": text})
    assert problem.startswith("api.threads: ")


def test_variables_of_no_key_are_warned_of_unless_others_read_them(load: Any) -> None:
    known = ["ADMIN_PASSWORD", "ADMIN_PASSWORD_FILE", "SECRET_KEY", "CONFIG", "URL", "API_KEY", "HOME"]
    environ = {f"FLATRUN_{name}": "x" for name in known}
    assert load(environ=environ).warnings == ()
    environ = {"FLATRUN_TRAFFIC__DAYS": "1", "FLATRUN_COLOUR": "red"}
    assert load(environ=environ).warnings == (
        "FLATRUN_COLOUR: names no setting; ignored",
        "FLATRUN_TRAFFIC__DAYS: names no setting; ignored",
    )
    assert load(environ=environ, known_absent=["traffic"]).warnings == (
        "FLATRUN_COLOUR: names no setting; ignored",
    )


def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path: Path, load: Any, database_type: Any) -> None:
    path = tmp_path / "password"
    path.write_text("s3cret\n")
    variable = "FLATRUN_INFRASTRUCTURE__DATABASE__ROOT_PASSWORD_FILE"
    assert load(environ={variable: str(path)}).of(database_type).root_password == "s3cret"
    assert load(environ={"FLATRUN_DATABASE_FILE": str(path)}).of(PanelSettings).database == "s3cret"


def test_a_secret_file_that_cannot_be_read_is_told_by_its_variable(tmp_path: Path, problems: Any) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for place in (tmp_path / "nowhere", tmp_path, binary, "", "a\0b"):
        (problem,) = problems(environ={"FLATRUN_AUTH__SECRET_KEY_FILE": str(place)})
        assert problem == "FLATRUN_AUTH__SECRET_KEY_FILE: the file it names cannot be read"


def test_a_secret_given_twice_is_refused_and_others_have_no_files(tmp_path: Path, problems: Any) -> None:
    path = tmp_path / "x"
    path.write_text("x")
    both = {"FLATRUN_DATABASE": "a", "FLATRUN_DATABASE_FILE": str(path)}
    assert problems(environ=both) == ["FLATRUN_DATABASE and FLATRUN_DATABASE_FILE are both set"]
    assert problems(environ={"FLATRUN_API__HOST_FILE": str(path)})[0].startswith("FLATRUN_API__HOST_FILE: ")
