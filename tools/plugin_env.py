#!/usr/bin/env python3
"""What a tox environment holds beside the core: installed from the tree, since none of it is on an index.

tools/plugin_env.py all               every plugin and every example
tools/plugin_env.py examples          every example and the plugins that they need
tools/plugin_env.py plugin-SLUG       one plugin and those that it needs
tools/plugin_env.py plugin-SLUG --test [ARGUMENT ...]    run that plugin's tests
"""

import configparser
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def distributions(kind: str) -> dict[str, Path]:
    """The folders of ``plugins`` or ``examples`` that are distributions, by the name of each."""
    found = {}
    for path in sorted((ROOT / kind).glob("*/setup.cfg")):
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(path)
        found[parser["metadata"]["name"].strip()] = path.parent
    return found


def tests_require(parser: configparser.ConfigParser) -> str:
    """The requirements of the extra ``test``, if there is one."""
    return parser.get("options.extras_require", "test", fallback="")


def needed(folders: Iterable[Path], plugins: dict[str, Path]) -> list[Path]:
    """These folders, each after the plugins that it or its tests require, directly or by others."""
    result: dict[Path, None] = {}
    for folder in folders:
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(folder / "setup.cfg")
        requirements = parser["options"]["install_requires"] + "\n" + tests_require(parser)
        names = re.findall(r"^\s*([A-Za-z0-9-]+)", requirements, re.MULTILINE)
        result |= dict.fromkeys(needed([plugins[name] for name in names if name in plugins], plugins))
        result[folder] = None
    return list(result)


def wanted(environment: str) -> list[Path]:
    """The folders that an environment installs, each after those it needs."""
    plugins, examples = distributions("plugins"), distributions("examples")
    if environment == "all":
        return needed([*plugins.values(), *examples.values()], plugins)
    if environment == "examples":
        return needed(examples.values(), plugins)
    return needed([ROOT / "plugins" / environment.removeprefix("plugin-")], plugins)


def main(environment: str, arguments: list[str]) -> int:
    """Install or test; the exit code of what was run."""
    if arguments[:1] == ["--test"]:
        tests = f"plugins/{environment.removeprefix('plugin-')}"
        command = [sys.executable, "-m", "pytest", "-m", "not e2e", tests, *arguments[1:]]
    else:
        folders = [text for folder in wanted(environment) for text in ("-e", str(folder))]
        command = [sys.executable, "-m", "pip", "install", "-q", *folders]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
