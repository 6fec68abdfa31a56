"""Who may import what, how large a module and a function may be: the rules of the house, as tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "flatrun_core"
PLUGINS = sorted(path for path in (ROOT / "plugins").iterdir() if (path / "setup.cfg").exists())
EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if (path / "setup.cfg").exists())
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50

# What plugin authors may import beside `flatrun_core` itself.
PUBLIC = (
    "flatrun_core.ports",
    "flatrun_core.errors",
    "flatrun_core.testing",
    "flatrun_core.fields",
    "flatrun_core.db",
    "flatrun_core.cli",
    "flatrun_core.yaml_reader",
    "flatrun_core.yaml_writer",
    "flatrun_core.disk",
    "flatrun_core.key_files",
    "flatrun_core.site_rules",
)
LAYERS = [
    {"markers", "errors", "durations"},
    {"services", "ports"},
    {"fields", "yaml_reader", "disk", "checks", "access"},
    {"yaml_writer", "site_rules"},
    {
        "context",
        "hooks",
        "settings_file",
        "settings_source",
        "settings_groups",
        "settings_docs",
        "settings",
        "locks",
        "program_output",
        "programs",
        "key_files",
        "catalogue",
    },
    {"signing", "encryption"},
    {"db", "storage", "jobs", "scheduler", "docker", "proxy", "plugins"},
    {"api", "panel"},
    {"builtin", "assembly"},
    {"app"},
    {"panel_socket"},
    {"server", "cli"},
]


def sources(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*.py") if not {"build", "__pycache__"} & set(p.parts))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Modules imported at run time, by full name; what stands under TYPE_CHECKING is free."""
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno


def package_of(plugin: Path) -> str:
    return next(path.name for path in (plugin / "src").iterdir() if (path / "__init__.py").exists())


def test_the_core_imports_no_plugin() -> None:
    plugins = {package_of(plugin) for plugin in PLUGINS}
    found = [
        f"{path}:{line} {name}"
        for path in sources(CORE)
        for name, line in imports(parsed(path))
        if name.split(".")[0] in plugins
    ]
    assert found == []


def test_the_core_imports_downwards_only() -> None:
    rank = {name: index for index, layer in enumerate(LAYERS) for name in layer}
    found = []
    for path in sources(CORE):
        own = path.relative_to(CORE).parts[0].removesuffix(".py")
        if own in ("__init__", "testing", "migrations"):
            continue
        assert own in rank, f"{path} is in no layer of this test"
        for name, line in imports(parsed(path)):
            if not name.startswith("flatrun_core."):
                continue
            other = name.split(".")[1]
            if other != own and rank.get(other, 99) > rank[own]:
                found.append(f"{path.relative_to(ROOT)}:{line} imports {name} from above")
    assert found == []


def test_only_the_loader_imports_the_hook_specifications() -> None:
    found = [
        path.name
        for path in sources(CORE)
        for name, _ in imports(parsed(path))
        if name.split(".")[0] == "hookspecs"
    ]
    assert found == ["plugins.py"]


@pytest.mark.parametrize("plugin", PLUGINS + EXAMPLES, ids=lambda path: path.name)
def test_a_plugin_imports_only_what_is_public(plugin: Path) -> None:
    own = package_of(plugin)
    others = {package_of(other) for other in PLUGINS + EXAMPLES} - {own}
    found = []
    for path in sources(plugin / "src"):
        for name, line in imports(parsed(path)):
            top = name.split(".")[0]
            foreign = top in others
            private = name.startswith("flatrun_core.") and not name.startswith(PUBLIC)
            if foreign or private:
                found.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert found == []


@pytest.mark.parametrize("plugin", PLUGINS + EXAMPLES, ids=lambda path: path.name)
def test_a_plugin_keeps_flask_out_of_its_service_and_models_out_of_its_views(plugin: Path) -> None:
    found = []
    for path in sources(plugin / "src"):
        names = [name for name, _ in imports(parsed(path))]
        if path.stem == "service" and any(name.split(".")[0] in ("flask", "flask_smorest") for name in names):
            found.append(f"{path.name} imports Flask")
        if path.stem.endswith("blueprint") and any(name.endswith(".models") for name in names):
            found.append(f"{path.name} imports models")
    assert found == []


def every_source() -> list[Path]:
    folders = [CORE, *(plugin / "src" for plugin in PLUGINS + EXAMPLES)]
    return [ROOT / "hookspecs.py", *(path for folder in folders for path in sources(folder))]


def test_modules_stay_small_enough_to_read() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {count}"
        for path in every_source()
        if (count := len(path.read_text().splitlines())) > MAX_MODULE_LINES
    ]
    assert found == []


def test_functions_fit_on_a_screen() -> None:
    found = []
    for path in every_source():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                length = (body[-1].end_lineno or 0) - body[0].lineno + 1
                if length > MAX_FUNCTION_LINES:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {length} lines")
    assert found == []


def test_programs_are_run_in_one_place() -> None:
    allowed = {CORE / "programs.py"}
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in every_source()
        if path not in allowed and "testing" not in path.parts
        for name, line in imports(parsed(path))
        if name.split(".")[0] in ("subprocess", "pty", "commands")
    ]
    assert found == []


def test_nothing_runs_a_shell() -> None:
    found = []
    for path in every_source():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.keyword) and node.arg == "shell":
                found.append(f"{path.relative_to(ROOT)}:{node.value.lineno}")
            if (
                isinstance(node, ast.Attribute)
                and node.attr in ("system", "popen")
                and ast.unparse(node.value) == "os"
            ):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def test_the_engine_is_reached_through_one_door() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in every_source()
        if CORE / "docker" not in path.parents
        for name, line in imports(parsed(path))
        if name.split(".")[0] == "docker"
    ]
    assert found == []
