"""nginx's folder holds what nginx needs and nothing else: no deployment, and no files of others."""

from pathlib import Path
from typing import Final

from flatrun_core import Failed
from flatrun_nginx import compose_file
from flatrun_nginx.generation import FILE as DEFAULT
from flatrun_nginx.layout import Layout
from flatrun_nginx.rendering import is_ours

_FOLDERS: Final = frozenset({"conf.d", "certs", "html", "ssl", "lua"})
_COMPOSE_FILES: Final = ("docker-compose.yml", "docker-compose.yaml", "compose.yml", "compose.yaml")


def check(layout: Layout) -> None:
    """Refuse a folder that is somebody else's: ``Failed`` ``NGINX_FOLDER_REFUSED``. Changes nothing."""
    reason = _reason(layout)
    if reason:
        raise Failed(
            f"nginx.config_path cannot be used: {reason}. Set it to a folder conf.d in a folder of nginx's "
            "own, or leave it empty",
            code="NGINX_FOLDER_REFUSED",
        )


def _reason(layout: Layout) -> str:
    folder, root = layout.folder.resolve(), layout.root.resolve()
    if folder == (root / "nginx").resolve():
        return ""
    if folder == root or folder in root.parents:
        return "its parent is the deployments folder, or holds it"
    if folder.is_relative_to(root):
        first = root / folder.relative_to(root).parts[0]
        if first.name.startswith("."):
            return f"its parent stands in the panel's own folder {first.name}"
        if first != folder and any((first / name).exists() for name in (*_COMPOSE_FILES, "service.yml")):
            return f"its parent stands in the deployment {first.name}"
    return _foreign(layout)


def _foreign(layout: Layout) -> str:
    folder = layout.folder
    try:
        if not folder.exists() or _is_known(layout):
            return ""
        others = sorted(path.name for path in folder.iterdir() if not _may_be_ours(path))
        if layout.conf.is_dir():
            others += sorted(f"conf.d/{path.name}" for path in layout.conf.iterdir())
    except OSError as exc:
        return f"its parent cannot be looked at: {exc.strerror}"
    if any((folder / name).exists() for name in _COMPOSE_FILES):
        return f"its parent is a deployment or another project, {folder.name}"
    return f"its parent has files that are not nginx's, such as {others[0]}" if others else ""


def _is_known(layout: Layout) -> bool:
    """Whether it has been used before: a file of ours stands in it."""
    places = (layout.conf / DEFAULT, layout.main, layout.folder / compose_file.FILE)
    return any(_text_is_ours(place) for place in places)


def _text_is_ours(path: Path) -> bool:
    try:
        return is_ours(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return False


def _may_be_ours(path: Path) -> bool:
    return path.name in _FOLDERS and path.is_dir()
