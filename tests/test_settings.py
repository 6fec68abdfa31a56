import dataclasses
import json
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flatrun_core import fields
from flatrun_core.ports.settings import SettingsGroup
from flatrun_core.settings import (
    CORE_GROUPS,
    ApiSettings,
    AuthSettings,
    PanelSettings,
    PluginSettings,
    SettingsError,
    SettingsSource,
    SettingsStore,
    Snapshot,
    settings_table,
)


@dataclass(frozen=True)
class Database:
    enabled: bool = False
    port: int = 3306
    wait: timedelta = timedelta(seconds=30)
    root_user: str = ""
    root_password: str = field(default="", repr=False)


class DatabaseSchema(fields.SettingsSchema):
    dataclass = Database
    enabled = fields.Boolean(metadata={"description": "On."})
    port = fields.Port(metadata={"description": "Port | of it."})
    wait = fields.Duration(metadata={"description": "How long."})
    root_user = fields.String(load_only=True, metadata={"description": "Administrator."})
    root_password = fields.Secret(
        flag="has_password",
        validate=fields.Length(max=8, error="{input} is too long"),
        metadata={"description": "Password."},
    )


@dataclass(frozen=True)
class Networks:
    default_proxy_network: str = "proxy"


class NetworksSchema(fields.SettingsSchema):
    dataclass = Networks
    default_proxy_network = fields.ContainerName(metadata={"description": "Network."})


GROUPS = (
    *CORE_GROUPS,
    SettingsGroup("infrastructure", NetworksSchema),
    SettingsGroup("infrastructure.database", DatabaseSchema),
)


def load(text: str = "", environ: dict[str, str] | None = None, **given: Any) -> Snapshot:
    data = source(text, environ, given.pop("overrides", None))
    return data.load(given.pop("groups", GROUPS), **given)


def source(
    text: str = "", environ: dict[str, str] | None = None, overrides: dict[str, Any] | None = None
) -> SettingsSource:
    read = SettingsSource.read(None, environ or {}, overrides)
    return dataclasses.replace(read, text=text, data=fields_of(text))


def fields_of(text: str) -> dict[str, Any]:
    from flatrun_core.settings_file import parse

    return parse(text)


def problems(text: str = "", environ: dict[str, str] | None = None, **given: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(text, environ, **given)
    return caught.value.problems


# --- defaults ----------------------------------------------------------------------------------


def test_without_a_file_everything_has_its_documented_default() -> None:
    snapshot = load()
    assert snapshot.of(PanelSettings) == PanelSettings(Path("/var/flatrun/deployments"), "")
    assert snapshot.of(ApiSettings) == ApiSettings("0.0.0.0", 8090, False, (), (), True, 128, 16)
    assert snapshot.of(AuthSettings) == AuthSettings(True, (), "")
    assert snapshot.of(PluginSettings) == PluginSettings()
    assert snapshot.group("infrastructure.database") == Database()
    assert snapshot.warnings == ()


def test_every_key_of_the_core_has_a_default_and_a_description() -> None:
    for group in CORE_GROUPS:
        schema = group.schema()
        for name, one in schema.fields.items():
            assert one.metadata.get("description", "").endswith("."), f"{group.name}.{name}"
        kind: Any = group.schema
        assert schema.load({}) == kind.dataclass()
        assert set(schema.fields) == {one.name for one in dataclasses.fields(kind.dataclass)}


def test_empty_sections_and_empty_keys_mean_defaults() -> None:
    assert load("api:\nauth: ~\ninfrastructure:\n  database:\n").of(ApiSettings) == ApiSettings()
    assert load("api:\n  port:\n  threads: 4\n").of(ApiSettings) == ApiSettings(threads=4)


def test_settings_nobody_declared_are_asked_for_in_vain() -> None:
    with pytest.raises(LookupError, match="Stranger"):
        load().of(type("Stranger", (), {}))
    with pytest.raises(LookupError, match="traffic"):
        load().group("traffic")


# --- the file ----------------------------------------------------------------------------------


def test_values_come_from_the_file() -> None:
    snapshot = load(
        "deployments_path: /srv/sites\n"
        "api: {port: 81, trusted_proxies: [10.1.2.3/8], allowed_origins: [https://a.example]}\n"
        "infrastructure:\n  default_proxy_network: web\n  database: {wait: 1h30m}\n"
    )
    assert snapshot.of(PanelSettings).deployments_path == Path("/srv/sites")
    assert snapshot.of(ApiSettings).trusted_proxies == ("10.0.0.0/8",)
    assert snapshot.of(Networks).default_proxy_network == "web"
    assert snapshot.of(Database).wait == timedelta(minutes=90)


def test_all_problems_are_told_at_once_each_with_its_key() -> None:
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


def test_sections_of_no_active_plugin_are_kept_with_a_warning() -> None:
    text = "traffic: {retention_days: 7}\ninfrastructure: {redis: {port: 1}}\nempty:\n"
    assert load(text).warnings == (
        "traffic: belongs to no active plugin; it has no effect",
        "empty: belongs to no active plugin; it has no effect",
        "infrastructure.redis: belongs to no active plugin; it has no effect",
    )
    assert load(text, known_absent=["traffic", "infrastructure.redis", "empty"]).warnings == ()
    assert load(text, partial=True).warnings == ()


def test_a_section_may_hold_groups_without_being_one() -> None:
    groups = tuple(group for group in GROUPS if group.name != "infrastructure")
    snapshot = load("infrastructure: {default_proxy_network: web, database: {port: 1}}\n", groups=groups)
    assert snapshot.of(Database).port == 1
    assert snapshot.warnings == (
        "infrastructure.default_proxy_network: belongs to no active plugin; it has no effect",
    )


def test_the_core_alone_can_be_read_before_the_plugins_are_known() -> None:
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
def test_any_tree_of_values_is_settings_or_a_list_of_problems(tree: Any) -> None:
    data = tree if isinstance(tree, dict) else {"api": tree}
    try:
        SettingsSource(data=data).load(GROUPS)
    except SettingsError as exc:
        found = exc.problems
        assert found
        assert all(": " in problem for problem in found)


# --- the environment ---------------------------------------------------------------------------


def test_the_environment_wins_over_the_file_and_the_command_line_over_both() -> None:
    text, environ = (
        "api: {port: 1, threads: 1, host: file}\n",
        {"FLATRUN_API__PORT": "2", "FLATRUN_API__THREADS": "2"},
    )
    snapshot = load(text, environ, overrides={"api.port": 3, "api.max_streams": None})
    assert snapshot.of(ApiSettings) == ApiSettings(host="file", port=3, threads=2)
    assert load(overrides={"api": {"port": 4}, "deployments_path": Path("/x")}).of(ApiSettings).port == 4


def test_variables_are_read_as_the_type_of_their_key() -> None:
    snapshot = load(
        environ={
            "FLATRUN_DEPLOYMENTS_PATH": "/srv/sites",
            "FLATRUN_API__HOST": "1",
            "FLATRUN_API__ENABLE_CORS": "true",
            "FLATRUN_API__ALLOWED_ORIGINS": '["https://a.example", "https://b.example"]',
            "FLATRUN_API__TRUSTED_PROXIES": "10.0.0.1, ::1,",
            "FLATRUN_PLUGINS__DISABLED": "",
            "FLATRUN_AUTH__API_KEYS": "one,22222",
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
    assert snapshot.of(AuthSettings).api_keys == ("one", "22222")
    assert snapshot.of(Database) == Database(wait=timedelta(minutes=5), root_password="12345")
    assert snapshot.fixed["api.host"] == "the environment variable FLATRUN_API__HOST"
    assert snapshot.warnings == ()


@pytest.mark.parametrize("text", ["", "x", "1.5", "[1", "1\nb: 2", "{a: 1}", "true", "0x", "&a 1 *b"])
def test_a_variable_that_is_no_number_names_its_key(text: str) -> None:
    (problem,) = problems(environ={"FLATRUN_API__THREADS": text})
    assert problem.startswith("api.threads: ")


def test_variables_of_no_key_are_warned_of_unless_others_read_them() -> None:
    known = ["ADMIN_PASSWORD", "SECRET_KEY", "CONFIG", "URL", "API_KEY", "HOME"]
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


def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("s3cret\n")
    variable = "FLATRUN_INFRASTRUCTURE__DATABASE__ROOT_PASSWORD_FILE"
    assert load(environ={variable: str(path)}).of(Database).root_password == "s3cret"
    assert load(environ={"FLATRUN_DATABASE_FILE": str(path)}).of(PanelSettings).database == "s3cret"


def test_a_secret_file_that_cannot_be_read_is_told_by_its_variable(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for place in (tmp_path / "nowhere", tmp_path, binary, "", "a\0b"):
        (problem,) = problems(environ={"FLATRUN_AUTH__SECRET_KEY_FILE": str(place)})
        assert problem == "FLATRUN_AUTH__SECRET_KEY_FILE: the file it names cannot be read"


def test_a_secret_given_twice_is_refused_and_others_have_no_files(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("x")
    both = {"FLATRUN_DATABASE": "a", "FLATRUN_DATABASE_FILE": str(path)}
    assert problems(environ=both) == ["FLATRUN_DATABASE and FLATRUN_DATABASE_FILE are both set"]
    assert problems(environ={"FLATRUN_API__HOST_FILE": str(path)})[0].startswith("FLATRUN_API__HOST_FILE: ")


# --- secrets -----------------------------------------------------------------------------------

SECRET = "hunter22hunter22"


@pytest.mark.parametrize(
    "text",
    [
        f"infrastructure: {{database: {{root_password: {SECRET}}}}}",
        f"auth: {{secret_key: [{SECRET}]}}",
        f"auth: {{api_keys: {SECRET}}}",
        f"auth: {{api_keys: [{{{SECRET}: 1}}]}}",
        f"auth: {SECRET}",
        f"database: {{url: {SECRET}}}",
        f"auth: {{secret_key: !!binary {SECRET}}}",
    ],
)
def test_no_secret_shows_in_a_problem(text: str) -> None:
    for found in problems(text):
        assert SECRET not in found


def test_no_secret_shows_in_what_is_printed_or_published() -> None:
    text = f"database: {SECRET}\nauth: {{secret_key: {SECRET}, api_keys: [{SECRET}]}}\n"
    text += "infrastructure: {database: {root_password: hunter22, root_user: hunter22}}\n"
    snapshot = load(text)
    shown = [
        json.dumps(snapshot.published()),
        repr(source(text)),
        repr(source(environ={"FLATRUN_DATABASE": SECRET})),
    ]
    shown += [repr(snapshot.of(kind)) for kind in (PanelSettings, AuthSettings)]
    for one in shown:
        assert "hunter22" not in one


# --- published ---------------------------------------------------------------------------------


def test_what_is_published_has_the_shape_of_the_documentation() -> None:
    snapshot = load("infrastructure: {database: {root_password: s3cret, wait: 90m}}\n")
    assert snapshot.published() == {
        "deployments_path": "/var/flatrun/deployments",
        "api_port": 8090,
        "enable_cors": False,
        "allowed_origins": [],
        "trusted_proxies": [],
        "infrastructure": {
            "default_proxy_network": "proxy",
            "database": {"enabled": False, "port": 3306, "wait": "1h30m", "has_password": True},
        },
    }
    assert load().published()["infrastructure"]["database"]["has_password"] is False


def test_the_table_has_a_row_for_every_key() -> None:
    table = settings_table(GROUPS)
    assert "| `api.port` | port | `8090` | `FLATRUN_API__PORT` | Port to listen on. |\n" in table
    assert "| `api.enable_cors` | true or false | `false` |" in table
    assert (
        "| `infrastructure.database.wait` | duration | `30s` | `FLATRUN_INFRASTRUCTURE__DATABASE__WAIT` |"
        in table
    )
    assert "Port \\| of it." in table
    rows = sum(len(group.schema().fields) for group in GROUPS)
    assert table.count("\n") == rows + 2


def test_groups_are_described_as_a_json_schema_in_the_shape_of_the_file() -> None:
    store = SettingsStore(source(), GROUPS, None, None)  # type: ignore[arg-type]
    schema = store.json_schema(["infrastructure.database"])
    database = schema["properties"]["infrastructure"]["properties"]["database"]["properties"]
    assert schema["properties"].keys() == {"infrastructure"}
    assert database["port"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 65535,
        "default": 3306,
        "description": "Port | of it.",
    }
    assert database["wait"]["default"] == "30s"
    assert store.json_schema([]) == {"type": "object", "properties": {}}
    json.dumps(store.json_schema([group.name for group in GROUPS]))


def test_one_group_cannot_be_declared_twice() -> None:
    with pytest.raises(SettingsError, match="same settings group"):
        load(groups=(*GROUPS, GROUPS[-1]))
