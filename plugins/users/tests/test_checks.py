"""``flatrun doctor`` finds a panel that nobody can keep the accounts of."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import flatrun_users.plugin as users_plugin
from flatrun_core import Check, Finding
from flatrun_core.cli import main
from flatrun_core.plugins import of_modules
from flatrun_users.bootstrap import VARIABLE


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv(f"{VARIABLE}_FILE", raising=False)


def found(house: Any) -> Finding:
    check: Check
    [check] = [one for slug, one in house.panel.checks if slug == "users"]
    assert (check.name, check.title) == ("administrator", "Administrator")
    return check.run()


def test_an_active_administrator_is_all_that_is_needed(house: Any) -> None:
    house.user("boss", "admin")
    house.user("other", "admin")
    house.user("gone", "admin", active=False)
    assert found(house) == Finding("ok", "2 active")


def test_a_panel_without_any_account_is_warned_of(house: Any) -> None:
    finding = found(house)
    assert finding.status == "warning"
    assert "there is no active administrator" in finding.message
    assert VARIABLE in finding.remedy
    assert "flatrun users reset-password admin" in finding.remedy


@pytest.mark.parametrize("text", ["short", "x" * 257])
def test_a_password_that_makes_no_administrator_is_an_error_and_not_told(
    house: Any, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    assert house.panel.hooks.notify("flatrun_on_serve") == []
    finding = found(house)
    assert finding.status == "error"
    assert "8 to 256 characters" in finding.message
    assert VARIABLE in finding.remedy
    assert text not in str(finding)


@pytest.mark.parametrize(("role", "active"), [("operator", True), ("admin", False)])
def test_accounts_of_which_none_is_an_active_administrator_are_an_error(
    house: Any, role: str, active: bool
) -> None:
    house.user("jane", role, active=active)
    finding = found(house)
    assert (finding.status, finding.message) == ("error", "there is no active administrator")
    assert "flatrun users reset-password admin --activate --admin" in finding.remedy


def test_without_authentication_none_is_missed(make_house: Any) -> None:
    assert found(make_house(**{"auth.enabled": False})).status == "ok"


def test_the_command_shows_it_of_the_panels_own_database(
    house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.user("jane")
    config = tmp_path / "flatrun.yml"
    config.write_text(f"deployments_path: {tmp_path / 'deployments'}\n")
    monkeypatch.setattr("flatrun_core.plugins.discover", lambda: of_modules([users_plugin]))
    result = CliRunner().invoke(main, ["--config", str(config), "doctor"])
    [line] = [one for one in result.stdout.splitlines() if " Administrator " in one]
    assert "there is no active administrator" in line
