"""Settings have defaults, and come from the file, whose problems are told at once."""

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flatrun_core.settings import (
    CORE_GROUPS,
    ApiSettings,
    AuthSettings,
    PanelSettings,
    PluginSettings,
    SettingsError,
    SettingsSource,
)

# --- defaults ----------------------------------------------------------------------------------


def test_without_a_file_everything_has_its_documented_default(load: Any, database_type: Any) -> None:
    snapshot = load()
    assert snapshot.of(PanelSettings) == PanelSettings(Path("/var/flatrun/deployments"), "")
    assert snapshot.of(ApiSettings) == ApiSettings("0.0.0.0", 8090, False, (), (), True, 128, 16)
    assert snapshot.of(AuthSettings) == AuthSettings(True, (), "")
    assert snapshot.of(PluginSettings) == PluginSettings()
    assert snapshot.group("infrastructure.database") == database_type()
    assert snapshot.warnings == ()


def test_every_key_of_the_core_has_a_default_and_a_description() -> None:
    for group in CORE_GROUPS:
        schema = group.schema()
        for name, one in schema.fields.items():
            assert one.metadata.get("description", "").endswith("."), f"{group.name}.{name}"
        kind: Any = group.schema
        assert schema.load({}) == kind.dataclass()
        assert set(schema.fields) == {one.name for one in dataclasses.fields(kind.dataclass)}


def test_empty_sections_and_empty_keys_mean_defaults(load: Any) -> None:
    assert load("api:\nauth: ~\ninfrastructure:\n  database:\n").of(ApiSettings) == ApiSettings()
    assert load("api:\n  port:\n  threads: 4\n").of(ApiSettings) == ApiSettings(threads=4)


def test_settings_nobody_declared_are_asked_for_in_vain(load: Any) -> None:
    with pytest.raises(LookupError, match="Stranger"):
        load().of(type("Stranger", (), {}))
    with pytest.raises(LookupError, match="traffic"):
        load().group("traffic")


# --- the file ----------------------------------------------------------------------------------


def test_values_come_from_the_file(load: Any, database_type: Any, networks_type: Any) -> None:
    snapshot = load(
        "deployments_path: /srv/sites\n"
        "api: {port: 81, trusted_proxies: [10.1.2.3/8], allowed_origins: [https://a.example]}\n"
        "infrastructure:\n  default_proxy_network: web\n  database: {wait: 1h30m}\n"
    )
    assert snapshot.of(PanelSettings).deployments_path == Path("/srv/sites")
    assert snapshot.of(ApiSettings).trusted_proxies == ("10.0.0.0/8",)
    assert snapshot.of(networks_type).default_proxy_network == "web"
    assert snapshot.of(database_type).wait == timedelta(minutes=90)


def test_all_problems_are_told_at_once_each_with_its_key(problems: Any) -> None:
    found = problems(
        "deployments_path: sites\ndeployment_path: /x\n"
        "api: {port: 0, enable_cors: yes, prot: 1, trusted_proxies: [a, 10.0.0.1, b]}\n"
        "auth: [1]\n"
        "infrastructure: {database: {wait: 30, port: true}}\n",
        {"FLATRUN_API__THREADS": "many", "FLATRUN_API__PROT": "1"},
    )
    assert sorted(found) == [
        "FLATRUN_API__PROT: names no setting (did you mean FLATRUN_API__PORT?)",
        "api.enable_cors: Not a valid boolean.",
        "api.port: Must be greater than or equal to 1 and less than or equal to 65535.",
        "api.prot: is not a setting (did you mean port?)",
        "api.threads: Not a valid integer.",
        "api.trusted_proxies.0: Must be an IP address or a network such as 10.0.0.0/8.",
        "api.trusted_proxies.2: Must be an IP address or a network such as 10.0.0.0/8.",
        "auth: must be a section with keys",
        "deployment_path: is not a setting (did you mean deployments_path?)",
        "deployments_path: Must be an absolute path.",
        "infrastructure.database.port: Not a valid integer.",
        'infrastructure.database.wait: Must be a duration such as "30s", "5m" or "24h".',
    ]


def test_sections_of_no_active_plugin_are_kept_with_a_warning(load: Any) -> None:
    text = "traffic: {retention_days: 7}\ninfrastructure: {redis: {port: 1}}\nempty:\n"
    assert load(text).warnings == (
        "traffic: belongs to no active plugin; it has no effect",
        "empty: belongs to no active plugin; it has no effect",
        "infrastructure.redis: belongs to no active plugin; it has no effect",
    )
    assert load(text, known_absent=["traffic", "infrastructure.redis", "empty"]).warnings == ()
    assert load(text, partial=True).warnings == ()


def test_a_section_may_hold_groups_without_being_one(load: Any, groups: Any, database_type: Any) -> None:
    groups = tuple(group for group in groups if group.name != "infrastructure")
    snapshot = load("infrastructure: {default_proxy_network: web, database: {port: 1}}\n", groups=groups)
    assert snapshot.of(database_type).port == 1
    assert snapshot.warnings == (
        "infrastructure.default_proxy_network: belongs to no active plugin; it has no effect",
    )


def test_the_core_alone_can_be_read_before_the_plugins_are_known(load: Any) -> None:
    text = "plugins: {disabled: [traffic]}\ninfrastructure: {database: {port: wrong}}\ntraffic: 1\n"
    with pytest.raises(SettingsError, match="traffic: is not a setting"):
        load(text, groups=CORE_GROUPS, partial=True)
    snapshot = load(text.replace("traffic: 1\n", ""), groups=CORE_GROUPS, partial=True)
    assert snapshot.of(PluginSettings).disabled == ("traffic",)
    assert snapshot.warnings == ()


@pytest.mark.parametrize("content", [b"a: \xff\n", b"\xff\xfea\0"])
def test_a_file_that_is_not_text_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "flatrun.yml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="UTF-8"):
        SettingsSource.read(path, {})


def test_a_file_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yml: cannot be read: No such file"):
        SettingsSource.read(tmp_path / "nowhere.yml", {})
    with pytest.raises(SettingsError, match="Is a directory"):
        SettingsSource.read(tmp_path, {})


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["api", "port", "auth", "infrastructure", "database", "wait", "x"]), inner
            )
        ),
    )
)
def test_any_tree_of_values_is_settings_or_a_list_of_problems(groups: Any, tree: Any) -> None:
    data = tree if isinstance(tree, dict) else {"api": tree}
    try:
        SettingsSource(data=data).load(groups)
    except SettingsError as exc:
        found = exc.problems
        assert found
        assert all(": " in problem for problem in found)
