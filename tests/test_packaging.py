"""What is in the wheels; `tox -e package` also installs them alone and together."""

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist", ".*", "tests", "docs")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every distribution built from a copy of its sources, as a release builds it."""
    copy = tmp_path_factory.mktemp("sources") / "tree"
    copy.mkdir()
    for name in ("flatrun_core", "plugins"):
        shutil.copytree(ROOT / name, copy / name, ignore=LEFT_OUT)
    for name in ("hookspecs.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    target = tmp_path_factory.mktemp("wheels")
    folders = [copy, *sorted(path.parent for path in copy.glob("plugins/*/setup.cfg"))]
    for folder in folders:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "wheel",
                "-q",
                "--no-deps",
                "--no-build-isolation",
                "-w",
                target,
                folder,
            ],
            check=True,
        )
    return target


def names(wheels: Path, pattern: str) -> list[str]:
    [wheel] = wheels.glob(pattern)
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_core_ships_its_package_and_the_hook_specifications_and_nothing_else(wheels: Path) -> None:
    top = {name.split("/")[0] for name in names(wheels, "flatrun_core-*.whl") if ".dist-info/" not in name}
    assert top == {"flatrun_core", "hookspecs.py"}


def test_the_core_ships_what_is_not_python(wheels: Path) -> None:
    shipped = set(names(wheels, "flatrun_core-*.whl"))
    here = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "flatrun_core").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert here <= shipped


@pytest.mark.parametrize("slug", sorted(path.parent.name for path in ROOT.glob("plugins/*/setup.cfg")))
def test_a_plugin_ships_every_file_of_its_package(wheels: Path, slug: str) -> None:
    shipped = set(names(wheels, f"flatrun_{slug}-*.whl"))
    source = ROOT / "plugins" / slug / "src"
    here = {
        str(path.relative_to(source))
        for path in (source / f"flatrun_{slug}").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert here <= shipped
    assert {name.split("/")[0] for name in shipped if ".dist-info/" not in name} == {f"flatrun_{slug}"}


def test_another_module_called_hookspecs_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "hookspecs.py").write_text("HOOKS = []\n")
    code = "from flatrun_core.app import create_app; create_app(plugins=[])"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode != 0
    assert f"another module called 'hookspecs' ({tmp_path / 'hookspecs.py'})" in run.stderr
    assert importlib.util.find_spec("hookspecs") is not None
