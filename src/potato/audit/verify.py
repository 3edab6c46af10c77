"""Recompute the whole tree and compare: any changed, removed, added or reordered entry is found, with its number.

It does not find a log that was cut together with its head, or replaced by an older copy: compare size and root
with a checkpoint kept elsewhere. Nor does it compare the other tables (runs, proposals) with what the log says of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from potato.audit.log import audit_entry, audit_head
from potato.core import merkle
from potato.core.foreign import as_object


@dataclass(frozen=True, slots=True)
class Verdict:
    """`bad` is the number of the first entry that does not fit, and `reason` says why; both absent when all is well."""

    size: int
    root: str
    bad: int | None = None
    reason: str | None = None

    @property
    def ok(self) -> bool:
        """Nothing was found."""
        return self.reason is None

    def as_json(self) -> dict[str, Any]:
        """The shape of `audit verify --json`."""
        return {"ok": self.ok, "size": self.size, "root": self.root, "bad": self.bad, "reason": self.reason}


def verify(connection: Connection, expected: tuple[int, str] | None = None) -> Verdict:
    """Check every entry, the head, and that the log contains the checkpoint `expected` (size, root in hex)."""
    frontier: tuple[bytes, ...] = ()
    count = 0
    reached = expected is None or (expected[0] == 0 and expected[1] == merkle.EMPTY_ROOT.hex())
    rows = connection.execute(select(audit_entry).order_by(audit_entry.c.seq).execution_options(yield_per=1000))
    for row in rows:
        reason = _misfit(row, count)
        if reason is None:
            frontier = merkle.append(frontier, count, merkle.leaf_hash(bytes(row.leaf)))
            if merkle.root(frontier) != bytes(row.root):
                reason = "its root does not follow from the entries up to it"
        if reason:
            return Verdict(count, merkle.root(frontier).hex(), count, reason)
        count += 1
        if expected is not None and expected[0] == count:
            if merkle.root(frontier).hex() != expected[1]:
                return Verdict(count, merkle.root(frontier).hex(), count - 1, "the log differs from the checkpoint")
            reached = True
    return _compare_head(connection, count, frontier, reached=reached)


def _misfit(row: Any, count: int) -> str | None:  # noqa: ANN401 - a row
    if row.seq != count:
        return f"entry {count} is missing"
    if not isinstance(row.leaf, bytes) or not isinstance(row.root, bytes):
        return "its content is not stored as bytes"
    try:
        told = as_object(json.loads(row.leaf))
    except (ValueError, RecursionError):
        return "its content is not readable"
    if (told.get("seq"), told.get("at"), told.get("kind")) != (row.seq, row.at, row.kind):
        return "its columns differ from what was hashed"
    return None


def _compare_head(connection: Connection, count: int, frontier: tuple[bytes, ...], *, reached: bool) -> Verdict:
    root = merkle.root(frontier)
    head = connection.execute(select(audit_head)).all()
    if len(head) != 1 or head[0].id != 1 or type(head[0].size) is not int or head[0].size != count:
        said = head[0].size if head else "nothing"
        return Verdict(count, root.hex(), count, f"the head says {said} entries, there are {count}")
    if head[0].root != root or head[0].frontier != b"".join(frontier):
        return Verdict(count, root.hex(), max(count - 1, 0), "the head's root is not the tree's")
    if not reached:
        return Verdict(count, root.hex(), count, "the log is shorter than the checkpoint")
    return Verdict(count, root.hex())
