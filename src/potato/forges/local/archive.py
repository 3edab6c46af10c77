"""Past events out of files: a folder of deliveries, or lines of them.

- `*.json` holds one delivery: a bare payload, whose event is the file's name up to the first dot (`pull_request.opened.json`) or the
  folder's (`pull_request/opened.json`), or an envelope `{"event", "payload", "facts", "received_at"}`.
- `*.jsonl` and `*.jsonl.gz` hold one envelope a line.
"""

from __future__ import annotations

import gzip
import json
import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from potato.core.event import Facts
from potato.core.foreign import as_list, as_object
from potato.core.strict_json import parse_object
from potato.core.text import printable
from potato.core.vocabulary import ACTIONS
from potato.errors import UsageError
from potato.ports import Damaged, Recorded

_MAX_BYTES: Final = 25 * 1024 * 1024
_MAGIC: Final = b"SQLite format 3\0"
_LINES: Final = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_ENVELOPE: Final = frozenset({"event", "payload", "facts", "received_at", "delivery_id"})
_FACTS: Final = {"paths": "path", "jobs": "job"}


def is_database(path: str) -> bool:
    """Whether the file is an SQLite database. Raises `UsageError` if it cannot be read."""
    if os.path.isdir(path):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise UsageError("no-archive", f"there are no past events at '{path}': {error.strerror}.",
                         "Name a database of Potato, a folder of deliveries, or a .jsonl file.") from None  # fmt: skip


class FileArchive:
    """The deliveries below a folder, or in one file. Those without a time are left out if `since` is given, and told."""

    def __init__(self, path: str, since: datetime | None = None) -> None:
        self._path = path
        self._since = since

    def size(self) -> int | None:
        """See the port: how many files there are, where none holds lines."""
        count = 0
        for path in self._files():
            if path.endswith(_LINES):
                return None
            count += 1
        return count

    def read(self) -> Iterator[Recorded | Damaged]:
        """See the port. Links and special files are not followed."""
        for path in self._files():
            for found in self._of(path):
                if isinstance(found, Recorded) and self._since:
                    if found.received_at is None:
                        yield Damaged(found.source, "it has no received_at, so --since cannot tell")
                    elif found.received_at >= self._since:
                        yield found
                else:
                    yield found

    def find(self, source: str) -> Recorded | None:
        """See the port; the source is the path below the folder, and for lines `:LINE`."""
        for path in self._files():
            if self._source(path) in (source, source.rpartition(":")[0]):
                for found in self._of(path):
                    if isinstance(found, Recorded) and found.source == source:
                        return found
        return None

    def seconds(self) -> Mapping[str, float]:
        """See the port: files know nothing of runs."""
        return {}

    def _files(self) -> Iterator[str]:
        if not os.path.isdir(self._path):
            yield self._path
            return
        for folder, folders, names in os.walk(self._path):
            folders.sort()
            for name in sorted(names):
                if name.endswith((".json", *_LINES)):
                    yield os.path.join(folder, name)

    def _of(self, path: str) -> Iterable[Recorded | Damaged]:
        return self._lines(path) if path.endswith(_LINES) else (self._file(path),)

    def _source(self, path: str) -> str:
        return os.path.relpath(path, self._path) if os.path.isdir(self._path) else os.path.basename(path)

    def _file(self, path: str) -> Recorded | Damaged:
        source = self._source(path)
        try:
            if not stat.S_ISREG(os.lstat(path).st_mode):
                return Damaged(source, "it is no plain file")
            with open(path, "rb") as file:
                data = file.read(_MAX_BYTES + 1)
        except OSError as error:
            return Damaged(source, f"it cannot be read: {error.strerror}")
        return _delivery(source, data, os.path.abspath(path))

    def _lines(self, path: str) -> Iterator[Recorded | Damaged]:
        source = self._source(path)
        number = 0
        try:
            if not stat.S_ISREG(os.lstat(path).st_mode):
                yield Damaged(source, "it is no plain file")
                return
            with gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb") as file:
                while line := file.readline(_MAX_BYTES + 1):
                    number += 1
                    if len(line) > _MAX_BYTES:
                        yield Damaged(
                            f"{source}:{number}", f"the line is longer than {_MAX_BYTES:,} bytes; the rest of the file is skipped"
                        )
                        return
                    if line.strip():
                        yield _delivery(f"{source}:{number}", line, None)
        except (OSError, EOFError, zlib.error) as error:
            yield Damaged(f"{source}:{number + 1}", f"it cannot be read on: {getattr(error, 'strerror', None) or error}")


def _delivery(source: str, data: bytes, path: str | None) -> Recorded | Damaged:
    """An envelope, or a bare payload whose event its path names."""
    if len(data) > _MAX_BYTES:
        return Damaged(source, f"it is larger than {_MAX_BYTES:,} bytes")
    try:
        told = parse_object(data, "it")
    except UsageError as error:
        return Damaged(source, error.message.rstrip("."))
    if isinstance(told.get("event"), str) and isinstance(told.get("payload"), dict) and told.keys() <= _ENVELOPE:
        return _envelope(source, told)
    event = _event_of(path) if path else None
    if event is None:
        return Damaged(source, "it is no envelope {event, payload, ...}, and its name tells no event")
    return Recorded(source, event, data)


def _envelope(source: str, told: Mapping[str, Any]) -> Recorded | Damaged:
    at: datetime | None = None
    if told.get("received_at") is not None:
        try:
            at = datetime.fromisoformat(str(told["received_at"]))
        except ValueError:
            return Damaged(source, "its received_at is no time in ISO 8601")
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    given = as_object(told.get("facts"))
    fields = {
        field: tuple(str(item) for item in as_list(given[name])) for name, field in _FACTS.items() if isinstance(given.get(name), list)
    }
    body = json.dumps(told["payload"], ensure_ascii=False).encode()
    return Recorded(source, printable(told["event"], 64), body, at, Facts(fields))


def _event_of(path: str) -> str | None:
    folder, name = os.path.split(path)
    names = (name.split(".")[0], os.path.basename(folder))
    return next((each for each in names if each in ACTIONS), None)
