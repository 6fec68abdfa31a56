"""The YAML of compose files, as far as it can be judged without Docker."""

from collections.abc import Mapping
from typing import Any

from flatrun_core.errors import Invalid
from flatrun_deployments.yaml_reader import MAX_TEXT, YamlProblem, read_yaml

__all__ = ["MAX_TEXT", "parse"]


def parse(text: str) -> Mapping[str, Any]:
    """The document of a compose text; not to be changed, as aliases share their values.

    Raises ``Invalid`` ``COMPOSE_INVALID``, naming the line where there is one, for what is not
    YAML, is no mapping, is larger than 1 MiB or expands beyond measure.
    """
    try:
        document = read_yaml(text)
    except YamlProblem as exc:
        raise Invalid(f"The compose file cannot be read: {exc}", code="COMPOSE_INVALID") from exc
    if not isinstance(document, dict):
        raise Invalid("The compose file is not a YAML mapping", code="COMPOSE_INVALID")
    return document
