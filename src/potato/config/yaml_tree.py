"""YAML -> plain data whose every part knows its place.

Scalars stay text (`3.10` stays `3.10`, `no` stays `no`); only an empty plain scalar is null. Refused are tags,
anchors, aliases, duplicate keys, several documents, more than 64 levels and more than 32 MB.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast

import yaml

from potato.errors import Problem

MAX_BYTES: Final = 32 * 1024 * 1024
MAX_DEPTH: Final = 64
MAX_PROBLEMS: Final = 200
_DASHES: Final = re.compile(r"(?:-[ \t]+){65}")
_BANG: Final = "\ue000"
_NULLS: Final = frozenset({"", "~", "null"})
_BANG_RULE: Final = re.compile(r"if:[ \t]+!")
_LEADING_BANG: Final = re.compile(r"((?:^|[{,])[ \t]*(?:-[ \t]+)*if:[ \t]+)!", re.MULTILINE)

Path = tuple[str | int, ...]


class Place(NamedTuple):
    """Offsets into the source, in characters; `style` is YAML's indicator (`'`, `"`, `|`, `>`, `[`, `{`) or empty.

    A list or mapping in block style has no end of its own: it ends with its last part.
    """

    start: int
    end: int
    style: str = ""


@dataclass(slots=True)
class Tree:
    """`places` maps the path of each value to its place, and `keys` that of each mapping key."""

    file: str
    source: str
    data: Any = None
    places: dict[Path, Place] = field(default_factory=dict[Path, Place])
    keys: dict[Path, Place] = field(default_factory=dict[Path, Place])
    problems: list[Problem] = field(default_factory=list[Problem])
    base_line: int = 0
    unlisted: int = 0
    _lines: list[int] = field(default_factory=list[int])

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, from 1, of an offset."""
        import bisect

        if not self._lines:
            self._lines = [0, *(match.end() for match in re.finditer("\n", self.source))]
        line = bisect.bisect_right(self._lines, offset)
        return line + self.base_line, offset - self._lines[line - 1] + 1

    def problem(self, offset: int, code: str, message: str, hint: str = "", severity: str = "error") -> None:
        """Note a problem at an offset; past `MAX_PROBLEMS` they are only counted."""
        if len(self.problems) >= MAX_PROBLEMS:
            self.unlisted += 1
            return
        line, column = self.position(offset)
        self.problems.append(Problem(self.file, line, column, code, message, severity, hint))

    def at(self, path: Path, *, key: bool = False) -> int:
        """The offset of the value (or key) at `path`, or of its nearest parent that exists."""
        if key and path in self.keys:
            return self.keys[path].start
        while path and path not in self.places:
            path = path[:-1]
        return self.places[path].start if path in self.places else 0


class _Stop(Exception):  # noqa: N818 - control flow within this module
    """Nothing more can be read."""


def read_tree(file: str, raw: bytes, *, base_line: int = 0) -> Tree:
    """Parse a document; what is wrong stands in `problems`, and `data` is `None` if it cannot be used at all.

    `base_line` is added to every line number, for YAML inside another file.
    """
    tree = Tree(file, "", base_line=base_line)
    if len(raw) > MAX_BYTES:
        tree.problem(0, "file-too-large", f"{len(raw):,} bytes; the limit is {MAX_BYTES:,}.")
        return tree
    try:
        tree.source = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        tree.source = raw[: error.start].decode("utf-8", "replace")
        tree.problem(len(tree.source), "not-utf8", f"byte {error.start} is not UTF-8.", "Save the file as UTF-8.")
        return tree
    if dashes := _DASHES.search(tree.source):
        tree.problem(dashes.start(), "too-deep", f"nested deeper than {MAX_DEPTH} levels.")
        return tree
    prepared = _LEADING_BANG.sub(rf"\1{_BANG}", tree.source) if _BANG_RULE.search(tree.source) else tree.source
    try:
        _Reader(tree, yaml.CSafeLoader(prepared)).document()
    except _Stop:
        pass
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        offset = mark.index if mark else int(getattr(error, "position", 0))
        tree.problem(min(offset, len(tree.source)), "invalid-yaml", f"{_reason(error)}.", _hint(tree.source, offset))
    return tree


def _reason(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not readable as YAML"
    context = getattr(error, "context", None)
    return f"{problem} ({context})" if context else str(problem)


def _hint(source: str, offset: int) -> str:
    start = source.rfind("\n", 0, offset) + 1
    end = source.find("\n", start)
    line = source[start : end if end >= 0 else len(source)]
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "Indent with spaces, not tabs."
    return "Put the whole value in quotes, or on a line of its own after '>-'." if ": " in line.partition(": ")[2] else ""


class _Reader:
    def __init__(self, tree: Tree, loader: yaml.CSafeLoader) -> None:
        self._tree = tree
        self._ended = 0
        self._next = cast("Callable[[], yaml.Event]", cast("Any", loader).get_event)

    def document(self) -> None:
        self._next()  # the start of the stream
        first = self._next()
        if isinstance(first, yaml.StreamEndEvent):
            self._fail(0, "empty-file", "there is nothing in it.", "Write at least 'version: 1'.")
        self._tree.data = self._value(self._next(), ())
        self._next()  # the end of the document
        after = self._next()
        if not isinstance(after, yaml.StreamEndEvent):
            self._fail(self._start(after), "several-documents", "a second document starts here.", "Keep one a file.")

    def _fail(self, offset: int, code: str, message: str, hint: str = "") -> None:
        self._tree.problem(offset, code, message, hint)
        self._tree.data = None
        raise _Stop

    @staticmethod
    def _start(event: Any) -> int:  # noqa: ANN401 - PyYAML's marks are untyped
        return int(event.start_mark.index)

    def _value(self, event: Any, path: Path) -> Any:  # noqa: ANN401 - any YAML value
        start: int = event.start_mark.index
        if type(event) is yaml.ScalarEvent and event.anchor is None and event.tag is None:
            return self._scalar(event, path, start)
        if len(path) > MAX_DEPTH:
            self._fail(start, "too-deep", f"nested deeper than {MAX_DEPTH} levels.")
        if isinstance(event, yaml.AliasEvent):
            self._fail(start, "no-aliases", "aliases are not allowed.", "Write the value out.")
        if event.anchor is not None:
            self._tree.problem(start, "no-anchors", "anchors are not allowed.", "Remove it, and quote a value that starts with '&'.")
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._tree.problem(start, "no-tags", f"the tag {str(tag)[:60]!r} is not allowed.", "Quote a value that starts with '!'.")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path, start)
        listed = isinstance(event, yaml.SequenceStartEvent)
        self._tree.places[path] = Place(start, start)
        filled = self._sequence(path) if listed else self._mapping(path)
        if cast("Any", event).flow_style:
            self._tree.places[path] = Place(start, self._ended, "[" if listed else "{")
        return filled

    def _scalar(self, event: Any, path: Path, start: int) -> str | None:  # noqa: ANN401 - PyYAML's events are untyped
        style = event.style or ""
        self._tree.places[path] = Place(start, int(event.end_mark.index), style)
        text = event.value
        if not style and text in _NULLS:
            return None
        return cast("str", text.replace(_BANG, "!") if _BANG in text else text)

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        self._ended = cast("Any", event).end_mark.index
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            at = self._start(event)
            if not isinstance(event, yaml.ScalarEvent):
                self._fail(at, "invalid-yaml", "a key must be plain text.")
            key = str(cast("Any", event).value).replace(_BANG, "!")
            if key in items:
                self._tree.problem(at, "duplicate-key", f"'{key[:60]}' stands twice.", "Keep one of them.")
            below = (*path, key)
            self._tree.keys[below] = Place(at, at + len(key))
            items[key] = self._value(self._next(), below)
        self._ended = cast("Any", event).end_mark.index
        return items
