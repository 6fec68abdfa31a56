"""How a panel is put together from plugins, and what becomes of those that fail."""

import textwrap
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from flask.views import MethodView

from flatrun_core import (
    Blueprint,
    PluginContext,
    PluginInfo,
    ServiceKey,
    StartupError,
    access,
    hookimpl,
    public,
)
from flatrun_core.app import create_app
from flatrun_core.markers import HOOK_API, hookspec
from flatrun_core.plugins import discover
from flatrun_core.ports.auth import Permission
from flatrun_core.ports.scheduling import Timer
from flatrun_core.settings import SettingsSource


def plugin(slug: str, *, hook_api: int = HOOK_API, **hooks: Any) -> ModuleType:
    """A plugin module made of functions; keyword names are hook names without the prefix."""
    info_keys = {"requires", "prefixes", "permissions", "sections", "uses"}
    info = {key: hooks.pop(key) for key in list(hooks) if key in info_keys}
    module = ModuleType(f"test_plugin_{slug}")
    module.PLUGIN = PluginInfo(slug=slug, hook_api=hook_api, display_name=slug, **info)  # type: ignore[attr-defined]
    for name, function in hooks.items():
        setattr(module, f"flatrun_{name}", hookimpl(function))
    return module


def blueprint(
    slug: str, rule: str, mark: Callable[[Any], Any] | None, *, prefix: str | None = None
) -> Blueprint:
    blp = Blueprint(
        f"{slug}{rule.replace('/', '_').replace('<', '').replace('>', '')}",
        slug,
        url_prefix=prefix or f"/api/{slug}",
        description="test",
    )

    class View(MethodView):
        def get(self, **kwargs: Any) -> dict[str, Any]:
            """Answer with the plugin's name."""
            return {"plugin": slug}

    if mark is not None:
        View.get = mark(View.get)  # type: ignore[method-assign]
    View.get = blp.response(200)(View.get)  # type: ignore[method-assign]
    blp.route(rule)(View)
    return blp


def make(tmp_path: Path, plugins: Sequence[Any], *, strict: bool = False, **settings: Any) -> Flask:
    overrides = {"deployments_path": str(tmp_path / "root"), "auth.api_keys": ["k" * 20], **settings}
    return create_app(SettingsSource.read(None, {}, overrides), plugins=list(plugins), strict=strict)


def states(app: Flask) -> dict[str, str]:
    return {record.slug: str(record.status) for record in app.extensions["flatrun"].plugins}


def reason(app: Flask, slug: str) -> str:
    return next(r.reason for r in app.extensions["flatrun"].plugins if r.slug == slug)


def test_a_plugin_serves_its_route(tmp_path: Path) -> None:
    app = make(tmp_path, [plugin("a", register_blueprints=lambda: [blueprint("a", "/x", public())])])
    assert app.test_client().get("/api/a/x").get_json() == {"plugin": "a"}


def test_a_failing_set_up_takes_out_that_plugin_only(tmp_path: Path) -> None:
    def boom() -> None:
        raise RuntimeError("no luck")

    app = make(
        tmp_path,
        [
            plugin("bad", on_setup=boom, register_blueprints=lambda: [blueprint("bad", "/x", public())]),
            plugin("good", register_blueprints=lambda: [blueprint("good", "/x", public())]),
        ],
    )
    assert states(app) == {"bad": "failed", "good": "active"}
    assert "RuntimeError: no luck" in reason(app, "bad")
    assert app.test_client().get("/api/bad/x").status_code == 404
    assert app.test_client().get("/api/good/x").status_code == 200


def test_what_requires_a_failed_plugin_is_unavailable(tmp_path: Path) -> None:
    def boom() -> None:
        raise RuntimeError("no luck")

    app = make(tmp_path, [plugin("base", on_setup=boom), plugin("top", requires=("base",))])
    assert states(app) == {"base": "failed", "top": "unavailable"}
    assert "requires 'base', which is failed" in reason(app, "top")


def test_strict_makes_a_failure_fatal_and_names_the_way_out(tmp_path: Path) -> None:
    def boom() -> None:
        raise RuntimeError("no luck")

    with pytest.raises(StartupError, match=r"plugin 'bad' is failed.*--no-plugins"):
        make(tmp_path, [plugin("bad", on_setup=boom)], strict=True)


def test_a_required_plugin_that_fails_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="guard"):
        make(tmp_path, [plugin("guard", hook_api=99)], **{"plugins.required": ["guard"]})


def test_a_required_plugin_that_is_not_installed_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"plugins\.required"):
        make(tmp_path, [], **{"plugins.required": ["guard"]})


def test_another_hook_api_is_not_loaded(tmp_path: Path) -> None:
    app = make(tmp_path, [plugin("old", hook_api=99)])
    assert states(app) == {"old": "failed"}
    assert "hook API 99" in reason(app, "old")


def test_a_misspelt_hook_fails_its_plugin(tmp_path: Path) -> None:
    app = make(tmp_path, [plugin("typo", register_blueprint=lambda: [])])
    assert states(app) == {"typo": "failed"}
    assert "flatrun_register_blueprint" in reason(app, "typo")


def test_a_route_without_access_fails_its_plugin(tmp_path: Path) -> None:
    app = make(tmp_path, [plugin("open", register_blueprints=lambda: [blueprint("open", "/x", None)])])
    assert states(app) == {"open": "failed"}
    assert "declares no access" in reason(app, "open")
    assert app.test_client().get("/api/open/x").status_code == 404


def test_an_unregistered_permission_fails_its_plugin(tmp_path: Path) -> None:
    marked = blueprint("p", "/x", access("p:read"))
    app = make(tmp_path, [plugin("p", register_blueprints=lambda: [marked])])
    assert "unregistered permissions: p:read" in reason(app, "p")


def test_a_permission_with_a_foreign_prefix_fails_its_plugin(tmp_path: Path) -> None:
    app = make(tmp_path, [plugin("p", register_permissions=lambda: [Permission("users:read", "steal")])])
    assert states(app) == {"p": "failed"}


def test_a_route_outside_its_prefixes_fails_its_plugin(tmp_path: Path) -> None:
    app = make(
        tmp_path, [plugin("p", register_blueprints=lambda: [blueprint("p", "/x", public(), prefix="/api/q")])]
    )
    assert "PLUGIN.prefixes" in reason(app, "p")


def test_two_strangers_on_one_route_both_fail(tmp_path: Path) -> None:
    one = plugin(
        "one",
        prefixes=("shared",),
        register_blueprints=lambda: [blueprint("one", "/<id>", public(), prefix="/api/shared")],
    )
    two = plugin(
        "two",
        prefixes=("shared",),
        register_blueprints=lambda: [blueprint("two", "/<name>", public(), prefix="/api/shared")],
    )
    app = make(tmp_path, [one, two])
    assert states(app) == {"one": "failed", "two": "failed"}
    assert "claimed by both plugin 'one' and plugin 'two'" in reason(app, "one")


def test_the_core_keeps_its_routes(tmp_path: Path) -> None:
    thief = plugin(
        "thief",
        prefixes=("health",),
        register_blueprints=lambda: [blueprint("thief", "", public(), prefix="/api/health")],
    )
    app = make(tmp_path, [thief])
    assert states(app) == {"thief": "failed"}
    assert app.test_client().get("/api/health").get_json()["status"] == "ok"


def test_a_circle_of_requirements_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="circle: a, b"):
        make(tmp_path, [plugin("a", requires=("b",)), plugin("b", requires=("a",))])


def test_two_plugins_with_one_timer_name_are_refused(tmp_path: Path) -> None:
    timer = Timer("tick", timedelta(hours=1), lambda: None)
    app = make(
        tmp_path, [plugin("a", register_timers=lambda: [timer]), plugin("b", register_timers=lambda: [timer])]
    )
    assert states(app) == {"a": "active", "b": "failed"}
    assert "already that of plugin 'a'" in reason(app, "b")


def test_lifecycle_hooks_fire_in_start_order_and_stop_in_reverse(tmp_path: Path) -> None:
    seen: list[str] = []

    def hooks(slug: str) -> dict[str, Any]:
        return {
            "on_setup": lambda: seen.append(f"{slug}.setup"),
            "on_serve": lambda: seen.append(f"{slug}.serve"),
            "on_shutdown": lambda: seen.append(f"{slug}.shutdown"),
        }

    app = make(tmp_path, [plugin("a", requires=("z",), **hooks("a")), plugin("z", **hooks("z"))])
    panel = app.extensions["flatrun"]
    panel.start()
    panel.stop()
    assert seen == ["z.setup", "a.setup", "z.serve", "a.serve", "a.shutdown", "z.shutdown"]


def test_a_service_is_found_by_key_and_absent_without_its_plugin(tmp_path: Path) -> None:
    key: ServiceKey[str] = ServiceKey("word", "speaker")

    def provide(ctx: PluginContext) -> None:
        ctx.services.provide(key, lambda: "hello")

    with_plugin = make(tmp_path / "1", [plugin("speaker", on_setup=provide)])
    without = make(tmp_path / "2", [])
    assert with_plugin.extensions["flatrun"].services.find(key) == "hello"
    assert without.extensions["flatrun"].services.find(key) is None
    with pytest.raises(LookupError, match="expected from 'speaker'"):
        without.extensions["flatrun"].services.get(key)


def test_a_service_that_cannot_be_built_fails_its_plugin(tmp_path: Path) -> None:
    key: ServiceKey[str] = ServiceKey("word", "speaker")

    def broken() -> str:
        raise OSError("no sound card")

    app = make(tmp_path, [plugin("speaker", on_setup=lambda ctx: ctx.services.provide(key, broken))])
    assert "no sound card" in reason(app, "speaker")


def test_a_hook_that_fails_while_a_service_is_built_fails_its_own_plugin(
    tmp_path: Path,
) -> None:
    """A service may be made of what plugins register: its owner is not to blame for theirs."""
    words: ServiceKey[list[Any]] = ServiceKey("words", "speaker")
    specs = ModuleType("test_speaker_specs")

    @hookspec
    def flatrun_register_words(ctx: PluginContext) -> list[str]:
        """Words to say."""
        return []

    def mumble() -> list[str]:
        raise OSError("no voice")

    def provide(ctx: PluginContext) -> None:
        ctx.services.provide(words, lambda: ctx.hooks.register("flatrun_register_words"))

    specs.flatrun_register_words = flatrun_register_words  # type: ignore[attr-defined]
    speaker = plugin("speaker", register_hookspecs=lambda: [specs], on_setup=provide)
    app = make(
        tmp_path,
        [speaker, plugin("mute", register_words=mumble), plugin("loud", register_words=lambda: ["ahoy"])],
    )
    assert states(app) == {"loud": "active", "mute": "failed", "speaker": "active"}
    assert "no voice" in reason(app, "mute")
    assert app.extensions["flatrun"].services.get(words) == [("loud", "ahoy")]


def test_two_applications_in_one_process_differ(tmp_path: Path) -> None:
    one = make(tmp_path / "1", [plugin("a", register_blueprints=lambda: [blueprint("a", "/x", public())])])
    two = make(tmp_path / "2", [])
    assert one.test_client().get("/api/a/x").status_code == 200
    assert two.test_client().get("/api/a/x").status_code == 404


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs a fake distribution: a module and its metadata with an entry point."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(name: str, slug: str, body: str) -> None:
        module = f"fr_fake_{name}"
        (site / f"{module}.py").write_text(textwrap.dedent(body))
        info = site / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\nSummary: fake\n")
        (info / "entry_points.txt").write_text(f"[flatrun.plugins]\n{slug} = {module}\n")

    return install


GOOD = """
    from flatrun_core import PluginInfo
    PLUGIN = PluginInfo(slug="{slug}", hook_api=1, display_name="Good")
"""


def test_installed_plugins_are_found_by_entry_point(distribution: Any, tmp_path: Path) -> None:
    distribution("good", "fake_good", GOOD.format(slug="fake_good"))
    app = make(tmp_path, ["fake_good"])
    record = next(r for r in app.extensions["flatrun"].plugins if r.slug == "fake_good")
    assert (str(record.status), record.distribution, record.version) == ("active", "good", "1.2")


def test_a_broken_import_is_a_reason_and_not_the_end(distribution: Any, tmp_path: Path) -> None:
    distribution("broken", "fake_broken", "import a_module_that_is_not_there")
    distribution("good", "fake_good", GOOD.format(slug="fake_good"))
    app = make(tmp_path, ["fake_broken", "fake_good"])
    assert states(app) == {"fake_broken": "failed", "fake_good": "active"}
    assert "a_module_that_is_not_there" in reason(app, "fake_broken")


def test_a_disabled_plugin_is_never_imported(distribution: Any, tmp_path: Path) -> None:
    distribution("loud", "fake_loud", "raise SystemExit('imported')")
    app = make(tmp_path, ["fake_loud"], **{"plugins.disabled": ["fake_loud"]})
    assert states(app) == {"fake_loud": "disabled"}


def test_two_distributions_of_one_slug_stop_the_start(distribution: Any) -> None:
    distribution("first", "fake_same", GOOD.format(slug="fake_same"))
    distribution("second", "fake_same", GOOD.format(slug="fake_same"))
    with pytest.raises(StartupError, match=r"first 1\.2 and second 1\.2"):
        discover()


def test_an_entry_point_of_another_name_than_the_slug_fails(distribution: Any, tmp_path: Path) -> None:
    distribution("liar", "fake_liar", GOOD.format(slug="someone_else"))
    app = make(tmp_path, ["fake_liar"])
    assert "PLUGIN.slug is 'someone_else'" in reason(app, "fake_liar")
