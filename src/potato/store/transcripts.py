"""What agents did, on SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, tuple_

from potato.ports import TranscriptEvent
from potato.store import tables as t
from potato.store.database import Database, to_json

_AT_ONCE = 1_000


def add(database: Database, events: Sequence[TranscriptEvent]) -> None:
    """Keep them; what is there already stays."""
    rows = [{"run_id": e.run_id, "attempt": e.attempt, "number": e.number, "at": e.at.isoformat(), "kind": e.kind, "body": to_json(e.body)}
            for e in events]  # fmt: skip
    with database.transaction() as tx:
        tx.connection.execute(tx.upsert(t.transcript).on_conflict_do_nothing(), rows)


def read(database: Database, run_id: str, after: tuple[int, int]) -> list[TranscriptEvent]:
    """Those after (attempt, number), in order."""
    place = tuple_(t.transcript.c.attempt, t.transcript.c.number)
    query = (
        select(t.transcript).where(t.transcript.c.run_id == run_id, place > after).order_by(t.transcript.c.attempt, t.transcript.c.number)
    )
    with database.reading() as tx:
        rows = tx.rows(query.limit(_AT_ONCE))
    return [TranscriptEvent(r.run_id, r.attempt, r.number, datetime.fromisoformat(r.at), r.kind, json.loads(r.body)) for r in rows]
