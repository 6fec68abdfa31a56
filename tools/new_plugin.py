#!/usr/bin/env python3
"""Make a plugin that installs and passes its tests at once: ``python tools/new_plugin.py <slug>``.

It is a copy of ``examples/hello_plugin`` under another name, so what a newcomer gets is always what
is tested. With ``--into`` it is made elsewhere, as a plugin of your own; below ``plugins/`` the core's
extras and the tox environments get it too.
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "hello_plugin"
SLUG = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
RESERVED = {
    *("core", "plugins", "settings", "health", "docs", "openapi", "permissions"),
    *("hello", "proxy_login", "testing_login"),
}
LEFT_OUT = {"__pycache__", ".pytest_cache", ".hypothesis", "build"}


def main(arguments: list[str]) -> int:
    """Make the plugin and say what to do next; 2 for a name that cannot be used."""
    parser = argparse.ArgumentParser(description="Make a plugin from examples/hello_plugin.")
    parser.add_argument("slug", help="its name: lower-case letters, digits and underscores")
    parser.add_argument("--into", type=Path, help="where to make it (default: plugins/<slug>)")
    chosen = parser.parse_args(arguments)
    target = chosen.into or ROOT / "plugins" / chosen.slug
    problem = refusal(chosen.slug, target)
    if problem:
        print(problem, file=sys.stderr)
        return 2
    for source in sorted(files(EXAMPLE)):
        copy = target / renamed(str(source.relative_to(EXAMPLE)), chosen.slug)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(rewritten(source.read_text(), chosen.slug))
    if chosen.into is None:
        enlist(chosen.slug)
    print(f"Made {target}. Next:\n  pip install -e {target}\n  pytest {target}\n  flatrun plugins")
    return 0


def refusal(slug: str, target: Path) -> str:
    """Why a plugin of this name cannot be made here, or nothing."""
    if not SLUG.fullmatch(slug):
        return (
            f"'{slug}' is not a plugin name: lower-case letters, digits and single underscores, letter first"
        )
    if slug in RESERVED:
        return f"'{slug}' is taken by the core or its examples"
    if target.exists():
        return f"{target} exists already; nothing was changed"
    return ""


def files(folder: Path) -> list[Path]:
    """The example's own files, without what tools left there."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part in LEFT_OUT or part.endswith(".egg-info") for part in path.relative_to(folder).parts)
    ]


def renamed(text: str, slug: str) -> str:
    """A path or a name with the example's name replaced."""
    return text.replace("hello_plugin", slug).replace("hello", slug)


def rewritten(text: str, slug: str) -> str:
    """A file's text under the new name, in each of its spellings."""
    distribution = slug.replace("_", "-")
    title = slug.replace("_", " ").title()
    text = text.replace("flatrun-hello", f"flatrun-{distribution}").replace(
        "examples/hello_plugin", f"plugins/{slug}"
    )
    text = text.replace('display_name="Hello"', f'display_name="{title}"').replace("# Hello,", f"# {title},")
    text = text.replace('category="examples"', 'category=""')
    return text.replace("HELLO", slug.upper()).replace("Hello", title.replace(" ", "")).replace("hello", slug)


def enlist(slug: str) -> None:
    """Name the plugin in the core's extras and in tox, in the order of the folders."""
    setup = ROOT / "setup.cfg"
    text = setup.read_text()
    version = re.search(r"^version = (.+)$", text, re.MULTILINE)
    requirement = f"flatrun-{slug.replace('_', '-')}=={version.group(1) if version else '0'}"
    text = text.replace("\nall =\n", f"\n{slug} = {requirement}\nall =\n    {requirement}\n", 1)
    setup.write_text(text)
    tox = ROOT / "tox.ini"
    if tox.exists():
        tox.write_text(re.sub(r"plugin-\{([^}]*)\}", rf"plugin-{{\1,{slug}}}", tox.read_text()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
