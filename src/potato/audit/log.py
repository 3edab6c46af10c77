"""Append entries to the log, within the transaction that does what they tell.

An entry is stored with the exact bytes that its leaf hashes and with the tree's root after it; the head row
holds size, root and frontier. Verification lives in `verify.py`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

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


def append(connection: Connection, entry: Entry, at: datetime) -> None:
    """Add one entry; the caller's transaction commits it together with the fact it tells."""
    head = connection.execute(select(audit_head.c.size, audit_head.c.frontier).where(audit_head.c.id == 1).with_for_update()).one()
    size = int(head.size)
    packed = bytes(head.frontier)
    stamp = at.isoformat()
    leaf = leaf_bytes(size, stamp, entry.kind, entry)
    frontier = merkle.append([packed[i : i + HASH_BYTES] for i in range(0, len(packed), HASH_BYTES)], size, merkle.leaf_hash(leaf))
    root = merkle.root(frontier)
    connection.execute(insert(audit_entry).values(seq=size, at=stamp, kind=entry.kind, leaf=leaf, root=root))
    connection.execute(update(audit_head).where(audit_head.c.id == 1).values(size=size + 1, root=root, frontier=b"".join(frontier)))
