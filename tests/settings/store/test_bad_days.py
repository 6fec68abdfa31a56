"""Changes of the settings that cannot be saved or applied, and changes at once."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flatrun_core.errors import Conflict, Failed, Unavailable
from flatrun_core.ports.settings import SettingsChange
from flatrun_core.settings import ApiSettings, SettingsSource


def test_a_file_that_cannot_be_written_changes_nothing(panel: Any, file_size_limit: Any) -> None:
    with file_size_limit(100):
        message = panel.refused(Failed, "SETTINGS_NOT_SAVED", enable_cors=True)
    assert message == "The settings could not be saved: File too large"
    assert panel.put(enable_cors=True).changed == ("api.enable_cors",)


def test_a_folder_that_cannot_be_written_changes_nothing(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: Any, **kwargs: Any) -> int:
        raise PermissionError(13, "Permission denied", str(panel.path))

    monkeypatch.setattr(os, "open", denied)
    message = panel.refused(Failed, "SETTINGS_NOT_SAVED", enable_cors=True)
    assert message == "The settings could not be saved: Permission denied"


def test_an_edit_at_the_same_moment_is_not_lost(
    panel: Any, monkeypatch: pytest.MonkeyPatch, original: Any
) -> None:
    sync = os.fsync

    def edited_meanwhile(handle: int) -> None:
        sync(handle)
        panel.path.write_text(original + "# edited\n")

    monkeypatch.setattr(os, "fsync", edited_meanwhile)
    with pytest.raises(Conflict) as caught:
        panel.put(enable_cors=True)
    assert caught.value.code == "SETTINGS_CONFLICT"
    assert panel.text == original + "# edited\n"
    assert panel.store.of(ApiSettings).enable_cors is False


def test_a_change_that_cannot_be_applied_is_taken_back_everywhere(panel: Any, original: Any) -> None:
    def refuse(change: SettingsChange) -> None:
        if change.new["api"].enable_cors:
            raise Unavailable("The proxy is down", code="PROXY_DOWN")

    panel.refuse = refuse
    before = panel.store.published()
    with pytest.raises(Unavailable, match="The proxy is down"):
        panel.put(enable_cors=True, database_group={"port": 5})
    assert panel.text == original
    assert panel.store.published() == before
    forward, backward = panel.applied
    assert backward == SettingsChange(forward.new, forward.old, forward.changed)
    assert panel.put(database_group={"port": 5}).changed == ("database_group.port",)


def test_the_first_failure_is_told_when_taking_back_fails_too(panel: Any, original: Any) -> None:
    def refuse(change: SettingsChange) -> None:
        raise Unavailable("first" if change.new["api"].enable_cors else "second")

    panel.refuse = refuse
    with pytest.raises(Unavailable, match="first"):
        panel.put(enable_cors=True)
    assert panel.text == original
    assert panel.store.of(ApiSettings).enable_cors is False


def test_changes_at_once_are_all_kept(panel: Any, groups: Any) -> None:
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
    assert SettingsSource.read(panel.path, {}).load(groups).values == panel.store.snapshot.values
    assert panel.store.snapshot.differences(SettingsSource.read(None, {}).load(groups)) >= {
        "api.enable_cors",
        "api.trusted_proxies",
        "database_group.port",
        "a.b.wait",
    }
