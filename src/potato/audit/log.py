"""Append entries to the log, within the transaction that does what they tell.

An entry is stored with the exact bytes that its leaf hashes and with the tree's root after it; the head row
holds size, root and frontier. Verification lives in `verify.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Column, Connection, Integer, LargeBinary, MetaData, String, Table

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
    driver = connection.dialect.paramstyle == "qmark"
    head = connection.exec_driver_sql(_HEAD if driver else f"{_HEAD} FOR UPDATE").one()
    size = int(head[0])
    packed = bytes(head[1])
    frontier = tuple(packed[i : i + HASH_BYTES] for i in range(0, len(packed), HASH_BYTES))
    stamp = at.isoformat()
    rows: list[tuple[Any, ...]] = []
    for entry in entries:
        leaf = leaf_bytes(size, stamp, entry.kind, entry)
        frontier = merkle.append(frontier, size, merkle.leaf_hash(leaf))
        rows.append((size, stamp, entry.kind, leaf, merkle.root(frontier)))
        size += 1
    connection.exec_driver_sql(_INSERT if driver else _INSERT.replace("?", "%s"), rows)
    connection.exec_driver_sql(_UPDATE if driver else _UPDATE.replace("?", "%s"), (size, rows[-1][-1], b"".join(frontier)))


_HEAD: Final = "SELECT size, frontier FROM audit_head WHERE id = 1"
_INSERT: Final = "INSERT INTO audit_entry (seq, at, kind, leaf, root) VALUES (?, ?, ?, ?, ?)"
_UPDATE: Final = "UPDATE audit_head SET size = ?, root = ?, frontier = ? WHERE id = 1"
"""Written out: they run in every transaction, and making them anew takes longer than the database does."""
