"""The suite every plugin passes: subclass ``PluginConformance`` and name your plugin's module."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from flask import Flask

from flatrun_core.context import PluginInfo
from flatrun_core.markers import HOOK_API

SILENT = """
import sys, threading
import importlib
before = threading.active_count()
importlib.import_module({module!r})
assert threading.active_count() == before, "importing the plugin started a thread"
"""


class PluginConformance:
    """``plugin`` is the module with ``PLUGIN``; ``requires`` the modules of plugins it needs."""

    plugin: ClassVar[ModuleType]
    requires: ClassVar[tuple[ModuleType, ...]] = ()
    settings: ClassVar[dict[str, Any]] = {}

    def make(self, flatrun_app: Callable[..., Flask]) -> Flask:
        """An application with this plugin and what it requires."""
        return flatrun_app(plugins=[*self.requires, self.plugin], settings=self.settings)

    def test_plugin_says_what_it_is(self) -> None:
        info = self.plugin.PLUGIN
        assert isinstance(info, PluginInfo)
        assert info.hook_api == HOOK_API
        assert info.slug.isidentifier() and info.slug == info.slug.lower()
        assert info.display_name, "PLUGIN.display_name is what people read"

    def test_module_is_a_table_of_contents(self) -> None:
        source = Path(self.plugin.__file__ or "").read_text()
        assert len(source.splitlines()) <= 100, "plugin.py names things; behaviour belongs in other modules"

    def test_importing_does_nothing(self) -> None:
        code = SILENT.format(module=self.plugin.__name__)
        run = subprocess.run(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
        assert run.returncode == 0, run.stderr
        assert run.stdout == "" and run.stderr == ""

    def test_plugin_becomes_active(self, flatrun_app: Callable[..., Flask]) -> None:
        app = self.make(flatrun_app)
        states = {
            record.slug: (str(record.status), record.reason) for record in app.extensions["flatrun"].plugins
        }
        assert states[self.plugin.PLUGIN.slug] == ("active", "")

    def test_every_operation_is_documented(self, flatrun_app: Callable[..., Flask]) -> None:
        app = self.make(flatrun_app)
        panel = app.extensions["flatrun"]
        for (rule, method), (slug, access) in panel.accesses.items():
            if slug != self.plugin.PLUGIN.slug or access.kind == "internal":
                continue
            operation = _operation(panel.document, rule, method)
            assert operation.get("summary"), f"{method.upper()} {rule} has no summary (its docstring)"
            assert any(status.startswith("2") for status in operation["responses"]), f"{method} {rule}"
            if method != "get" and access.kind != "public":
                assert access.action, f"{method.upper()} {rule} names no action for the record"

    def test_nobody_passes_without_a_credential(self, flatrun_app: Callable[..., Flask]) -> None:
        app = self.make(flatrun_app)
        client = app.test_client()
        for (rule, method), (slug, access) in app.extensions["flatrun"].accesses.items():
            if slug == self.plugin.PLUGIN.slug and access.kind != "public":
                answer = client.open(_example(rule), method=method.upper())
                assert answer.status_code == 401, f"{method.upper()} {rule} answered {answer.status_code}"
                assert set(answer.get_json()) >= {"error", "code"}

    def test_settings_have_defaults_and_descriptions(self, flatrun_app: Callable[..., Flask]) -> None:
        panel = self.make(flatrun_app).extensions["flatrun"]
        for group in panel.groups_of(self.plugin.PLUGIN.slug):
            group.schema().load({})
            for name, field in group.schema().fields.items():
                assert field.metadata.get("description"), f"setting {group.name}.{name} has no description"

    def test_migrations_lead_to_the_models(self, flatrun_app: Callable[..., Flask], tmp_path: Path) -> None:
        panel = self.make(flatrun_app).extensions["flatrun"]
        for migrations in panel.migrations:
            if migrations.slug != self.plugin.PLUGIN.slug:
                continue
            with panel.database.session():
                for model in migrations.models:
                    assert_table_matches(panel.database.peewee, model)

    def test_is_absent_without_a_trace_when_disabled(self, flatrun_app: Callable[..., Flask]) -> None:
        slug = self.plugin.PLUGIN.slug
        app = flatrun_app(
            plugins=[*self.requires, self.plugin], settings={**self.settings, "plugins.disabled": [slug]}
        )
        panel = app.extensions["flatrun"]
        assert slug not in {owner for owner, _ in panel.accesses.values()}
        assert not panel.groups_of(slug)
        assert slug not in {migrations.slug for migrations in panel.migrations}


def assert_table_matches(database: Any, model: Any) -> None:
    """The live table has exactly the model's columns, with its nullability."""
    meta = model._meta
    live = {column.name: column for column in database.get_columns(meta.table_name)}
    assert set(live) == set(meta.columns), f"{meta.table_name}: {sorted(live)} is not {sorted(meta.columns)}"
    for name, field in meta.columns.items():
        assert live[name].null == field.null, f"{meta.table_name}.{name}: nullability differs from the model"


def _operation(document: dict[str, Any], rule: str, method: str) -> dict[str, Any]:
    path = rule.replace("<", "{").replace(">", "}")
    path = "/".join(_bare(part) if part.startswith("{") else part for part in path.split("/"))
    operation: dict[str, Any] = document["paths"][path][method]
    return operation


def _bare(part: str) -> str:
    return "{" + part.strip("{}").split(":")[-1] + "}"


def _example(rule: str) -> str:
    parts = ["1" if part.startswith("<") else part for part in rule.split("/")]
    return "/".join(parts)
