import contextlib
import os
import resource
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flatrun_core import fields
from flatrun_core.errors import Conflict, Failed, FlatrunError, Invalid, Unavailable
from flatrun_core.locks import LockTable
from flatrun_core.ports.auth import SYSTEM
from flatrun_core.ports.settings import Note, SettingsChange, SettingsGroup
from flatrun_core.settings import CORE_GROUPS, ApiSettings, SettingsSource, SettingsStore

FILE = """\
# Written by hand
deployments_path: /srv/sites # keep

api:
  port: 8081 # not the usual one

# of a plugin that is not here
traffic:
  retention_days: 7

database_group:
  wait: 7d # a week
  root_password: old
"""


@dataclass(frozen=True)
class Database:
    enabled: bool = False
    port: int = 3306
    wait: timedelta = timedelta(seconds=30)
    domain: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    root_user: str = ""
    root_password: str = field(default="", repr=False)


def about(text: str = "x.") -> dict[str, str]:
    return {"description": text}


class DatabaseSchema(fields.SettingsSchema):
    dataclass = Database
    enabled = fields.Boolean(metadata=about())
    port = fields.Port(metadata=about())
    wait = fields.Duration(metadata=about())
    domain = fields.HostName(blank=True, metadata=about())
    labels = fields.Dict(fields.String(), fields.String(), metadata=about())
    root_user = fields.String(load_only=True, metadata=about())
    root_password = fields.Secret(
        flag="has_password", validate=fields.Length(max=20, error="{input} is too long"), metadata=about()
    )

    @fields.validates_schema
    def _fits(self, data: Any, **_: Any) -> None:
        if data["enabled"] and data["port"] == 1:
            raise fields.ValidationError("Port 1 does not go with enabled.")


GROUPS = (*CORE_GROUPS, SettingsGroup("database_group", DatabaseSchema), SettingsGroup("a.b", DatabaseSchema))


@dataclass
class Panel:
    """A store over a file, and what was applied."""

    path: Path
    environ: dict[str, str] = field(default_factory=dict)
    refuse: Callable[[SettingsChange], None] = lambda change: None
    applied: list[SettingsChange] = field(default_factory=list)

    def __post_init__(self) -> None:
        source = SettingsSource.read(self.path, self.environ)
        self.store = SettingsStore(source, GROUPS, LockTable(), self._apply)

    def _apply(self, change: SettingsChange) -> list[Note]:
        self.applied.append(change)
        self.refuse(change)
        return [Note("proxy", {"reloaded": True})]

    def put(self, **body: Any) -> Any:
        return self.store.change(body, SYSTEM)

    @property
    def text(self) -> str:
        return self.path.read_text()

    def refused(self, kind: type[FlatrunError], code: str, **body: Any) -> str:
        """The text of a refusal after which nothing has changed."""
        before, snapshot, seen = self.path.read_bytes(), self.store.snapshot, len(self.applied)
        with pytest.raises(kind) as caught:
            self.store.change(body, SYSTEM)
        assert caught.value.code == code
        assert self.path.read_bytes() == before
        assert self.store.snapshot is snapshot
        assert len(self.applied) == seen
        assert [path.name for path in self.path.resolve().parent.iterdir()] == ["flatrun.yml"]
        return caught.value.message


@pytest.fixture
def panel(tmp_path: Path) -> Panel:
    path = tmp_path / "flatrun.yml"
    path.write_text(FILE)
    return Panel(path)


# --- what a change does ------------------------------------------------------------------------


def test_a_change_is_written_into_the_file_and_everything_else_stays(panel: Panel) -> None:
    result = panel.put(enable_cors=True, database_group={"wait": "90m", "domain": "EXAMPLE.com"})
    assert panel.text == FILE.replace("one\n", "one\n  enable_cors: true\n").replace("7d", '"1h30m"').replace(
        "old\n", "old\n  domain: example.com\n"
    )
    assert stat.S_IMODE(panel.path.stat().st_mode) == 0o600
    assert result.changed == ("api.enable_cors", "database_group.domain", "database_group.wait")
    assert result.settings == panel.store.published()
    assert result.settings["database_group"]["wait"] == "1h30m"
    assert result.notes == (Note("proxy", {"reloaded": True}),)


def test_what_is_applied_is_both_wholes_and_the_changed_names(panel: Panel) -> None:
    panel.put(enable_cors=True)
    (change,) = panel.applied
    assert change.changed == {"api.enable_cors"}
    assert change.touches("api")
    assert not change.touches("database_group")
    assert (change.old["api"].enable_cors, change.new["api"].enable_cors) == (False, True)
    assert panel.store.of(ApiSettings).enable_cors is True


def test_putting_back_what_get_answered_changes_nothing(panel: Panel) -> None:
    inode = panel.path.stat().st_ino
    assert panel.put(**panel.store.published()).changed == ()
    assert panel.path.stat().st_ino == inode
    assert panel.text == FILE
    assert panel.applied == []


def test_absent_keys_stay_and_false_and_empty_are_values(panel: Panel) -> None:
    panel.put(enable_cors=True, allowed_origins=["https://a.example"], database_group={"domain": "a.example"})
    panel.put(enable_cors=False, allowed_origins=[], database_group={"domain": ""})
    shown = panel.store.published()
    assert (shown["enable_cors"], shown["allowed_origins"], shown["database_group"]["domain"]) == (
        False,
        [],
        "",
    )
    assert shown["database_group"]["wait"] == "168h"


def test_an_empty_password_means_keep(panel: Panel) -> None:
    assert panel.put(database_group={"root_password": "", "root_user": ""}).changed == ()
    result = panel.put(database_group={"root_password": "new", "root_user": "admin"})
    assert result.changed == ("database_group.root_password", "database_group.root_user")
    assert "root_password: new" in panel.text
    assert "new" not in repr(result)
    assert "root_user" not in result.settings["database_group"]


def test_keys_and_groups_nobody_knows_are_ignored(panel: Panel) -> None:
    body: dict[str, Any] = {
        "x": 1,
        "traffic": {"retention_days": 9},
        "api": {"port": 1},
        "auth": {"enabled": False},
    }
    assert panel.put(**body, database_group={"y": [1], "has_password": False}).changed == ()
    assert panel.text == FILE


def test_a_group_without_a_place_in_the_file_gets_one(panel: Panel) -> None:
    panel.put(a={"b": {"port": 5, "labels": {"k": "v: w"}}})
    assert panel.text == FILE + 'a:\n  b:\n    port: 5\n    labels: {k: "v: w"}\n'
    panel.put(a={"b": {"labels": {}}})
    assert panel.store.snapshot.group("a.b").labels == {}


def test_a_file_of_comments_only_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "flatrun.yml"
    path.write_text("# nothing set yet\n")
    Panel(path).put(enable_cors=True)
    assert path.read_text() == "# nothing set yet\napi:\n  enable_cors: true\n"


def test_a_linked_file_is_changed_where_it_is(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "flatrun.yml").write_text(FILE)
    link = tmp_path / "flatrun.yml"
    link.symlink_to(real / "flatrun.yml")
    Panel(link).put(enable_cors=True)
    assert link.is_symlink()
    assert "enable_cors: true" in (real / "flatrun.yml").read_text()


# --- edits by hand -----------------------------------------------------------------------------


def test_what_was_edited_by_hand_is_read_first_and_takes_effect(panel: Panel) -> None:
    panel.path.write_text(FILE.replace("old", "by-hand # mine"))
    result = panel.put(enable_cors=True)
    assert result.changed == ("api.enable_cors", "database_group.root_password")
    assert "by-hand # mine" in panel.text


def test_what_needs_a_restart_stays_as_it_is_until_then(panel: Panel) -> None:
    panel.path.write_text(FILE.replace("8081", "9999").replace("/srv/sites", "/elsewhere"))
    assert panel.put(enable_cors=True).changed == ("api.enable_cors",)
    assert panel.store.published()["api_port"] == 8081
    assert panel.store.published()["deployments_path"] == "/srv/sites"
    assert "9999" in panel.text


@pytest.mark.parametrize("text", ["api: [1\n", "api: {port: wrong}\n", "nonsense: 1\n", "- a\n", "\0"])
def test_a_file_that_became_unusable_is_left_alone(panel: Panel, text: str) -> None:
    panel.path.write_text(text)
    panel.refused(Conflict, "SETTINGS_CONFLICT", enable_cors=True)
    panel.path.write_text(FILE)
    assert panel.put(enable_cors=True).changed == ("api.enable_cors",)


def test_a_file_that_went_away_is_a_conflict(panel: Panel) -> None:
    panel.path.unlink()
    with pytest.raises(Conflict) as caught:
        panel.put(enable_cors=True)
    assert caught.value.code == "SETTINGS_CONFLICT"
    assert str(panel.path) not in caught.value.message


def test_a_file_that_shares_values_by_anchors_is_not_changed_in_two_places(panel: Panel) -> None:
    panel.path.write_text("base: &shared {port: 5}\ndatabase_group: *shared\n")
    message = panel.refused(Conflict, "SETTINGS_CONFLICT", database_group={"port": 6})
    assert "database_group.port" in message


def test_without_a_file_nothing_can_be_changed() -> None:
    store = SettingsStore(SettingsSource.read(None, {}), GROUPS, LockTable(), lambda change: [])
    with pytest.raises(Conflict) as caught:
        store.change({"enable_cors": True}, SYSTEM)
    assert caught.value.code == "SETTINGS_CONFLICT"


# --- refusals ----------------------------------------------------------------------------------


def test_one_bad_value_changes_nothing(panel: Panel) -> None:
    message = panel.refused(
        Invalid,
        "VALIDATION_ERROR",
        enable_cors=True,
        database_group={"port": 0, "wait": "0s", "domain": "a b", "enabled": 1},
        trusted_proxies=["nowhere"],
    )
    for key in ("port", "wait", "domain", "enabled"):
        assert f"database_group.{key}: " in message
    assert "api.trusted_proxies.0: " in message


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
def test_a_wrong_type_is_refused(panel: Panel, body: dict[str, Any]) -> None:
    panel.refused(Invalid, "VALIDATION_ERROR", **body)


def test_values_that_do_not_go_together_are_refused(panel: Panel) -> None:
    message = panel.refused(Invalid, "VALIDATION_ERROR", database_group={"port": 1, "enabled": True})
    assert message == "database_group: Port 1 does not go with enabled."
    panel.put(database_group={"port": 1})
    panel.refused(Invalid, "VALIDATION_ERROR", database_group={"enabled": True})


def test_a_refused_secret_is_not_repeated(panel: Panel, caplog: pytest.LogCaptureFixture) -> None:
    secret = "hunter22" * 4
    for value in (secret, [secret], {secret: secret}):
        message = panel.refused(Invalid, "VALIDATION_ERROR", database_group={"root_password": value})
        assert "hunter22" not in message
    panel.put(database_group={"root_password": "hunter22"})
    assert "hunter22" not in caplog.text


@pytest.mark.parametrize(
    "body", [{"api_port": 1}, {"deployments_path": "/x"}, {"api_port": "x"}, {"api_port": None}]
)
def test_read_only_keys_are_refused_when_they_differ(panel: Panel, body: dict[str, Any]) -> None:
    panel.refused(Invalid, "READ_ONLY_SETTING", enable_cors=True, **body)
    assert panel.put(api_port=8081, deployments_path="/srv/sites", enable_cors=True).changed


def test_what_the_environment_sets_is_refused_when_it_differs(panel: Panel) -> None:
    panel = Panel(
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
    assert panel.text == FILE


# --- bad days ----------------------------------------------------------------------------------


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_cannot_be_written_changes_nothing(panel: Panel) -> None:
    with file_size_limit(100):
        message = panel.refused(Failed, "SETTINGS_NOT_SAVED", enable_cors=True)
    assert message == "The settings could not be saved: File too large"
    assert panel.put(enable_cors=True).changed == ("api.enable_cors",)


def test_a_folder_that_cannot_be_written_changes_nothing(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*args: Any, **kwargs: Any) -> int:
        raise PermissionError(13, "Permission denied", str(panel.path))

    monkeypatch.setattr(os, "open", denied)
    message = panel.refused(Failed, "SETTINGS_NOT_SAVED", enable_cors=True)
    assert message == "The settings could not be saved: Permission denied"


def test_an_edit_at_the_same_moment_is_not_lost(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def edited_meanwhile(handle: int) -> None:
        sync(handle)
        panel.path.write_text(FILE + "# edited\n")

    monkeypatch.setattr(os, "fsync", edited_meanwhile)
    with pytest.raises(Conflict) as caught:
        panel.put(enable_cors=True)
    assert caught.value.code == "SETTINGS_CONFLICT"
    assert panel.text == FILE + "# edited\n"
    assert panel.store.of(ApiSettings).enable_cors is False


def test_a_change_that_cannot_be_applied_is_taken_back_everywhere(panel: Panel) -> None:
    def refuse(change: SettingsChange) -> None:
        if change.new["api"].enable_cors:
            raise Unavailable("The proxy is down", code="PROXY_DOWN")

    panel.refuse = refuse
    before = panel.store.published()
    with pytest.raises(Unavailable, match="The proxy is down"):
        panel.put(enable_cors=True, database_group={"port": 5})
    assert panel.text == FILE
    assert panel.store.published() == before
    forward, backward = panel.applied
    assert backward == SettingsChange(forward.new, forward.old, forward.changed)
    assert panel.put(database_group={"port": 5}).changed == ("database_group.port",)


def test_the_first_failure_is_told_when_taking_back_fails_too(panel: Panel) -> None:
    def refuse(change: SettingsChange) -> None:
        raise Unavailable("first" if change.new["api"].enable_cors else "second")

    panel.refuse = refuse
    with pytest.raises(Unavailable, match="first"):
        panel.put(enable_cors=True)
    assert panel.text == FILE
    assert panel.store.of(ApiSettings).enable_cors is False


def test_changes_at_once_are_all_kept(panel: Panel) -> None:
    keys = [
        {"enable_cors": True},
        {"trusted_proxies": ["10.0.0.1"]},
        {"allowed_origins": ["https://a.example"]},
    ]
    keys += [
        {"database_group": {key: value}}
        for key, value in (("port", 5), ("wait", "5s"), ("domain", "a.example"))
    ]
    keys += [{"a": {"b": {key: value}}} for key, value in (("port", 6), ("wait", "6s"), ("enabled", True))]
    barrier = threading.Barrier(len(keys))

    def put(body: dict[str, Any]) -> tuple[str, ...]:
        barrier.wait()
        changed: tuple[str, ...] = panel.put(**body).changed
        return changed

    with ThreadPoolExecutor(len(keys)) as pool:
        assert all(len(changed) == 1 for changed in pool.map(put, keys))
    assert SettingsSource.read(panel.path, {}).load(GROUPS).values == panel.store.snapshot.values
    assert panel.store.snapshot.differences(SettingsSource.read(None, {}).load(GROUPS)) >= {
        "api.enable_cors",
        "api.trusted_proxies",
        "database_group.port",
        "a.b.wait",
    }
