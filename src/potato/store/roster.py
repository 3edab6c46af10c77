"""The roster on SQL: processes with their leases. No clock is compared: whoever watches counts with its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import delete, insert, select, update

from potato.ports import Entry, Pass
from potato.ports.hub import Process
from potato.store import tables as t
from potato.store.database import Database, Transaction, names, to_json
from potato.store.runs import Runs, Tell, lock_queue, record


def process_of(row: Any) -> Process:  # noqa: ANN401 - a row
    """A process as stored."""
    agents = names(row.agents) if row.agents else None
    return Process(row.id, row.kind, row.host, row.version, agents, row.slots, row.state, row.beat, row.seen_at)


FATAL: Final = 5
_RELEASED_S: Final = 30.0


class SqlRoster:
    """See the port."""

    def __init__(self, database: Database, tell: Tell, passage: Pass) -> None:
        self._database = database
        self._runs = Runs(tell, passage, queue=True)

    def join(self, process: Process, entry: Entry) -> None:
        """See the port."""
        with self._database.transaction() as tx:
            agents = to_json(process.agents) if process.agents else None
            tx.connection.execute(insert(t.worker).values(
                id=process.id, kind=process.kind, host=process.host, version=process.version, agents=agents, slots=process.slots,
                state=process.state, beat=0, seen_at=tx.now.isoformat(),
            ))  # fmt: skip
            tx.entries.append(entry)

    def beat(self, process_id: str) -> bool:
        """See the port."""
        with self._database.transaction() as tx:
            beaten = update(t.worker).where(t.worker.c.id == process_id)
            return tx.execute(beaten.values(beat=t.worker.c.beat + 1, seen_at=tx.now.isoformat())) > 0

    def drain(self, process_id: str) -> None:
        """See the port."""
        with self._database.transaction() as tx:
            tx.execute(update(t.worker).where(t.worker.c.id == process_id).values(state="draining"))

    def all(self) -> list[Process]:
        """See the port."""
        with self._database.reading() as tx:
            return [process_of(row) for row in tx.rows(select(t.worker))]

    def orphans(self) -> list[str]:
        """See the port."""
        known = select(t.worker.c.id)
        runs = select(t.run.c.worker).where(t.run.c.worker.is_not(None), t.run.c.worker.notin_(known)).distinct()
        undecided = (t.delivery.c.hub.is_not(None), t.delivery.c.state == "deciding", t.delivery.c.hub.notin_(known))
        with self._database.reading() as tx:
            return sorted({row[0] for query in (runs, select(t.delivery.c.hub).where(*undecided).distinct()) for row in tx.rows(query)})

    def reclaim(self, process_id: str, is_active: Callable[[str], bool]) -> list[str]:
        """See the port. What was released a moment ago and not begun is in the durable engine's hands.

        A run is active before it is begun, so one that is begun and not active has ended, which the second look tells, or was left.
        """
        with self._database.reading() as tx:
            lost = (t.run.c.state == "queued") & (t.run.c.started_at < tx.time - _RELEASED_S)
            begun = (t.run.c.worker == process_id, t.run.c.state.in_(("running", "applying")) | lost)
            left = [row.id for row in tx.rows(select(t.run.c.id).where(*begun)) if not is_active(row.id)]
        if not left:
            return []
        with self._database.transaction() as tx:
            lock_queue(tx)
            rows = tx.rows(select(t.run).where(*begun, t.run.c.id.in_(left)).with_for_update())
            return [self._put_back(tx, row, f"attempt {row.attempts}") for row in rows]

    def bury(self, process_id: str, beat: int | None, entry: Entry, *, in_order: bool = False) -> list[str] | None:
        """See the port."""
        with self._database.transaction() as tx:
            lock_queue(tx)
            same = (t.worker.c.id == process_id, *([t.worker.c.beat == beat] if beat is not None else []))
            if not tx.execute(delete(t.worker).where(*same)) and beat is not None:
                return None
            tx.entries.append(entry)
            undecided = (t.delivery.c.hub == process_id, t.delivery.c.state == "deciding")
            tx.execute(update(t.delivery).where(*undecided).values(state="accepted", hub=None))
            rows = tx.rows(select(t.run).where(t.run.c.worker == process_id).with_for_update())
            return [self._put_back(tx, row, process_id, died=not in_order) for row in rows]

    def _put_back(self, tx: Transaction, row: Any, process_id: str, *, died: bool = False) -> str:  # noqa: ANN401 - a row
        """A run waits again, for its next attempt; one that was being stopped has ended, and one that kills whoever runs it fails."""
        run = record(row)
        lost = row.lost + (1 if died and run.state == "running" else 0)
        if run.stop is not None:
            self._runs.end_stopped(tx, run, run.stop)
        elif lost >= FATAL:
            self._runs.end_stopped(
                tx, run, ("failed", f"{lost} processes died while it ran, the last one {process_id}; it is not tried again")
            )
        else:
            back = replace(run, state="queued", reason=f"taken over: {process_id} stopped", updated_at=tx.now)
            self._runs.change(tx, back, t.run.c.id == run.id, worker=None, lost=lost)
            self._runs.make_ready(tx, back)
        return run.id
