"""Changes of the settings that are refused and change nothing."""

from typing import Any

import pytest

from flatrun_core.errors import Invalid


def test_one_bad_value_changes_nothing(panel: Any) -> None:
    message = panel.refused(
        Invalid,
        "VALIDATION_ERROR",
        enable_cors=True,
        database_group={"port": 0, "wait": "0s", "domain": "a b", "enabled": 1},
        trusted_proxies=["nowhere"],
    )
    for key in ("port", "wait", "domain", "enabled"):
        assert f"database_group.{key}: " in message
    assert "trusted_proxies.0: " in message
    assert "api." not in message  # the names are those of the request


@pytest.mark.parametrize(
    "body",
    [
        {"enable_cors": None},
        {"enable_cors": "true"},
        {"allowed_origins": "https://a.example"},
        {"allowed_origins": [1]},
        {"allowed_origins": None},
        {"database_group": []},
        {"database_group": None},
        {"database_group": "x"},
        {"a": 1},
        {"a": {"b": 1}},
        {"database_group": {"port": "3306"}},
        {"database_group": {"port": True}},
        {"database_group": {"port": 3306.0}},
        {"database_group": {"wait": 30}},
        {"database_group": {"labels": {"a": 1}}},
        {"database_group": {"domain": "a\0b.example"}},
        {"database_group": {"root_password": None}},
        {"database_group": {"root_user": "\ud800"}},
    ],
)
def test_a_wrong_type_is_refused(panel: Any, body: dict[str, Any]) -> None:
    panel.refused(Invalid, "VALIDATION_ERROR", **body)


def test_values_that_do_not_go_together_are_refused(panel: Any) -> None:
    message = panel.refused(Invalid, "VALIDATION_ERROR", database_group={"port": 1, "enabled": True})
    assert message == "database_group: Port 1 does not go with enabled."
    panel.put(database_group={"port": 1})
    panel.refused(Invalid, "VALIDATION_ERROR", database_group={"enabled": True})


def test_a_refused_secret_is_not_repeated(panel: Any, caplog: pytest.LogCaptureFixture) -> None:
    secret = "hunter22" * 4
    for value in (secret, [secret], {secret: secret}):
        message = panel.refused(Invalid, "VALIDATION_ERROR", database_group={"root_password": value})
        assert "hunter22" not in message
    panel.put(database_group={"root_password": "hunter22"})
    assert "hunter22" not in caplog.text


@pytest.mark.parametrize(
    "body", [{"api_port": 1}, {"deployments_path": "/x"}, {"api_port": "x"}, {"api_port": None}]
)
def test_read_only_keys_are_refused_when_they_differ(panel: Any, body: dict[str, Any]) -> None:
    message = panel.refused(Invalid, "READ_ONLY_SETTING", enable_cors=True, **body)
    assert message.startswith(next(iter(body)))  # as the request calls it, not the file
    assert panel.put(api_port=8081, deployments_path="/srv/sites", enable_cors=True).changed


def test_what_the_environment_sets_is_refused_when_it_differs(
    panel: Any, panel_at: Any, original: Any
) -> None:
    panel = panel_at(
        panel.path,
        {
            "FLATRUN_API__ENABLE_CORS": "true",
            "FLATRUN_DATABASE_GROUP__ROOT_PASSWORD": "env",
            "FLATRUN_API__TRUSTED_PROXIES": "10.0.0.1",
        },
    )
    message = panel.refused(Invalid, "READ_ONLY_SETTING", enable_cors=False)
    assert "FLATRUN_API__ENABLE_CORS" in message
    panel.refused(Invalid, "READ_ONLY_SETTING", database_group={"root_password": "x"})
    panel.refused(Invalid, "READ_ONLY_SETTING", trusted_proxies=[])
    same = {"enable_cors": True, "trusted_proxies": ["10.0.0.1"], "database_group": {"root_password": ""}}
    assert panel.put(**same).changed == ()
    assert panel.text == original
