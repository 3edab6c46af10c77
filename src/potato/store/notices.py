"""What is said on a pull request or issue when automation stops there: once for each topic."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, select, update

from potato.ports import Delivery, RunRecord
from potato.ports.hub import Notice
from potato.store import tables as t
from potato.store.database import Database, Transaction
from potato.store.lineage import leave

_TOPIC = 200


def say(tx: Transaction, run: RunRecord, topic: str, text: str) -> None:
    """Have it said on the run's subject, unless that was said before."""
    if run.repository is None or run.number is None:
        return
    row = {"repository": run.repository, "number": run.number, "topic": topic[:_TOPIC], "text": text, "delivery_id": run.delivery_id,
           "run_id": run.id, "not_before": tx.time}  # fmt: skip
    tx.execute(tx.upsert(t.notice).values(row).on_conflict_do_nothing())


class SqlNotices:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, limit: int, lease_s: float) -> list[Notice]:
        """See the port."""
        with self._database.reading() as tx:
            some = tx.scalar(select(t.notice.c.topic).where(t.notice.c.posted == 0, t.notice.c.not_before <= tx.time).limit(1))
        if some is None:
            return []
        with self._database.transaction() as tx:
            waiting = (t.notice.c.posted == 0, t.notice.c.not_before <= tx.time)
            rows = tx.rows(select(t.notice).where(*waiting).order_by(t.notice.c.not_before).limit(limit).with_for_update(skip_locked=True))
            ids = [row.delivery_id for row in rows]
            kept = {row.delivery_id: row for row in tx.rows(select(t.delivery).where(t.delivery.c.delivery_id.in_(ids)))}
            for row in rows:
                later = {"not_before": tx.time + lease_s, "attempts": t.notice.c.attempts + 1}
                tx.execute(update(t.notice).where(_is(row.repository, row.number, row.topic)).values(**later))
            return [_notice(row, kept[row.delivery_id]) for row in rows if row.delivery_id in kept]

    def said(self, notice: Notice, actor: str, tracks: tuple[str, ...]) -> None:
        """See the port."""
        with self._database.transaction() as tx:
            tx.execute(update(t.notice).where(_is(notice.repository, notice.number, notice.topic)).values(posted=1))
            leave(tx, notice.run_id, f"notice:{notice.topic}"[:100], actor, tracks)

    def unsaid(self, notice: Notice, delay_s: float, problem: str) -> None:
        """See the port."""
        with self._database.transaction() as tx:
            later = {"not_before": tx.time + delay_s, "problem": problem[:500]}
            tx.execute(update(t.notice).where(_is(notice.repository, notice.number, notice.topic)).values(**later))


def _is(repository: str, number: int, topic: str) -> ColumnElement[bool]:
    return (t.notice.c.repository == repository) & (t.notice.c.number == number) & (t.notice.c.topic == topic)


def _notice(row: Any, kept: Any) -> Notice:  # noqa: ANN401 - rows
    delivery = Delivery(kept.delivery_id, kept.event, kept.body, kept.source)
    return Notice(row.repository, row.number, row.topic, row.text, delivery, row.run_id, row.attempts)
