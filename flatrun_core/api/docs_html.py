"""The HTML of the documentation page: operations by tag, schemas as tables, examples, a curl line."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from flatrun_core.api.docs_operation import Operation, curl_line, operations
from flatrun_core.api.examples import resolved

_DEEPEST = 4
_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "matches {}",
}
_CODE = re.compile(r"`([^`]+)`")
_NOTHING = Markup("")


def page_html(document: Mapping[str, Any], style: str, script: str) -> str:
    """The whole page, with a style and a script that are trusted as they are."""
    by_tag: dict[str, list[Operation]] = {tag["name"]: [] for tag in document.get("tags", ())}
    for operation in operations(document):
        by_tag.setdefault(operation.tag, []).append(operation)
    groups = {tag: found for tag, found in by_tag.items() if found}
    texts = {tag["name"]: str(tag.get("description", "")) for tag in document.get("tags", ())}
    info = document["info"]
    return str(
        Markup(
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<link rel="icon" href="data:,"><title>{title} API</title><style>{style}</style></head><body>'
            '<a class="skip" href="#content">Skip to the operations</a>{nav}'
            '<main id="content">{intro}{groups}<p class="none" hidden>No operation matches.</p></main>'
            "<script>{script}</script></body></html>"
        ).format(
            title=info["title"],
            style=Markup(style),  # noqa: S704 - a file of this package
            script=Markup(script),  # noqa: S704 - a file of this package
            nav=_nav(info, groups),
            intro=_intro(info),
            groups=_join(_group(tag, texts.get(tag, ""), found) for tag, found in groups.items()),
        )
    )


def _join(parts: Iterator[Markup] | Sequence[Markup]) -> Markup:
    return Markup("").join(parts)


def _nav(info: Mapping[str, Any], groups: Mapping[str, Sequence[Operation]]) -> Markup:
    tags = _join(
        Markup('<div class="tag"><h2><a href="#tag-{tag}">{title}</a></h2><ul>{items}</ul></div>').format(
            tag=tag, title=_title(tag), items=_join(_nav_item(operation) for operation in found)
        )
        for tag, found in groups.items()
    )
    return Markup(
        '<nav aria-label="Operations"><a class="brand" href="#content">{title}<small>{version}</small></a>'
        '<input id="filter" type="search" placeholder="Filter, or press /" aria-label="Filter" '
        'autocomplete="off" spellcheck="false" hidden data-js><p class="count" role="status"></p>'
        '<div class="tags">{tags}</div></nav>'
    ).format(title=info["title"], version=info["version"], tags=tags)


def _nav_item(operation: Operation) -> Markup:
    return Markup(
        '<li><a href="#{id}"><span class="m m-{method}">{short}</span>'
        '<span class="path">{path}</span></a></li>'
    ).format(
        id=operation.id,
        method=operation.method,
        short="del" if operation.method == "delete" else operation.method,
        # A long path breaks before a slash, not inside a word.
        path=Markup("<wbr>/").join(operation.path.removeprefix("/api").split("/")),
    )


def _intro(info: Mapping[str, Any]) -> Markup:
    return Markup(
        '<h1>{title} API</h1><div class="intro"><p>{text}</p>'
        "<p>Send a credential as <code>Authorization: Bearer …</code>, <code>Authorization: ApiKey …</code> "
        "or <code>X-API-Key: …</code>. The machine-readable form of this page is "
        '<a href="/api/openapi.json">openapi.json</a>.</p></div>'
        '<div class="key" hidden data-js><label for="key">Key for trying</label>'
        '<input id="key" type="password" autocomplete="off" '
        'placeholder="Stays in this page, gone on reload"></div>'
    ).format(title=info["title"], text=_text(str(info.get("description", ""))))


def _group(tag: str, text: str, found: Sequence[Operation]) -> Markup:
    return Markup('<section id="tag-{tag}"><h2>{title}</h2><p>{text}</p>{ops}</section>').format(
        tag=tag, title=_title(tag), text=_text(text), ops=_join(_operation(each) for each in found)
    )


def _operation(operation: Operation) -> Markup:
    raw = operation.raw
    described = raw.get("description")
    words = (operation.method, operation.path, raw.get("summary", ""), operation.tag, raw.get("x-plugin", ""))
    return Markup(
        '<details class="op" id="{id}" data-text="{words}"><summary>'
        '<span class="m m-{method}">{method}</span><span class="path">{path}</span>'
        '<span class="sum">{summary}</span></summary><div class="body">'
        "{text}{facts}{parameters}{body}{answers}{errors}{curl}{attempt}</div></details>"
    ).format(
        id=operation.id,
        words=" ".join((*words, *raw.get("x-permissions", ()))).lower(),
        method=operation.method,
        path=operation.path,
        summary=_text(str(raw.get("summary", ""))),
        text=Markup("<p>{}</p>").format(_text(described)) if described else _NOTHING,
        facts=_facts(operation),
        parameters=_parameters(operation),
        body=_body(operation),
        answers=_answers(operation),
        errors=_errors(operation),
        curl=_curl(operation),
        attempt=_attempt(operation),
    )


def _facts(operation: Operation) -> Markup:
    raw = operation.raw
    joiner = " or " if raw.get("x-permissions-any") else " and "
    facts = [
        ("permission", joiner.join(raw.get("x-permissions", ()))),
        ("level on the deployment", raw.get("x-level", "")),
        ("plugin", raw.get("x-plugin", "")),
        ("operation", operation.id),
    ]
    shown = [Markup("<li>{} <b>{}</b></li>").format(*fact) for fact in facts if fact[1]]
    if operation.public:
        shown.insert(0, Markup("<li><b>public</b></li>"))
    elif not raw.get("x-permissions"):
        shown.insert(0, Markup("<li><b>any identity</b></li>"))
    return Markup('<ul class="facts">{}</ul>').format(_join(shown))


def _parameters(operation: Operation) -> Markup:
    rows = [
        _row(one["name"], _described(one), operation, bool(one.get("required")), _Place(asked=True))
        for one in operation.parameters
    ]
    return _section("Parameters", _table("Name", rows)) if rows else _NOTHING


def _described(parameter: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter's schema with its text, which says where the parameter goes."""
    place = f"In the {parameter['in']}."
    text = f"{parameter['description']}. {place}" if parameter.get("description") else place
    return {**parameter.get("schema", {}), "description": text}


def _body(operation: Operation) -> Markup:
    if operation.body is None:
        return _NOTHING
    note = operation.raw["requestBody"].get("description", "")
    inner = _shape(operation.body, operation, sparse=True)
    return _section("Request body", (Markup("<p>{}</p>").format(_text(note)) if note else _NOTHING) + inner)


def _answers(operation: Operation) -> Markup:
    parts = []
    for status in operation.raw["responses"]:
        if not status.startswith("2"):
            continue
        response = operation.response(status)
        for kind, media in response.get("content", {"": {}}).items():
            title = Markup('Answer <span class="status s2">{}</span> {}').format(status, kind)
            inner = _shape(media, operation, sparse=False) if kind == "application/json" else _other(media)
            parts.append(_section(title, inner))
    return _join(parts)


def _other(media: Mapping[str, Any]) -> Markup:
    example = media.get("example")
    return Markup("<pre>{}</pre>").format(example) if example else _NOTHING


def _shape(media: Mapping[str, Any], operation: Operation, *, sparse: bool) -> Markup:
    rows = list(_rows(media.get("schema", {}), operation, _Place(asked=sparse)))
    example = json.dumps(operation.example(media, sparse=sparse), indent=2, ensure_ascii=False)
    shown = Markup("<pre>{}</pre>").format(example)
    if not rows:
        return shown
    return Markup('<div class="cols"><div>{}</div><div>{}</div></div>').format(_table("Field", rows), shown)


@dataclass(frozen=True)
class _Place:
    """Where in a schema a field stands, and whether it is asked for or answered."""

    asked: bool
    depth: int = 0
    inside: tuple[str, ...] = ()

    def below(self, reference: str, deeper: int) -> "_Place":
        return _Place(self.asked, self.depth + deeper, (*self.inside, reference))

    def mark(self, required: bool) -> Markup:
        """What is asked for may be required; what is answered is there unless it says so."""
        if self.asked:
            return Markup('<span class="req">required</span>') if required else _NOTHING
        return _NOTHING if required else Markup('<span class="opt">not always</span>')


def _rows(schema: Mapping[str, Any], operation: Operation, place: _Place) -> Iterator[Markup]:
    """A row for each field, nested ones below it; a schema inside itself is not followed again."""
    reference = schema.get("$ref", "")
    if place.depth > _DEEPEST or (reference and reference in place.inside):
        return
    shape = resolved(schema, operation.schemas)
    if shape.get("type") == "array":
        yield from _rows(shape.get("items", {}), operation, place.below(reference, 0))
        return
    required = set(shape.get("required", ()))
    for name, inner in shape.get("properties", {}).items():
        yield _row(name, inner, operation, name in required, place)
        yield from _rows(inner, operation, place.below(reference, 1))


def _row(name: str, schema: Mapping[str, Any], operation: Operation, required: bool, place: _Place) -> Markup:
    shape = resolved(schema, operation.schemas)
    return Markup('<tr><td class="d{}">{}{}</td><td>{}</td><td>{}{}</td></tr>').format(
        place.depth,
        name,
        place.mark(required),
        _kind(shape, operation),
        _text(str(shape.get("description", ""))),
        _more(shape),
    )


def _kind(shape: Mapping[str, Any], operation: Operation) -> str:
    kind = str(shape.get("type", "any"))
    if kind == "array":
        return f"list of {_kind(resolved(shape.get('items', {}), operation.schemas), operation)}"
    text = str(shape["format"]) if "format" in shape else kind
    return f"{text} or null" if shape.get("nullable") else text


def _more(shape: Mapping[str, Any]) -> Markup:
    notes = [text.format(shape[key]) for key, text in _LIMITS.items() if key in shape]
    values = _join([Markup("<code>{}</code> ").format(value) for value in shape.get("enum", ())])
    default = shape.get("default")
    if default not in (None, "", [], {}):
        notes.append(f"default {json.dumps(default)}")
    text = escape("; ".join(notes))
    return Markup('<span class="more">{}{}</span>').format(values, text) if values or text else _NOTHING


def _errors(operation: Operation) -> Markup:
    rows = [
        Markup('<dt class="status s{}">{}</dt><dd>{}</dd>').format(
            status[0], status, _text(str(operation.response(status).get("description", "")))
        )
        for status in operation.raw["responses"]
        if status[0] in "45"
    ]
    return _section("Failures", Markup('<dl class="errors">{}</dl>').format(_join(rows)))


def _curl(operation: Operation) -> Markup:
    line = Markup(
        '<div class="line"><pre>{}</pre><button type="button" class="copy" hidden data-js>Copy</button></div>'
    ).format(curl_line(operation))
    return _section("curl", line)


def _attempt(operation: Operation) -> Markup:
    inputs = _join([_input(one) for one in operation.parameters if one["in"] in ("path", "query")])
    body = _NOTHING
    if operation.body is not None:
        text = json.dumps(operation.example(operation.body, sparse=True), indent=2, ensure_ascii=False)
        rows = min(24, text.count("\n") + 2)
        body = Markup(
            '<textarea aria-label="Request body" spellcheck="false" rows="{}">{}</textarea>'
        ).format(rows, text)
    changes = Markup('<p class="danger">This changes the panel you are looking at.</p>')
    form = Markup(
        '<details class="try" hidden data-js><summary>Try it</summary><form data-method="{}" data-path="{}">'
        '{}{}{}<div><button class="go">Send</button></div></form>'
        "<output hidden><pre></pre></output></details>"
    )
    return form.format(
        operation.method.upper(),
        operation.path,
        inputs,
        body,
        _NOTHING if operation.method == "get" else changes,
    )


def _input(parameter: Mapping[str, Any]) -> Markup:
    shown = parameter.get("example") or parameter.get("schema", {}).get("example")
    default = parameter.get("schema", {}).get("default")
    hint = shown if shown is not None else json.dumps(default) if default is not None else ""
    return Markup(
        '<label><span>{name}</span><input name="{name}" data-in="{place}" placeholder="{hint}" '
        'autocomplete="off" spellcheck="false"{required}></label>'
    ).format(
        name=parameter["name"],
        place=parameter["in"],
        hint=hint,
        required=Markup(" required") if parameter.get("required") else _NOTHING,
    )


def _section(title: str | Markup, inner: Markup) -> Markup:
    return Markup("<h3>{}</h3>{}").format(title, inner)


def _table(first: str, rows: Sequence[Markup]) -> Markup:
    return Markup(
        '<div class="table"><table><thead><tr><th>{}<th>Type<th>Meaning</tr></thead>'
        "<tbody>{}</tbody></table></div>"
    ).format(first, _join(rows))


def _text(text: str) -> Markup:
    """Plain text with its `code` marked."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def _title(tag: str) -> str:
    return tag.replace("_", " ").capitalize()
