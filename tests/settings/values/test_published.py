"""Settings as the API, the documents and JSON schemas show them."""

import json
from typing import Any

import pytest

from flatrun_core.settings import SettingsError, SettingsStore, settings_table


def test_what_is_published_has_the_shape_of_the_documentation(load: Any) -> None:
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


def test_the_table_has_a_row_for_every_key(groups: Any) -> None:
    table = settings_table(groups)
    assert "| `api.port` | port | `8090` | `FLATRUN_API__PORT` | Port to listen on. |\n" in table
    assert "| `api.enable_cors` | true or false | `false` |" in table
    assert (
        "| `infrastructure.database.wait` | duration | `30s` | `FLATRUN_INFRASTRUCTURE__DATABASE__WAIT` |"
        in table
    )
    assert "Port \\| of it." in table
    rows = sum(len(group.schema().fields) for group in groups)
    assert table.count("\n") == rows + 2


def test_groups_are_described_as_a_json_schema_in_the_shape_of_the_file(source: Any, groups: Any) -> None:
    store = SettingsStore(source(), groups, None, None)  # type: ignore[arg-type]
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
    json.dumps(store.json_schema([group.name for group in groups]))


def test_one_group_cannot_be_declared_twice(load: Any, groups: Any) -> None:
    with pytest.raises(SettingsError, match="same settings group"):
        load(groups=(*groups, groups[-1]))
