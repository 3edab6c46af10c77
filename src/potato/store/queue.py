"""The queue on SQL: what is released when, and what runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from sqlalchemy import Connection, func, or_, select, update

from potato.core.admission import Admitted, Lane, Slots, Snapshot
from potato.core.budget import FOREVER, Scope
from potato.ports import Pass, RunRecord
from potato.ports.hub import AgentState, Overview, Terms
from potato.store import tables as t
from potato.store.adoptions import troubled
from potato.store.database import Database, Transaction
from potato.store.notices import say
from potato.store.roster import process_of
from potato.store.runs import UNFINISHED, Runs, Tell, lock_queue, one, record, refresh_lane
from potato.store.spending import reserve, spent
from potato.store.switch import active_pauses, as_hold, guard_states, pauses_with_counts

MAX_LANES: Final = 20_000
_ANEW_S: Final = 1.0
_TOLD: Final = 200
_SHOWN: Final = 20
Enqueue = Callable[[Connection, str, int, str], None]


class SqlQueue:
    """See the port.

    `enqueue` hands (run, attempt, worker) to the durable engine within the transaction. Who releases nothing needs no `terms`.
    """

    def __init__(self, database: Database, tell: Tell, passage: Pass, enqueue: Enqueue, terms: Terms | None = None) -> None:
        self._database = database
        self._runs = Runs(tell, passage, queue=True)
        self._enqueue = enqueue
        self._terms = terms
        self._seen: tuple[Any, ...] = ()
        self._seen_at = 0.0

    def admit(self, choose: Callable[[Snapshot], Sequence[Admitted]]) -> list[tuple[str, int, str]]:
        """See the port."""
        with self._database.reading() as tx:
            if not self._anything(tx):
                return []
        self._seen = ()
        with self._database.transaction() as tx:
            virtual = lock_queue(tx)
            self._runs.promote(tx)
            snapshot = self._snapshot(tx)
            if not snapshot.lanes:
                return []
            released: list[tuple[str, int, str]] = []
            for admitted in choose(snapshot):
                if admitted.worker is not None:
                    release = self._release(tx, admitted.lane, admitted.worker)
                    released += [release] if release else []
                    virtual = max(virtual, admitted.lane.head)
                else:
                    self._wait(tx, admitted.lane.id, admitted.blocked_by, held=admitted.held)
            if released:
                tx.execute(update(t.admission).values(virtual=virtual))
            else:
                self._seen, self._seen_at = self._fingerprint(tx), time.monotonic()
            return released

    def _wait(self, tx: Transaction, lane: int, reason: str, *, held: bool) -> None:
        """Say why a lane waits; where it is held or let go, on the commits too."""
        why = (t.lane.c.id == lane, or_(t.lane.c.blocked_by != reason, t.lane.c.held != int(held)))
        before = tx.scalar(select(t.lane.c.held).where(*why))
        if before is None:
            return
        tx.execute(update(t.lane).where(*why).values(blocked_by=reason, held=int(held)))
        if held or before:
            for row in tx.rows(select(t.run).where(t.run.c.lane == lane, t.run.c.tag.is_not(None)).order_by(t.run.c.tag).limit(_TOLD)):
                self._runs.report(tx, record(row))

    def _anything(self, tx: Transaction) -> bool:
        due = t.run.c.not_before <= tx.time
        back = t.run.c.not_before > tx.time + t.run.c.delay_s + 60
        if tx.scalar(select(t.run.c.id).where(t.run.c.not_before.is_not(None), due | back).limit(1)):
            return True
        if tx.scalar(select(t.lane.c.id).where(t.lane.c.head.is_not(None)).limit(1)) is None:
            return False
        return time.monotonic() - self._seen_at > _ANEW_S or self._fingerprint(tx) != self._seen

    def _fingerprint(self, tx: Transaction) -> tuple[Any, ...]:
        """Equal while nothing happened that could free a lane; what time alone frees is looked for now and then."""
        busy = select(func.count(), func.max(t.run.c.started_at)).where(t.run.c.worker.is_not(None))
        waiting = select(func.count(), func.sum(t.lane.c.waiting)).where(t.lane.c.head.is_not(None))
        slots = select(func.count(), func.sum(t.worker.c.slots)).where(t.worker.c.state == "live")
        paused = select(func.count(), func.count(t.pause.c.ended_at))
        return tuple(tuple(tx.rows(query)[0]) for query in (busy, waiting, slots, paused))

    def _snapshot(self, tx: Transaction) -> Snapshot:
        busy = tx.rows(select(t.run.c.worker, t.run.c.repository, t.run.c.agent).where(t.run.c.worker.is_not(None)))
        workers: list[Slots] = []
        for row in tx.rows(select(t.worker).where(t.worker.c.state == "live", t.worker.c.slots > 0)):
            process = process_of(row)
            taken = sum(one.worker == process.id for one in busy)
            workers.append(Slots(process.id, max(0, process.slots - taken), frozenset(process.agents) if process.agents else None))
        lanes = [
            Lane(row.id, row.repository, row.agent, row.priority, row.head, row.waiting)
            for row in tx.rows(select(t.lane).where(t.lane.c.head.is_not(None)).order_by(t.lane.c.head).limit(MAX_LANES))
        ]
        started = {agent: _started(tx, agent, period_s) for agent, (_, period_s) in self._terms.rates().items()} if self._terms else {}
        holds = [as_hold(pause) for pause in active_pauses(tx)]
        return Snapshot(lanes, workers, [(row.repository or "", row.agent) for row in busy], started, holds)

    def _release(self, tx: Transaction, lane: Lane, worker: str) -> tuple[str, int, str] | None:
        """The head of the lane goes to the worker, as its next attempt; nothing if its agent cools down."""
        columns = (t.run.c.id, t.run.c.attempts, t.run.c.agent, t.run.c.repository, t.run.c.number, t.run.c.judged)
        first = select(*columns).where(t.run.c.lane == lane.id, t.run.c.tag == lane.head).limit(1)
        row = tx.connection.execute(first).one()
        cooldown_s = self._terms.cooldown_s(lane.repository, lane.agent) if self._terms else 0.0
        rest_s = cooldown_s and self._cooling(tx, row, cooldown_s)
        if rest_s > 0:
            self._runs.leave_lane(tx, row.id)
            waits = {"not_before": tx.time + rest_s, "delay_s": rest_s, "reason": f"{lane.agent} cools down on this subject"}
            tx.execute(update(t.run).where(t.run.c.id == row.id).values(**waits))
            return None
        attempt = int(row.attempts) + 1
        short = reserve(tx, self._terms.budgets(lane.repository), row, attempt) if self._terms else None
        if short:
            self._over_budget(tx, lane, row.id, *short)
            return None
        held = {"ready": 0, "tag": None, "worker": worker, "attempts": attempt, "started_at": tx.time}
        tx.execute(update(t.run).where(t.run.c.id == row.id).values(**held))
        refresh_lane(tx, lane.id)
        self._enqueue(tx.connection, row.id, attempt, worker)
        return row.id, attempt, worker

    def _over_budget(self, tx: Transaction, lane: Lane, run_id: str, scope: Scope, reason: str) -> None:
        """What is spent for ever blocks the run; what is spent for today holds its lane until tomorrow."""
        if scope.period != FOREVER:
            self._wait(tx, lane.id, f"{reason}; again at 00:00 UTC", held=True)
            return
        run = one(tx, run_id)
        if run is not None:
            say(tx, run, f"budget:{scope.key}", reason)
            self._runs.end(tx, run, "blocked", reason)

    def _cooling(self, tx: Transaction, row: Any, cooldown_s: float) -> float:  # noqa: ANN401 - a row
        """Seconds until the agent may start on this subject again. A start in the future means that the clock went back."""
        same = (t.run.c.agent == row.agent, t.run.c.repository == row.repository, t.run.c.number == row.number, t.run.c.id != row.id)
        last = tx.scalar(select(func.max(t.run.c.started_at)).where(*same, t.run.c.started_at <= tx.time))
        return 0.0 if last is None else max(0.0, last + cooldown_s - tx.time)

    def stop(self, run_id: str, state: Literal["cancelled", "superseded"], reason: str) -> RunRecord | None:
        """See the port."""
        with self._database.transaction() as tx:
            lock_queue(tx)
            run = one(tx, run_id)
            if run is None or run.state not in UNFINISHED:
                return run
            return self._runs.stop(tx, run, state, reason)

    def stopping(self, worker: str) -> dict[str, str]:
        """See the port."""
        mine = (t.run.c.worker == worker, t.run.c.stop_state.is_not(None))
        with self._database.reading() as tx:
            return {row.id: row.stop_reason or "" for row in tx.rows(select(t.run.c.id, t.run.c.stop_reason).where(*mine))}

    def overview(self) -> Overview:
        """See the port."""
        with self._database.reading() as tx:
            states = {row.state: row.runs for row in tx.rows(select(t.run.c.state, func.count().label("runs")).group_by(t.run.c.state))}
            waiting = select(func.count()).select_from(t.delivery).where(t.ACCEPTED)
            deciding = select(func.count()).select_from(t.delivery).where(t.delivery.c.hub.is_not(None))
            processes = [process_of(row) for row in tx.rows(select(t.worker).order_by(t.worker.c.kind, t.worker.c.id))]
            held = select(func.count()).select_from(t.run.join(t.lane, t.run.c.lane == t.lane.c.id))
            count = int(tx.scalar(held.where(t.run.c.tag.is_not(None), t.lane.c.held == 1)))
            if count:
                states["queued"], states["held"] = states.get("queued", 0) - count, states.get("held", 0) + count
            return Overview(
                _agents(tx), processes, int(tx.scalar(waiting)) + int(tx.scalar(deciding)),
                {state: number for state, number in states.items() if number}, pauses_with_counts(tx), guard_states(tx),
                spent(tx, tx.now.date().isoformat()), _stopped(tx), troubled(tx, _SHOWN),
            )  # fmt: skip


def _started(tx: Transaction, agent: str, period_s: float) -> int:
    recent = select(func.count()).select_from(t.run).where(t.run.c.agent == agent, t.run.c.started_at > tx.time - period_s)
    return int(tx.scalar(recent))


def _stopped(tx: Transaction) -> list[RunRecord]:
    """The latest runs that loops or budgets cut, and those that wait for people."""
    cut = (
        (t.run.c.state == "blocked")
        & (t.run.c.attempts == 0)
        & (t.run.c.reason.like("loop:%") | t.run.c.reason.like("no progress:%") | t.run.c.reason.like("budget of%"))
    )
    waiting = t.run.c.state == "awaiting_approval"
    return [record(row) for row in tx.rows(select(t.run).where(cut | waiting).order_by(t.run.c.updated_at.desc()).limit(_SHOWN))]


def _agents(tx: Transaction) -> list[AgentState]:
    running = dict(tx.rows(select(t.run.c.agent, func.count()).where(t.run.c.worker.is_not(None)).group_by(t.run.c.agent)))
    lanes = select(t.lane.c.agent, func.sum(t.lane.c.waiting).label("runs"), func.max(t.lane.c.blocked_by).label("why"))
    waiting = {row.agent: row for row in tx.rows(lanes.group_by(t.lane.c.agent))}
    oldest = dict(tx.rows(select(t.run.c.agent, func.min(t.run.c.queued_at)).where(t.run.c.tag.is_not(None)).group_by(t.run.c.agent)))
    health = {row.agent: row for row in tx.rows(select(t.agent_health))}
    states: list[AgentState] = []
    for agent in sorted({*running, *waiting, *health}):
        lane, known = waiting.get(agent), health.get(agent)
        done = known.succeeded + known.failed if known else 0
        states.append(AgentState(
            agent=agent, running=int(running.get(agent, 0)), waiting=int(lane.runs) if lane else 0,
            oldest_s=round(max(0.0, tx.time - oldest[agent]), 1) if oldest.get(agent) else None,
            error_rate=round(known.failed / done, 3) if known and done else None,
            healthy=known is None or known.unhealthy_until <= tx.time, last_error=known.last_error if known else "",
            last_run_at=known.last_run_at if known else None, blocked_by=lane.why if lane else "",
        ))  # fmt: skip
    return states
