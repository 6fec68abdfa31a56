#!/usr/bin/env python3
"""Write the generated documents below docs/ from the code; ``--check`` only says which are stale.

Generated as a whole: hooks.md, settings.md, plugins.md, permissions.md, errors.md, openapi.json. In
the written ones a code block below ``<!-- code: FILE [NAME] -->`` is cut from that file (its definition
NAME, or all).
"""

import argparse
import ast
import configparser
import importlib
import json
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flatrun_core.api.access_table import published_accesses
from flatrun_core.app import create_app
from flatrun_core.settings import SettingsSource
from flatrun_core.settings_docs import settings_table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from gen_errors import errors_document  # noqa: E402 - found beside this file

DOCS = ROOT / "docs"
ROLES = ("admin", "operator", "viewer")
WRITTEN = (*sorted(DOCS.glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md")
NOTE = "<!-- Made by tools/gen_docs.py; changes made here are lost. -->\n\n"
SECTION = re.compile(r"^# -{3,} ?(.+?) ?-{3,}$", re.MULTILINE)
CUT = re.compile(r"(<!-- code: (\S+)(?: (\S+))? -->\n)```(\w*)\n(?:.*?\n)??```\n", re.DOTALL)


def main(arguments: list[str]) -> int:
    """Write what differs; with ``--check`` only name it, and 1 when anything does."""
    parser = argparse.ArgumentParser(description="Write the generated documents below docs/.")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when a document is stale")
    check = parser.parse_args(arguments).check
    found = documents()
    stale = [path for path, text in found.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        name = path.relative_to(ROOT)
        if check:
            print(f"{name} is stale; run python tools/gen_docs.py", file=sys.stderr)
        else:
            path.write_text(found[path])
            print(f"wrote {name}")
    return int(check and bool(stale))


def documents() -> dict[Path, str]:
    """Every document by its path, as it has to be."""
    found = {path: with_code(path.read_text()) for path in WRITTEN if path.exists()}
    with tempfile.TemporaryDirectory() as folder:
        panel = assembled(Path(folder))
        for name, write in GENERATED.items():
            found[DOCS / name] = write(panel)
    return found


def assembled(folder: Path) -> Any:
    """A panel with the plugins of this repository, installed or not, and no others."""
    source = SettingsSource.read(None, {}, {"deployments_path": str(folder / "deployments")})
    sys.path[:0] = [str(ROOT / "plugins" / slug / "src") for slug in slugs()]
    modules = [importlib.import_module(f"flatrun_{slug}.plugin") for slug in slugs()]
    app = create_app(source, plugins=modules, strict=True)
    panel = app.extensions["flatrun"]
    panel.database.close()
    return panel


def slugs() -> list[str]:
    """The plugins of this repository."""
    return sorted(path.parent.name for path in ROOT.glob("plugins/*/setup.cfg"))


# --- hooks ---


@dataclass(frozen=True)
class Hook:
    """One specification as it is written."""

    name: str
    section: str
    signature: str
    text: str


def hooks_of(path: Path) -> list[Hook]:
    """The specifications of a file, in its order, under the sections its comments name."""
    source = path.read_text()
    lines = source.splitlines()
    found, section = [], ""
    marks = {source[: match.start()].count("\n"): match[1] for match in SECTION.finditer(source)}
    for node in ast.parse(source).body:
        above = [name for line, name in marks.items() if line < node.lineno]
        section = above[-1] if above else ""
        if isinstance(node, ast.FunctionDef) and node.name.startswith("flatrun_"):
            assert node.body, lines[node.lineno]
            found.append(Hook(node.name, section, signature(node), plain(ast.get_docstring(node) or "")))
    return found


def signature(node: ast.FunctionDef) -> str:
    """A function's head without the quotes around its types."""
    arguments = ", ".join(f"{arg.arg}: {bare(arg.annotation)}" for arg in node.args.args)
    return f"{node.name}({arguments}) -> {bare(node.returns)}"


def bare(node: ast.expr | None) -> str:
    """An annotation as text."""
    if node is None:
        return "Any"
    return str(node.value) if isinstance(node, ast.Constant) and node.value else ast.unparse(node)


def plain(docstring: str) -> str:
    """A docstring's marks in the manner of Markdown."""
    return docstring.replace("``", "`")


def hooks_document(_: Any) -> str:
    """docs/hooks.md."""
    core = ast.get_docstring(ast.parse((ROOT / "hookspecs.py").read_text())) or ""
    kinds = re.findall(r"^(\w+)  +(.+)$", core, re.MULTILINE)
    parts = [
        "# Hooks\n",
        "A hook is called `flatrun_<kind>_<noun>`, and its kind says how it is called and what a failure "
        "means:\n",
        "| kind | how it is called, and what a failure means |\n|---|---|",
        *(f"| `{kind}` | {plain(text)} |" for kind, text in kinds),
        "| `join` | all in turn, inside one operation; the owner says what a failure means |\n",
        "Implement one with `@hookimpl` from `flatrun_core`, in your `plugin.py`; a hook that a plugin owns, "
        "with `@hookimpl(optionalhook=True)`, so that your plugin works without its owner. `ctx` is your own "
        "plugin's `PluginContext`. An implementation may leave out any argument. All run in the order in "
        "which the plugins start.\n",
    ]
    parts += section_of_hooks("the core", ROOT / "hookspecs.py")
    for slug in slugs():
        path = ROOT / "plugins" / slug / "src" / f"flatrun_{slug}" / "hookspecs.py"
        if path.exists():
            parts += section_of_hooks(f"the plugin `{slug}`", path)
    return NOTE + "\n".join(parts)


def section_of_hooks(owner: str, path: Path) -> list[str]:
    """The hooks of one file."""
    parts, section = [f"## Hooks of {owner}\n"], ""
    for hook in hooks_of(path):
        if hook.section != section:
            section = hook.section
            parts.append(f"### {section.capitalize()}\n")
        parts.append(f"#### `{hook.name}`\n\n```python\n{hook.signature}\n```\n\n{hook.text}\n")
    return parts


# --- settings ---


def settings_document(panel: Any) -> str:
    """docs/settings.md."""
    owners: dict[str, list[Any]] = {}
    for slug, group in panel.groups:
        owners.setdefault(slug, []).append(group)
    parts = [
        "# Settings\n",
        "Settings are read from `flatrun.yml` (`--config`, `$FLATRUN_CONFIG`, `./flatrun.yml` or "
        "`/etc/flatrun/flatrun.yml`, whichever is first), where `api.port` is the key `port` below `api:`, "
        "and from the environment, which wins. A variable's value is read as YAML where text is not wanted: "
        "`FLATRUN_PLUGINS__DISABLED=[templates]`. With `_FILE` behind the name of a secret it is read from "
        "that file.\n",
        "`flatrun config --check` names every problem of the file at once. `PUT /api/settings` changes "
        "settings while the panel runs and writes them to the file, whose comments and order stay.\n",
    ]
    for slug in sorted(owners, key=lambda name: (name != "core", name)):
        title = "The core" if slug == "core" else f"Plugin `{slug}`"
        parts += [f"## {title}\n", settings_table(owners[slug]) + fixed(owners[slug])]
    return NOTE + "\n".join(parts)


def fixed(groups: list[Any]) -> str:
    """Which keys are read at the start only."""
    keys = [f"`{group.name}.{key}`".replace("`.", "`") for group in groups for key in sorted(group.read_only)]
    return f"\nRead when the panel starts, and not changed by the API: {', '.join(keys)}.\n" if keys else ""


# --- plugins ---


def plugins_document(panel: Any) -> str:
    """docs/plugins.md."""
    parts = [
        "# Plugins\n",
        "Every feature is a plugin, a distribution of its own beside the core. `flatrun plugins` shows "
        "those that are installed, with their state: `active`, `disabled` (by `plugins.disabled` or "
        "`plugins.only`), `unavailable` (something it requires is not active) or `failed`, each with the "
        "reason.\n",
        "| plugin | what it is for | routes | requires | uses |\n|---|---|---|---|---|",
    ]
    records = [record for record in panel.plugins if record.slug in slugs()]
    for record in records:
        routes = sum(owner == record.slug for owner, _ in panel.accesses.values())
        parts.append(
            f"| [`{record.slug}`](#{record.slug}) | {summary(record.slug)} | {routes} | "
            f"{listed(record.info.requires)} | {listed(record.info.uses)} |"
        )
    parts += ["", *plugin_section("core", "Core", "", panel)]
    for record in records:
        parts += plugin_section(
            record.slug, record.slug, f"See [its README](../plugins/{record.slug}/README.md).\n", panel
        )
    return NOTE + "\n".join(parts)


def listed(names: Any) -> str:
    """Names as code, or nothing."""
    return ", ".join(f"`{name}`" for name in names)


def summary(slug: str) -> str:
    """What the plugin's own package says it is."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "plugins" / slug / "setup.cfg")
    return config["metadata"]["description"]


def plugin_section(slug: str, title: str, text: str, panel: Any) -> list[str]:
    """One plugin's routes and permissions."""
    parts = [f"## {title}\n", *([text] if text else [])]
    routes = [
        (rule, method, access) for (rule, method), (owner, access) in panel.accesses.items() if owner == slug
    ]
    parts.append("| route | permission | level on the deployment |\n|---|---|---|")
    for rule, method, access in sorted(routes, key=lambda route: (route[0], route[1])):
        wanted = listed(access.permissions).replace(", ", " or " if access.any_of else " and ")
        level = access.level.name.lower() if access.level is not None else ""
        parts.append(f"| `{method.upper()} {rule}` | {wanted or access.kind} | {level} |")
    used = {name for _, _, access in routes for name in access.permissions}
    parts += ["", "| permission | for what | roles that hold it |\n|---|---|---|"]
    for permission in panel.permissions.known().values():
        if permission.name in used:
            roles = listed(permission.roles)
            parts.append(f"| `{permission.name}` | {permission.description} | {roles} |")
    return [*parts, ""]


# --- permissions ---


def permissions_document(panel: Any) -> str:
    """docs/permissions.md."""
    known = panel.permissions.known()
    roles = sorted({role for one in known.values() for role in one.roles}, key=ROLES.index)
    parts = [
        "# Permissions and routes\n",
        "Who needs what, as the routes themselves declare it and the core enforces it. "
        "`GET /api/permissions` answers the same of a running panel, with the plugins of others that are "
        "installed there. How an account or a key comes to its permissions is in "
        "[identity.md](identity.md).\n",
        "## Permissions\n",
        f"{len(known)} permissions and the roles that hold them.\n",
        f"| permission | {' | '.join(roles)} | for what | of |",
        f"|---|{':-:|' * len(roles)}---|---|",
    ]
    for one in known.values():
        marks = " | ".join("●" if role in one.roles else "" for role in roles)
        parts.append(f"| `{one.name}` | {marks} | {one.description} | `{one.plugin}` |")
    parts += [
        "",
        "## Routes\n",
        "A route needs its permissions and, where a level is named, that level of access to the deployment. "
        "Where it says any identity, every valid credential will do; where it says nothing, none is needed. "
        "A route that declares none of these keeps its plugin from starting.\n",
        "| method | path | needs | level | of |\n|---|---|---|---|---|",
    ]
    routes = published_accesses(panel.accesses)
    parts += [route_row(route) for route in sorted(routes, key=lambda one: (one["path"], one["method"]))]
    return NOTE + "\n".join(parts) + "\n"


def route_row(route: dict[str, Any]) -> str:
    """One route of the table."""
    needs = {"authenticated": "any identity", "public": "nothing"}.get(route["access"])
    if needs is None:
        needs = listed(route["permissions"]).replace(", ", " or " if route["any_of"] else " and ")
    level = route["level"] or ""
    return f"| {route['method']} | `{route['path']}` | {needs} | {level} | `{route['plugin']}` |"


# --- errors, the API document, and code in written documents ---


def errors_page(_: Any) -> str:
    """docs/errors.md."""
    folders = {"core": ROOT / "flatrun_core"}
    folders |= {slug: ROOT / "plugins" / slug / "src" for slug in slugs()}
    return NOTE + errors_document(folders)


def openapi_document(panel: Any) -> str:
    """docs/openapi.json."""
    return json.dumps(panel.document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def with_code(text: str) -> str:
    """A written document with its code blocks cut anew."""
    return CUT.sub(lambda found: f"{found[1]}```{found[4]}\n{cut(ROOT / found[2], found[3])}\n```\n", text)


def cut(path: Path, name: str | None) -> str:
    """The text of a file, or of one definition in it with its decorators."""
    source = path.read_text()
    if not name:
        return source.rstrip("\n")
    for node in ast.parse(source).body:
        if defines(node, name):
            first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
            return "\n".join(source.splitlines()[first - 1 : node.end_lineno])
    raise SystemExit(f"{path.relative_to(ROOT)} defines no {name}")


def defines(node: ast.stmt, name: str) -> bool:
    """Whether a statement defines the name."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name == name
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


GENERATED: dict[str, Callable[[Any], str]] = {
    "hooks.md": hooks_document,
    "settings.md": settings_document,
    "plugins.md": plugins_document,
    "permissions.md": permissions_document,
    "errors.md": errors_page,
    "openapi.json": openapi_document,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
