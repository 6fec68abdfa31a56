"""One ``service.yml`` being changed: the round trip, the write, and the way back."""

import json
import logging
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from copy import copy
from io import StringIO
from pathlib import Path
from typing import Any, Final

from flatrun_core.errors import Conflict, FlatrunError, Invalid
from flatrun_core.ports.deployments import EditableMetadata
from flatrun_deployments.files import atomic_write
from flatrun_deployments.text_merge import merge
from flatrun_deployments.text_pieces import Pieces
from flatrun_deployments.yaml_reader import YamlProblem, read_yaml

# A line that opens a block, and the empty and comment lines after it.
_OPENING: Final = r"[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\r?\n(?:[ \t]*(?:#[^\n]*)?\r?\n)*"
_BOM: Final = "\ufeff"
# Passwords of backups may stand in it.
_NEW_MODE: Final = 0o600
# Bytes of a file from which reading it by the library is felt, and how many such files are remembered.
_WORTH_KEEPING: Final = 4096
_MOST_KEPT: Final = 16

log = logging.getLogger(__name__)

# A text's form, the library's document of it, and the text as the library writes it.
_Known = tuple["_Text", MutableMapping[str, Any], str]


class ServiceDocument(EditableMetadata):
    """The top level of the file; values below it are dicts and lists to change in place.

    ``before`` is what the file holds, None when there is none; ``check`` raises ``YamlProblem`` for
    a text that is no metadata. The constructor raises it too.
    """

    def __init__(
        self,
        path: Path,
        before: bytes | None,
        check: Callable[[str], None],
        kept: "KeptDocuments | None" = None,
    ) -> None:
        self._path = path
        self._before = before
        self._current = before
        self._saved: str | None = None
        self._times = (0, 0) if before is None else _times(path)
        self._check = check
        self._kept = kept
        self._body = ""
        self._pieces: Pieces | None = None
        known = kept.take(path, before) if kept is not None else None
        if known is not None:
            self._text, self._data, self._unchanged = known
            self._pieces = Pieces.of(self._unchanged, self._data)
            return
        self._text = _Text((before or b"").decode())
        check(self._text.body)
        self._data = self._text.load()
        # Had from the library before anything changes: how it would have written this file.
        self._unchanged = self._text.dump(self._data)

    def keep(self) -> None:
        """Spare the next change of the same bytes the reading; for who is done without a failure."""
        as_written = bool(self._body) and self._current == self._text.encode(self._body)
        if self._kept is not None and as_written:
            self._kept.put(self._path, self._current or b"", (self._text, self._data, self._body))

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._data[key] = value

    def __delitem__(self, key: str) -> None:
        del self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def save(self) -> None:
        """Write what has changed, now.

        Raises ``Invalid`` for a value that cannot be in it, ``Conflict`` when somebody else has
        changed the file meanwhile, ``Failed`` when the disk refuses.
        """
        picture = _picture(self._data)
        if picture is not None and picture == self._saved:
            return
        data = self._changed()
        if data is None:
            return
        if _content(self._path) != self._current:
            raise Conflict(f"{self._path.name} was changed by somebody else at the same time")
        atomic_write(self._path, data, mode=None if self._before is not None else _NEW_MODE)
        self._current = data
        self._saved = picture

    def restore(self) -> None:
        """Put back what was there before, unless nothing was written or somebody else wrote since."""
        if self._current == self._before:
            return
        try:
            if _content(self._path) != self._current:
                log.warning("%s was changed by somebody else and is not put back", self._path)
            elif self._before is None:
                self._path.unlink()
            else:
                atomic_write(self._path, self._before)
                with suppress(OSError):
                    os.utime(self._path, ns=self._times)
        except (OSError, FlatrunError):
            # The exception on its way is the one to be seen.
            log.exception("%s could not be put back", self._path)
        else:
            self._current, self._saved = self._before, None

    def _changed(self) -> bytes | None:
        """The new content, or None when it would say the same as the file does."""
        try:
            body = self._from_pieces() or self._text.dump(self._data)
            self._check(body)
            new, old = (read_yaml(text, string_keys=False) for text in (body, self._said()))
            self._body = body
        except YamlProblem as exc:
            raise Invalid(f"{self._path.name} cannot be written: {exc}") from exc
        if json.dumps(new) == json.dumps(old or {}):
            return None
        return self._text.encode(self._as_written(body, new))

    def _from_pieces(self) -> str:
        """The text out of pieces of the last one, if it says what the values do; else empty."""
        body = self._pieces.renewed(self._data, self._text.dump) if self._pieces is not None else None
        try:
            same = body and json.dumps(read_yaml(body, string_keys=False)) == _picture(self._data)
        except YamlProblem:
            return ""
        return body if body and same else ""

    def _as_written(self, body: str, meant: Any) -> str:
        """The text with only the changed lines in the library's own form, if it says the same."""
        merged = merge(self._unchanged, self._text.normal, body)
        if merged == body:
            return body
        try:
            self._check(merged)
            return merged if json.dumps(read_yaml(merged, string_keys=False)) == json.dumps(meant) else body
        except YamlProblem:
            return body

    def _said(self) -> str:
        return (self._current or b"").decode().removeprefix(_BOM)


class KeptDocuments:
    """The last documents that were changed, for as long as their files hold the very bytes written.

    The library takes a millisecond for each line of a file, twice; who adds a hundred domains one after
    another would wait for that each time. Only files that it wrote as a whole are kept, so that what is
    in memory and what is on the disk are one; a document is given out once, since it is changed in place.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._documents: OrderedDict[Path, tuple[bytes, _Known]] = OrderedDict()

    def take(self, path: Path, content: bytes | None) -> _Known | None:
        """What is known of a file with this content; it is forgotten here."""
        with self._lock:
            before, known = self._documents.pop(path, (None, None))
        return known if known is not None and before == content else None

    def put(self, path: Path, content: bytes, known: _Known) -> None:
        """Keep what is known; short files are read as fast."""
        if len(content) < _WORTH_KEEPING:
            return
        text, data, body = known
        with self._lock:
            self._documents[path] = (content, (text.of(body), data, body))
            while len(self._documents) > _MOST_KEPT:
                self._documents.popitem(last=False)


class _Text:
    """A text's outer form, kept for the way back: byte order mark, line ends, indentation."""

    def __init__(self, text: str) -> None:
        self._bom = _BOM if text.startswith(_BOM) else ""
        self.body = text.removeprefix(_BOM)
        self._crlf = "\r\n" in self.body and not re.search(r"(?<!\r)\n", self.body)
        self._open_end = bool(self.body) and not self.body.endswith("\n")
        self.normal = self.body.replace("\r\n", "\n") + ("\n" if self._open_end else "")
        self._head = ""
        self._yaml: Any = None

    def of(self, body: str) -> "_Text":
        """The same form around another text, which the library wrote."""
        made = copy(self)
        made.body = body.removesuffix("\n") if self._open_end else body
        made.normal = body
        made._head = ""
        return made

    def load(self) -> MutableMapping[str, Any]:
        from ruamel.yaml.comments import CommentedMap  # noqa: PLC0415 - only writers pay for it
        from ruamel.yaml.error import YAMLError  # noqa: PLC0415

        self._yaml = _round_trip(self.body)
        try:
            data = self._yaml.load(self.normal)
        except YAMLError as exc:
            raise YamlProblem(f"it cannot be edited ({type(exc).__name__})") from exc
        if data is None:
            # Comments alone: they stand in front of whatever is added.
            lines = self.normal.splitlines(keepends=True)
            self._head = "".join(line for line in lines if line.startswith("#"))
            data = CommentedMap()
        mapping: MutableMapping[str, Any] = data
        return mapping

    def dump(self, data: Mapping[str, Any]) -> str:
        stream = StringIO()
        self._yaml.dump(data, stream)
        return self._head + (stream.getvalue() if data else "{}\n")

    def encode(self, body: str) -> bytes:
        text = body.removesuffix("\n") if self._open_end else body
        return (self._bom + (text.replace("\n", "\r\n") if self._crlf else text)).encode()


def _round_trip(body: str) -> Any:
    from ruamel.yaml import YAML  # noqa: PLC0415
    from ruamel.yaml.resolver import VersionedResolver  # noqa: PLC0415

    class PlainTimes(VersionedResolver):
        """Leaves times as the text they are, or they would come back in another form."""

        @property
        def versioned_resolver(self) -> Any:
            # Asked for each scalar: of a long file that would be most of the time.
            made = self.__dict__.setdefault("_without_times", {})
            version = str(self.processing_version)
            if version not in made:
                known = super().versioned_resolver.items()
                made[version] = {
                    first: [rule for rule in rules if "timestamp" not in str(rule[0])]
                    for first, rules in known
                }
            return made[version]

    parser = YAML(typ="rt")
    parser.Resolver = PlainTimes
    parser.preserve_quotes = True
    parser.width = 1 << 16
    parser.allow_unicode = True
    parser.explicit_start = bool(re.match(r"(?:[ \t]*(?:#[^\n]*)?\r?\n)*---\s", body))
    mapping, sequence, offset = _indentation(body)
    parser.indent(mapping=mapping, sequence=sequence, offset=offset)
    return parser


def _indentation(body: str) -> tuple[int, int, int]:
    """How far mappings and lists are indented, and the dash in front, by the first of each."""
    nested = re.search(rf"^{_OPENING}( +)[^\s#-]", body, re.MULTILINE)
    mapping = len(nested[1]) if nested else 2
    dashed = re.search(rf"^( *){_OPENING}( *)-( +)\S", body, re.MULTILINE)
    if not dashed:
        return mapping, 4, 2
    offset = max(len(dashed[2]) - len(dashed[1]), 0)
    return mapping, offset + 1 + len(dashed[3]), offset


def _picture(data: Any) -> str | None:
    """What the values say, to see cheaply that nothing has changed; None when that cannot be told."""
    try:
        return json.dumps(data, default=str)
    except (TypeError, ValueError):
        return None


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _times(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_atime_ns, status.st_mtime_ns
