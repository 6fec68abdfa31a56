"""The bounded YAML reader of the core, under the name this plugin knows it by."""

from flatrun_core.yaml_reader import MAX_DEPTH, MAX_TEXT, YamlProblem, read_yaml

__all__ = ["MAX_DEPTH", "MAX_TEXT", "YamlProblem", "read_yaml"]
