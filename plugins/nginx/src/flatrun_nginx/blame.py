"""Whose file it is that nginx refuses, by what it prints."""

import re
from collections.abc import Mapping
from typing import Final

_FATAL: Final = re.compile(r"\[(?:emerg|alert|crit)\]\s*(?:\d+#\d+:\s*)?(.*)")
_PLACE: Final = re.compile(r"\bin (/\S+?):\d+")
_QUOTED: Final = re.compile(r'"(/[^"\s]+)"')


def fatal(output: str) -> str:
    """The line that says why, without nginx's preamble; the whole text where there is none."""
    found = _FATAL.search(output)
    return found[1].strip() if found else output.strip()


def error(line: str) -> str:
    """What a line of nginx's log says, where it tells of something that keeps nginx from working."""
    found = _FATAL.search(line)
    return found[1].strip() if found else ""


def quoted(output: str) -> list[str]:
    """The paths that the line names which says why, as of a certificate that cannot be loaded."""
    return _QUOTED.findall(fatal(output))


def blamed(output: str, folder: str, texts: Mapping[str, str]) -> list[str]:
    """Names of the files in ``folder`` that a refusal is about; none where it does not say.

    A certificate that cannot be loaded is named by its own path only: then it is every file that
    names it.
    """
    line = fatal(output)
    for place in _PLACE.findall(line):
        if place.startswith(folder + "/") and place.removeprefix(folder + "/") in texts:
            return [place.removeprefix(folder + "/")]
    for path in quoted(output):
        using = [name for name, text in texts.items() if path in text]
        if using:
            return sorted(using)
    return []


def readable(output: str, staged: str, live: str) -> str:
    """The same words with the places of the files as they are when nothing is being tested."""
    return output.replace(staged, live).strip()
