"""The panel's networks in the YAML of a filled compose text, edited in place: all else stays as it is."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import yaml

from flatrun_core.yaml_reader import YamlProblem, read_yaml
from flatrun_templates.substitution import Span

# The name by which templates call the network of the reverse proxy.
PROXY: Final = "proxy"
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_ENDS_WITH_PROXY: Final = re.compile(r"([\"']?)proxy\1\Z")
# Words that some reader of YAML takes for a boolean, a null or a number.
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "inf", "nan"})

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def adapted(text: str, spans: Iterable[Span], proxy_network: str) -> str:
    """The text with its network ``proxy`` called ``proxy_network``, and with quotes where they are due.

    ``spans`` are values that were filled in; one that is a whole scalar and would be read as a
    number, a boolean or a date gets quotes. Raises ``YamlProblem``, also when the template has a
    network of its own by the configured name.
    """
    read_yaml(text)  # within its limits, so that what follows is too
    root = yaml.compose(text, Loader=_Loader)
    edits: dict[Span, str] = {}
    _quote(root, text, spans, edits)
    if proxy_network != PROXY:
        for node in _proxies(root):
            _rename(node, text, proxy_network, edits)
    if not edits:
        return text
    changed = _edited(text, edits)
    try:
        read_yaml(changed)
    except YamlProblem as exc:
        message = f"its network '{PROXY}' cannot be called '{proxy_network}': {exc}"
        raise YamlProblem(message) from exc
    return changed


def declared_external(document: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Those of ``names`` that the file declares as external and every service joins."""
    networks = document.get("networks")
    services = document.get("services")
    if not isinstance(networks, dict) or not isinstance(services, dict):
        return []
    keys = {
        str(settings.get("name") or key): key
        for key, settings in networks.items()
        if isinstance(settings, dict) and settings.get("external")
    }
    joined = [service.get("networks") or () for service in services.values() if isinstance(service, dict)]
    return [name for name in names if name in keys and all(keys[name] in each for each in joined)]


def _edited(text: str, edits: Mapping[Span, str]) -> str:
    done: list[str] = []
    position = 0
    for (start, end), new in sorted(edits.items()):
        done += (text[position:start], new)
        position = end
    return "".join((*done, text[position:]))


def _quote(root: Any, text: str, spans: Iterable[Span], edits: dict[Span, str]) -> None:
    ends = {end: (start, end) for start, end in spans}
    for node in _nodes(root):
        span = ends.get(node.end_mark.index)
        if span is None or not isinstance(node, yaml.ScalarNode) or node.style:
            continue
        if node.value == text[slice(*span)] and _written(node.value) != node.value:
            edits[span] = _written(node.value)


def _rename(node: Any, text: str, name: str, edits: dict[Span, str]) -> None:
    # An anchor or a tag before the word stays.
    match = _ENDS_WITH_PROXY.search(text[: node.end_mark.index], node.start_mark.index)
    if match:
        edits[match.span()] = _written(name)


def _written(value: str) -> str:
    """A value as a YAML scalar that every reader takes for text."""
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    return value if plain else f'"{value}"'


def _nodes(root: Any) -> Iterator[Any]:
    """Every node once, however many aliases it has."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, yaml.MappingNode):
            waiting.extend(part for pair in node.value for part in pair)
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)


def _proxies(root: Any) -> Iterator[Any]:
    """The scalars that name the network: where it is declared, and where services join it."""
    another = False
    for key, declaration in _pairs(_value(root, "networks")):
        name = _value(declaration, "name")
        if name is not None and name.value == PROXY:
            yield name
        if key.value == PROXY:
            # With a name of its own it is another network, whatever its key.
            another = name is not None and name.value != PROXY
            if not another:
                yield key
    if another:
        return
    for _, service in _pairs(_value(root, "services")):
        networks = _value(service, "networks")
        joined = networks.value if isinstance(networks, yaml.SequenceNode) else ()
        keys = [*joined, *(key for key, _ in _pairs(networks))]
        yield from (key for key in keys if key.value == PROXY)


def _value(mapping: Any, wanted: str) -> Any:
    """The value of a key, merge keys followed; None when it is absent."""
    return next((value for key, value in _pairs(mapping) if key.value == wanted), None)


def _pairs(mapping: Any) -> Iterator[tuple[Any, Any]]:
    """The pairs of a mapping, its own before merged ones. What they expand to was counted before."""
    if not isinstance(mapping, yaml.MappingNode):
        return
    merged: list[Any] = []
    for key, value in mapping.value:
        if key.value == "<<" and not key.style:
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
        else:
            yield key, value
    for inner in merged:
        yield from _pairs(inner)
