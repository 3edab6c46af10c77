"""Append entries to the log, within the transaction that does what they tell.

An entry is stored with the exact bytes that its leaf hashes and with the tree's root after it; the head row
holds size, root and frontier. Verification lives in `verify.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Column, Connection, Integer, LargeBinary, MetaData, String, Table, insert, select, update

from potato.core import merkle
from potato.core.canonical import canonical
from potato.ports import Entry

HASH_BYTES: Final = 32
metadata: Final = MetaData()

audit_entry: Final = Table(
    "audit_entry",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String(40), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("root", LargeBinary, nullable=False),
)
audit_head: Final = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("size", Integer, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
)


def leaf_bytes(seq: int, at: str, kind: str, entry: Entry) -> bytes:
    """What is hashed: canonical JSON of everything the entry says, its number included."""
    return canonical({"seq": seq, "at": at, "kind": kind, "body": dict(entry.body)})


def append(connection: Connection, entries: Sequence[Entry], at: datetime) -> None:
    """Add entries in order; the caller's transaction commits them together with the facts they tell.

    On Postgres the head row stays locked until the commit, so append last.
    """
    if not entries:
        return
    head = connection.execute(select(audit_head.c.size, audit_head.c.frontier).where(audit_head.c.id == 1).with_for_update()).one()
    size = int(head.size)
    packed = bytes(head.frontier)
    frontier = tuple(packed[i : i + HASH_BYTES] for i in range(0, len(packed), HASH_BYTES))
    stamp = at.isoformat()
    rows: list[dict[str, Any]] = []
    for entry in entries:
        leaf = leaf_bytes(size, stamp, entry.kind, entry)
        frontier = merkle.append(frontier, size, merkle.leaf_hash(leaf))
        rows.append({"seq": size, "at": stamp, "kind": entry.kind, "leaf": leaf, "root": merkle.root(frontier)})
        size += 1
    connection.execute(insert(audit_entry), rows)
    connection.execute(update(audit_head).where(audit_head.c.id == 1).values(size=size, root=rows[-1]["root"], frontier=b"".join(frontier)))
