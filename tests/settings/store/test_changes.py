"""What a change of the settings does, also to a file that was edited by hand."""

import stat
from pathlib import Path
from typing import Any

import pytest

from flatrun_core.errors import Conflict
from flatrun_core.locks import LockTable
from flatrun_core.ports.auth import SYSTEM
from flatrun_core.ports.settings import Note
from flatrun_core.settings import ApiSettings, SettingsSource, SettingsStore

# --- what a change does ------------------------------------------------------------------------


def test_a_change_is_written_into_the_file_and_everything_else_stays(panel: Any, original: Any) -> None:
    result = panel.put(enable_cors=True, database_group={"wait": "90m", "domain": "EXAMPLE.com"})
    assert panel.text == original.replace("one\n", "one\n  enable_cors: true\n").replace(
        "7d", '"1h30m"'
    ).replace("old\n", "old\n  domain: example.com\n")
    assert stat.S_IMODE(panel.path.stat().st_mode) == 0o600
    assert result.changed == ("api.enable_cors", "database_group.domain", "database_group.wait")
    assert result.settings == panel.store.published()
    assert result.settings["database_group"]["wait"] == "1h30m"
    assert result.notes == (Note("proxy", {"reloaded": True}),)


def test_what_is_applied_is_both_wholes_and_the_changed_names(panel: Any) -> None:
    panel.put(enable_cors=True)
    (change,) = panel.applied
    assert change.changed == {"api.enable_cors"}
    assert change.touches("api")
    assert not change.touches("database_group")
    assert (change.old["api"].enable_cors, change.new["api"].enable_cors) == (False, True)
    assert panel.store.of(ApiSettings).enable_cors is True


def test_putting_back_what_get_answered_changes_nothing(panel: Any, original: Any) -> None:
    inode = panel.path.stat().st_ino
    assert panel.put(**panel.store.published()).changed == ()
    assert panel.path.stat().st_ino == inode
    assert panel.text == original
    assert panel.applied == []


def test_absent_keys_stay_and_false_and_empty_are_values(panel: Any) -> None:
    panel.put(enable_cors=True, allowed_origins=["https://a.example"], database_group={"domain": "a.example"})
    panel.put(enable_cors=False, allowed_origins=[], database_group={"domain": ""})
    shown = panel.store.published()
    assert (shown["enable_cors"], shown["allowed_origins"], shown["database_group"]["domain"]) == (
        False,
        [],
        "",
    )
    assert shown["database_group"]["wait"] == "168h"


def test_an_empty_password_means_keep(panel: Any) -> None:
    assert panel.put(database_group={"root_password": "", "root_user": ""}).changed == ()
    result = panel.put(database_group={"root_password": "new", "root_user": "admin"})
    assert result.changed == ("database_group.root_password", "database_group.root_user")
    assert "root_password: new" in panel.text
    assert "new" not in repr(result)
    assert "root_user" not in result.settings["database_group"]


def test_keys_and_groups_nobody_knows_are_ignored(panel: Any, original: Any) -> None:
    body: dict[str, Any] = {
        "x": 1,
        "traffic": {"retention_days": 9},
        "api": {"port": 1},
        "auth": {"enabled": False},
    }
    assert panel.put(**body, database_group={"y": [1], "has_password": False}).changed == ()
    assert panel.text == original


def test_a_group_without_a_place_in_the_file_gets_one(panel: Any, original: Any) -> None:
    panel.put(a={"b": {"port": 5, "labels": {"k": "v: w"}}})
    assert panel.text == original + 'a:\n  b:\n    port: 5\n    labels: {k: "v: w"}\n'
    panel.put(a={"b": {"labels": {}}})
    assert panel.store.snapshot.group("a.b").labels == {}


def test_a_file_of_comments_only_keeps_them(tmp_path: Path, panel_at: Any) -> None:
    path = tmp_path / "flatrun.yml"
    path.write_text("# nothing set yet\n")
    panel_at(path).put(enable_cors=True)
    assert path.read_text() == "# nothing set yet\napi:\n  enable_cors: true\n"


def test_a_linked_file_is_changed_where_it_is(tmp_path: Path, panel_at: Any, original: Any) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "flatrun.yml").write_text(original)
    link = tmp_path / "flatrun.yml"
    link.symlink_to(real / "flatrun.yml")
    panel_at(link).put(enable_cors=True)
    assert link.is_symlink()
    assert "enable_cors: true" in (real / "flatrun.yml").read_text()


# --- edits by hand -----------------------------------------------------------------------------


def test_what_was_edited_by_hand_is_read_first_and_takes_effect(panel: Any, original: Any) -> None:
    panel.path.write_text(original.replace("old", "by-hand # mine"))
    result = panel.put(enable_cors=True)
    assert result.changed == ("api.enable_cors", "database_group.root_password")
    assert "by-hand # mine" in panel.text


def test_what_needs_a_restart_stays_as_it_is_until_then(panel: Any, original: Any) -> None:
    panel.path.write_text(original.replace("8081", "9999").replace("/srv/sites", "/elsewhere"))
    assert panel.put(enable_cors=True).changed == ("api.enable_cors",)
    assert panel.store.published()["api_port"] == 8081
    assert panel.store.published()["deployments_path"] == "/srv/sites"
    assert "9999" in panel.text


@pytest.mark.parametrize("text", ["api: [1\n", "api: {port: wrong}\n", "nonsense: 1\n", "- a\n", "\0"])
def test_a_file_that_became_unusable_is_left_alone(panel: Any, text: str, original: Any) -> None:
    panel.path.write_text(text)
    panel.refused(Conflict, "SETTINGS_CONFLICT", enable_cors=True)
    panel.path.write_text(original)
    assert panel.put(enable_cors=True).changed == ("api.enable_cors",)


def test_a_file_that_went_away_is_a_conflict(panel: Any) -> None:
    panel.path.unlink()
    with pytest.raises(Conflict) as caught:
        panel.put(enable_cors=True)
    assert caught.value.code == "SETTINGS_CONFLICT"
    assert str(panel.path) not in caught.value.message


def test_a_file_that_shares_values_by_anchors_is_not_changed_in_two_places(panel: Any) -> None:
    panel.path.write_text("base: &shared {port: 5}\ndatabase_group: *shared\n")
    message = panel.refused(Conflict, "SETTINGS_CONFLICT", database_group={"port": 6})
    assert "database_group.port" in message


def test_without_a_file_nothing_can_be_changed(groups: Any) -> None:
    store = SettingsStore(SettingsSource.read(None, {}), groups, LockTable(), lambda change: [])
    with pytest.raises(Conflict) as caught:
        store.change({"enable_cors": True}, SYSTEM)
    assert caught.value.code == "SETTINGS_CONFLICT"
