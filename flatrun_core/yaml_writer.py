"""Plain values as YAML that every reader takes for the same values."""

from typing import Any, Final

import yaml

from flatrun_core.yaml_reader import YamlProblem, read_yaml

_WIDTH: Final = 1000  # characters; a value stays on its line


class _Writer(yaml.SafeDumper):
    """PyYAML's, which knows the numbers of YAML 1.1 only and would leave ``1e5`` and ``0o17`` bare."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """A text, in quotes where bare it would be read as something else."""
        style = None if _reads_as_itself(text) else "'"
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Writer.add_representer(str, _Writer.represent_text)


def write_yaml(value: Any) -> str:
    """The YAML text of plain values, mappings in their order; what is none raises ``yaml.YAMLError``."""
    text: str = yaml.dump(value, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return text


def _reads_as_itself(text: str) -> bool:
    if not text[:1].isascii() or text[:1].isalpha() or "\n" in text:
        return True  # words that are no texts, as ``yes``, are the same in both versions
    try:
        return isinstance(read_yaml(text), str)
    except YamlProblem:
        return True  # needs quotes in any version, and gets them
