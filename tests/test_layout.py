"""One list of plugins, the folders; everything else that names plugins is held to it."""

import configparser
import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = sorted(path.name for path in (ROOT / "plugins").iterdir() if (path / "setup.cfg").exists())
EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if (path / "setup.cfg").exists())


def config(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(path)
    return parser


def version() -> str:
    return config(ROOT / "setup.cfg")["metadata"]["version"]


def test_every_plugin_has_an_extra_of_its_own_version() -> None:
    extras = config(ROOT / "setup.cfg")["options.extras_require"]
    own = {name: value for name, value in extras.items() if name not in ("all", "test", "postgresql")}
    assert own == {slug: f"flatrun-{slug.replace('_', '-')}=={version()}" for slug in FOLDERS}


def test_the_extra_all_is_every_plugin() -> None:
    extras = config(ROOT / "setup.cfg")["options.extras_require"]
    assert sorted(extras["all"].split()) == [
        f"flatrun-{slug.replace('_', '-')}=={version()}" for slug in FOLDERS
    ]


def test_every_plugin_has_a_tox_environment() -> None:
    found = re.findall(r"plugin-\{([^}]*)\}", (ROOT / "tox.ini").read_text())
    assert found
    for names in found:
        assert sorted(names.split(",")) == FOLDERS


@pytest.mark.parametrize("slug", FOLDERS)
def test_every_plugin_has_the_same_files(slug: str) -> None:
    folder = ROOT / "plugins" / slug
    package = folder / "src" / f"flatrun_{slug}"
    for path in (
        folder / "README.md",
        folder / "pyproject.toml",
        package / "plugin.py",
        package / "py.typed",
        package / "__init__.py",
        folder / "tests" / "test_conformance.py",
    ):
        assert path.exists(), path
    parsed = config(folder / "setup.cfg")
    assert parsed["metadata"]["name"] == f"flatrun-{slug.replace('_', '-')}"
    assert parsed["metadata"]["version"] == version()
    assert f"{slug} = flatrun_{slug}.plugin" in parsed["options.entry_points"]["flatrun.plugins"]


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_a_whole_distribution(folder: Path) -> None:
    parsed = config(folder / "setup.cfg")
    assert parsed["metadata"]["version"] == version()
    slug, module = parsed["options.entry_points"]["flatrun.plugins"].strip().split(" = ")
    assert module == f"flatrun_{slug}.plugin"
    package = folder / "src" / f"flatrun_{slug}"
    assert parsed["metadata"]["name"] == f"flatrun-{slug.replace('_', '-')}"
    for path in (
        folder / "README.md",
        folder / "pyproject.toml",
        package / "plugin.py",
        package / "py.typed",
        folder / "tests" / "test_conformance.py",
    ):
        assert path.exists(), path


def test_the_program_says_the_version_of_its_distribution() -> None:
    import flatrun_core

    assert flatrun_core.__version__ == version()


def test_the_changelog_knows_this_version() -> None:
    assert f"## {version()}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.fixture
def new_plugin(tmp_path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("new_plugin", ROOT / "tools" / "new_plugin.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_new_plugin_passes_its_tests_at_once(new_plugin: Any, tmp_path: Path) -> None:
    target = tmp_path / "night_watch"
    assert new_plugin.main(["night_watch", "--into", str(target)]) == 0
    text = "\n".join(path.read_text() for path in target.rglob("*") if path.is_file())
    assert "hello" not in text.lower()
    shutil.copy(ROOT / "tox.ini", target / "tox.ini")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=target,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={"PYTHONPATH": f"{target / 'src'}:{ROOT}", "PATH": "/usr/bin:/bin"},
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_new_plugin_stands_beside_the_example_it_was_copied_from(
    new_plugin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flatrun_app: Any
) -> None:
    new_plugin.main(["night_watch", "--into", str(tmp_path / "night_watch")])
    monkeypatch.syspath_prepend(str(tmp_path / "night_watch" / "src"))
    plugins = [
        importlib.import_module(name) for name in ("flatrun_night_watch.plugin", "flatrun_hello.plugin")
    ]
    document = flatrun_app(plugins=plugins).extensions["flatrun"].document
    assert {"HelloGreeting", "NightWatchGreeting"} <= set(document["components"]["schemas"])


@pytest.mark.parametrize(
    "slug", ["", "Up", "two__scores", "-dash", "a/b", "..", "1st", "core", "permissions", "hello", "a\n"]
)
def test_a_new_plugin_with_a_bad_name_is_refused(new_plugin: Any, tmp_path: Path, slug: str) -> None:
    target = tmp_path / "made"
    try:
        code = new_plugin.main([slug, "--into", str(target)])
    except SystemExit as exc:
        code = exc.code
    assert code == 2
    assert not target.exists()


def test_a_new_plugin_never_overwrites(new_plugin: Any, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    assert new_plugin.main(["fresh", "--into", str(tmp_path / "made")]) == 2
    assert list((tmp_path / "made").iterdir()) == []


def test_a_new_plugin_below_plugins_is_enlisted_in_extras_and_tox(
    new_plugin: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    for name in ("setup.cfg", "tox.ini"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(new_plugin, "ROOT", tmp_path)
    new_plugin.enlist("not_yet_there")
    extras = config(tmp_path / "setup.cfg")["options.extras_require"]
    assert extras["not_yet_there"] == f"flatrun-not-yet-there=={version()}"
    assert f"flatrun-not-yet-there=={version()}" in extras["all"]
    assert "not_yet_there" in (tmp_path / "tox.ini").read_text()
