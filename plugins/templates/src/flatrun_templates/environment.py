"""Environment variables that a template wants: given, by default, or generated."""

import base64
import re
import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flatrun_core import Invalid
from flatrun_templates.substitution import fill_content, unresolved

KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_RECIPE: Final = re.compile(r"(password|hex|base64|laravel)(?::([0-9]{1,3}))?")
_LETTERS: Final = string.ascii_letters + string.digits
_SHORTEST, _LONGEST = 16, 256


@dataclass(frozen=True, slots=True)
class Variable:
    """One entry of ``env``; ``generate`` is a recipe that ``generator`` knows, or empty."""

    key: str
    default: str | None = None
    required: bool = False
    generate: str = ""


def generator(recipe: str) -> Callable[[], str] | None:
    """What makes random values of a kind; None for an unknown one.

    ``password[:n]`` and ``hex[:n]`` have n characters, ``base64[:n]`` n bytes in base64, and
    ``laravel`` is an ``APP_KEY``. n is 16 to 256, by default 32.
    """
    match = _RECIPE.fullmatch(recipe)
    if not match:
        return None
    size = int(match[2] or 32)
    if not _SHORTEST <= size <= _LONGEST:
        return None
    if match[1] == "laravel":
        return lambda: "base64:" + _base64(32)
    kinds = {
        "password": lambda: "".join(secrets.choice(_LETTERS) for _ in range(size)),
        "hex": lambda: secrets.token_hex(size)[:size],
        "base64": lambda: _base64(size),
    }
    return kinds[match[1]]


def complete(
    variables: Sequence[Variable], given: Mapping[str, str], fixed: Mapping[str, str], template_id: str
) -> dict[str, str]:
    """What a template adds to the environment ``given``; a key that is there is never made anew.

    A default may use ``${NAME}``, ``${PORT}`` and ``${DOMAIN}`` of ``fixed``; where one of them has
    no value the variable stays unset. Raises ``Invalid`` for a required one without a value.
    """
    added: dict[str, str] = {}
    for variable in variables:
        if variable.key not in given:
            value = _value(variable, fixed)
            if value is not None:
                added[variable.key] = value
        if variable.required and not {**given, **added}.get(variable.key):
            raise Invalid(f"The template '{template_id}' needs the environment variable {variable.key}")
    return added


def _value(variable: Variable, fixed: Mapping[str, str]) -> str | None:
    make = generator(variable.generate) if variable.generate else None
    if make is not None:
        return make()
    if variable.default is None or unresolved(variable.default, fixed):
        return None
    return fill_content(variable.default, fixed)


def _base64(size: int) -> str:
    return base64.b64encode(secrets.token_bytes(size)).decode()
