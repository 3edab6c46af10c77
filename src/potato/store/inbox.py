"""The inbox on SQL: many deliveries in one commit, and who decides which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from potato.ports import Delivery, Entry
from potato.ports.hub import Answer, Arrival, Undecided
from potato.store import tables as t
from potato.store.database import Database, Transaction
from potato.store.packed import pack
from potato.store.runs import UNFINISHED

_PRUNED: Final = 500
_DAYS_KEPT: Final = 400


class SqlInbox:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def accept(self, arrivals: Sequence[Arrival]) -> list[Answer]:
        """See the port."""
        with self._database.transaction() as tx:
            return accept(tx, arrivals)

    def note(self, entry: Entry) -> None:
        """See the port."""
        with self._database.transaction() as tx:
            tx.entries.append(entry)

    def take(self, hub: str, limit: int) -> list[Undecided]:
        """See the port."""
        with self._database.transaction() as tx:
            due = (t.ACCEPTED, t.delivery.c.not_before <= tx.time)
            rows = tx.rows(
                select(t.delivery).where(*due).order_by(t.delivery.c.turn).limit(limit)
                .with_for_update(skip_locked=True)
            )  # fmt: skip
            if rows:
                ids = [row.delivery_id for row in rows]
                taken = {"state": "deciding", "hub": hub, "attempts": t.delivery.c.attempts + 1}
                tx.execute(update(t.delivery).where(t.delivery.c.delivery_id.in_(ids)).values(**taken))
            return [Undecided(Delivery(row.delivery_id, row.event, bytes(row.body), row.source), row.attempts + 1) for row in rows]

    def reclaim(self, hub: str, is_active: Callable[[str], bool]) -> int:
        """See the port."""
        with self._database.reading() as tx:
            mine = select(t.delivery.c.delivery_id).where(t.delivery.c.hub == hub)
            left = [row.delivery_id for row in tx.rows(mine) if not is_active(row.delivery_id)]
        if not left:
            return 0
        with self._database.transaction() as tx:
            still = (t.delivery.c.hub == hub, t.delivery.c.state == "deciding", t.delivery.c.delivery_id.in_(left))
            return tx.execute(update(t.delivery).where(*still).values(state="accepted", hub=None, not_before=tx.time + 1))

    def postpone(self, delivery_id: str, delay_s: float, reason: str) -> None:
        """See the port."""
        with self._database.transaction() as tx:
            back = {"state": "accepted", "hub": None, "not_before": tx.time + delay_s, "reason": reason}
            tx.execute(update(t.delivery).where(t.delivery.c.delivery_id == delivery_id, t.delivery.c.state == "deciding").values(**back))

    def reject(self, delivery_id: str, reason: str, entry: Entry) -> None:
        """See the port."""
        with self._database.transaction() as tx:
            ended = {"state": "rejected", "hub": None, "reason": reason}
            if not tx.execute(
                update(t.delivery).where(t.delivery.c.delivery_id == delivery_id, t.delivery.c.state == "deciding").values(**ended)
            ):
                return
            tx.entries.append(entry)

    def has(self, delivery_ids: Sequence[str]) -> set[str]:
        """See the port."""
        with self._database.reading() as tx:
            found = select(t.delivery.c.delivery_id).where(t.delivery.c.delivery_id.in_(delivery_ids))
            return {row.delivery_id for row in tx.rows(found)}

    def decided_heads(self, repository: str, heads: Sequence[str]) -> set[str]:
        """See the port."""
        with self._database.reading() as tx:
            seen = select(t.delivery.c.head_sha).where(t.delivery.c.repository == repository, t.delivery.c.head_sha.in_(heads))
            return {row.head_sha for row in tx.rows(seen.distinct())}

    def prune(self, older_than_s: float) -> int:
        """See the port."""
        with self._database.transaction() as tx:
            before = (tx.now - timedelta(seconds=older_than_s)).isoformat()
            old = (t.delivery.c.received_at < before, t.delivery.c.state.notin_(("accepted", "deciding")))
            ids = [row.delivery_id for row in tx.rows(select(t.delivery.c.delivery_id).where(*old).limit(_PRUNED))]
            busy = select(t.run.c.delivery_id).where(t.run.c.delivery_id.in_(ids), t.run.c.state.in_(UNFINISHED))
            ids = sorted({*ids} - {row.delivery_id for row in tx.rows(busy)})
            runs = select(t.run.c.id).where(t.run.c.delivery_id.in_(ids))
            tx.execute(delete(t.effect).where(t.effect.c.run_id.in_(runs)))
            tx.execute(delete(t.transcript).where(t.transcript.c.run_id.in_(runs)))
            tx.execute(delete(t.trace).where(t.trace.c.run_id.in_(runs)))
            tx.execute(delete(t.reservation).where(t.reservation.c.run_id.in_(runs)))
            tx.execute(delete(t.notice).where(t.notice.c.run_id.in_(runs)))
            proposals = select(t.proposal.c.id).where(t.proposal.c.run_id.in_(runs))
            tx.execute(delete(t.approval).where(t.approval.c.proposal_id.in_(proposals)))
            tx.execute(delete(t.proposal).where(t.proposal.c.run_id.in_(runs)))
            for table in (t.run, t.decision, t.delivery):
                tx.execute(delete(table).where(table.c.delivery_id.in_(ids)))
            last_day = (tx.now - timedelta(days=_DAYS_KEPT)).date().isoformat()
            tx.execute(delete(t.budget).where(t.budget.c.period != "", t.budget.c.period < last_day))
            long_ago = (t.head_report.c.wanted <= t.head_report.c.posted, t.head_report.c.not_before < tx.time - older_than_s)
            tx.execute(delete(t.head_report).where(*long_ago))
            tx.execute(delete(t.flow).where(t.flow.c.tag <= select(t.admission.c.virtual).scalar_subquery()))
            if ids:
                tx.entries.append(Entry("pruned", {"deliveries": len(ids), "received_before": before}))
            return len(ids)


def accept(tx: Transaction, arrivals: Sequence[Arrival]) -> list[Answer]:
    """Keep what is new of them. Nearly always everything is, so that is tried first; the unique indexes tell when it is not."""
    rows = [_row(arrival, tx.now.isoformat(), tx.time) for arrival in arrivals]
    answers: list[Answer] = ["new"] * len(rows)
    try:
        with tx.connection.begin_nested():
            tx.insert_many(t.delivery, rows)
    except IntegrityError:
        answers = _answers(tx, rows)
        for number, row in enumerate(rows):
            if answers[number] == "new" and not tx.execute(tx.upsert(t.delivery).values(row).on_conflict_do_nothing()):
                answers[number] = "repeated"  # another hub was faster
    for arrival, row, answer in zip(arrivals, rows, answers, strict=True):
        if answer == "new":
            tx.entries.append(arrival.entry)
        elif answer == "conflict":
            tx.entries.append(Entry("delivery-conflict", {"delivery_id": row["delivery_id"], "body": row["body_digest"]}))
    return answers


def _row(arrival: Arrival, at: str, time: float) -> dict[str, Any]:
    delivery = arrival.delivery
    body_digest = str(arrival.entry.body["body"])
    return {
        "delivery_id": delivery.delivery_id, "event": delivery.event, "source": delivery.source, "received_at": at,
        "body_digest": body_digest, "body": pack(delivery.body), "state": arrival.state, "repository": arrival.repository,
        "config_digest": arrival.config_digest, "head_sha": arrival.head_sha, "same_event": arrival.same_event, "not_before": time,
        "turn": arrival.turn,
        "same_body": body_digest if delivery.source == "webhook" else None,
    }  # fmt: skip


def _answers(tx: Transaction, rows: Sequence[dict[str, Any]]) -> list[Answer]:
    """Each row against the table and against those before it in the group."""
    columns = (t.delivery.c.delivery_id, t.delivery.c.body_digest, t.delivery.c.same_body, t.delivery.c.same_event)
    ids: dict[str, str] = {}
    same: set[str] = set()
    for name in ("delivery_id", "same_body", "same_event"):
        wanted = [row[name] for row in rows if row[name] is not None]
        for found in tx.rows(select(*columns).where(t.delivery.c[name].in_(wanted))) if wanted else ():
            ids[found.delivery_id] = found.body_digest
            same |= {value for value in (found.same_body, found.same_event) if value}
    answers: list[Answer] = []
    for row in rows:
        known = ids.get(row["delivery_id"])
        if known is not None:
            answers.append("repeated" if known == row["body_digest"] else "conflict")
        elif {row["same_body"], row["same_event"]} & same:
            answers.append("repeated")
        else:
            answers.append("new")
            ids[row["delivery_id"]] = row["body_digest"]
            same |= {value for value in (row["same_body"], row["same_event"]) if value}
    return answers
