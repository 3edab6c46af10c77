"""The workflow's store on SQL: every method is one transaction, audit entries included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from sqlalchemy import ColumnElement, insert, select, update

from potato.core.budget import Budgets
from potato.core.canonical import canonical, digest_bytes
from potato.core.hold import held_by
from potato.core.lineage import Caps
from potato.core.run import State, may_become
from potato.errors import PotatoError
from potato.ports import Delivery, Effect, Entry, Fenced, Loads, Pass, Plan, RunRecord, TranscriptEvent, Work
from potato.store import tables as t
from potato.store import transcripts
from potato.store.database import Database, Transaction, to_json
from potato.store.lineage import chain, leave
from potato.store.runs import Runs, Tell, as_shown, lock_queue, one, outstanding, record, waiting_lanes, with_proposals, work_of
from potato.store.spending import reserve, settle
from potato.store.switch import active_pauses, as_hold, paused_at_gate


class SqlStore:
    """See `potato.ports.Store`. `tell` makes the audit entry of a run's new state."""

    def __init__(self, database: Database, tell: Tell, passage: Pass, *, queue: bool = False) -> None:
        self._database = database
        self._runs = Runs(tell, passage, queue=queue)

    def record_delivery(self, delivery: Delivery, entry: Entry) -> bool:
        """See the port. The same id with another body is `delivery-conflict`."""
        body_digest = digest_bytes(delivery.body)
        with self._database.transaction() as tx:
            known = tx.scalar(select(t.delivery.c.body_digest).where(t.delivery.c.delivery_id == delivery.delivery_id))
            if known is not None:
                if known != body_digest:
                    raise PotatoError("delivery-conflict", f"delivery '{delivery.delivery_id}' came before with another body.")
                return False
            tx.connection.execute(insert(t.delivery).values(
                delivery_id=delivery.delivery_id, event=delivery.event, source=delivery.source, received_at=tx.now.isoformat(),
                body_digest=body_digest, body=delivery.body, state="deciding",
            ))  # fmt: skip
            tx.entries.append(entry)
        return True

    def plan(self, plan: Plan) -> list[RunRecord]:
        """See the port. What was planned before stays as it is."""
        with self._database.transaction() as tx:
            lock_queue(tx)
            fresh = tx.upsert(t.decision).values(
                delivery_id=plan.delivery_id, config_digest=plan.config_digest, decided_at=tx.now.isoformat(),
                body=canonical(plan.decision).decode(),
            )  # fmt: skip
            if not tx.execute(fresh.on_conflict_do_nothing()):
                return self._of(tx, plan.delivery_id)
            done = {"state": "decided", "hub": None, "reason": "", "config_digest": plan.config_digest}
            tx.execute(update(t.delivery).where(t.delivery.c.delivery_id == plan.delivery_id).values(**done))
            tx.entries.append(plan.entry)
            loads = outstanding(tx, sorted(plan.equals)) if plan.equals else {}
            return self._runs.add_all(tx, plan.runs(loads, chain(tx, plan.cause) if plan.cause else ()), plan.caps)

    def add_runs(self, parent: RunRecord, runs: Sequence[RunRecord], caps: Caps) -> list[RunRecord]:
        """See the port."""
        with self._database.transaction() as tx:
            lock_queue(tx)
            self._hold(tx, parent)
            there = {row.agent for row in tx.rows(select(t.run.c.agent).where(t.run.c.delivery_id == parent.delivery_id))}
            return self._runs.add_all(tx, [run for run in runs if run.agent not in there], caps)

    def ready(self, delivery_id: str) -> list[RunRecord]:
        """See the port."""
        waiting = (t.run.c.delivery_id == delivery_id, t.run.c.state == "queued", t.run.c.ready == 1)
        with self._database.reading() as tx:
            return [record(row) for row in tx.rows(select(t.run).where(*waiting).order_by(t.run.c.created_at))]

    def start(self, run_id: str, attempt: int | None, worker: str | None, budgets: Budgets | None = None) -> Work | None:
        """See the port."""
        with self._database.transaction() as tx:
            lock_queue(tx)
            run = one(tx, run_id)
            if run is None or run.worker != worker or run.state not in ("queued", "running", "applying"):
                return None
            if attempt is not None and attempt != run.attempts:
                return None
            if run.stop is not None:
                self._runs.end_stopped(tx, run, run.stop)
                return None
            number = attempt or run.attempts + 1
            if attempt is None and (hindered := self._hindrance(tx, run, number, budgets)):
                self._runs.end(tx, run, *hindered)
                return None
            started = replace(run, attempts=number, state="running", reason=f"attempt {number}", updated_at=tx.now)
            begun = {"attempts": number, "ready": 0, "started_at": tx.time}
            self._runs.change(tx, started, t.run.c.attempts == run.attempts, **begun)
            return work_of(tx, started)

    @staticmethod
    def _hindrance(tx: Transaction, run: RunRecord, attempt: int, budgets: Budgets | None) -> tuple[State, str] | None:
        """What keeps a run from starting where there is no queue: a pause holds it, a budget blocks it."""
        hold = held_by(run.repository or "", run.agent, [as_hold(pause) for pause in active_pauses(tx)])
        if hold is not None:
            return "held", hold.said()
        short = reserve(tx, budgets, run, attempt) if budgets else None
        return ("blocked", short[1]) if short else None

    def save_run(self, run: RunRecord) -> None:
        """See the port. A change of state that `potato.core.run` does not know is `bad-transition`."""
        with self._database.transaction() as tx:
            self._change(tx, run)

    def _change(self, tx: Transaction, run: RunRecord, **more: Any) -> None:  # noqa: ANN401 - columns
        before = tx.scalar(select(t.run.c.state).where(t.run.c.id == run.id))
        if before is not None and before != run.state and not may_become(cast("State", before), run.state):
            raise PotatoError("bad-transition", f"run '{run.id}' is {before} and cannot become {run.state}.")
        if not self._runs.change(tx, run, _held_by(run), **more):
            raise _fenced(run)

    def rest(self, run: RunRecord) -> list[RunRecord]:
        """See the port."""
        with self._database.transaction() as tx:
            lock_queue(tx)
            self._change(tx, run, worker=None, ready=0, finished_at=tx.time, stop_state=None)
            settle(tx, run.id, run.usage)
            if run.attempts:
                self._health(tx, run)
            return self._runs.release_waiting(tx, run)

    def _health(self, tx: Transaction, run: RunRecord) -> None:
        """Count how the agent does. Blocked runs and those a person ends say nothing about it."""
        if run.state not in ("succeeded", "failed", "awaiting_approval"):
            return
        row = next(iter(tx.rows(select(t.agent_health).where(t.agent_health.c.agent == run.agent).with_for_update())), None)
        good, bad, in_a_row = (row.succeeded, row.failed, row.in_a_row) if row else (0, 0, 0)
        if good + bad >= _RECENT:
            good, bad = good // 2, bad // 2
        failed = run.state == "failed"
        in_a_row = in_a_row + 1 if failed else 0
        beyond = in_a_row - (1 if run.trouble else _FAILURES)  # one that its provider refuses is ill at once
        until = tx.time + min(2**beyond * 15, 900) if beyond >= 0 else 0.0
        now = {
            "succeeded": good + (not failed), "failed": bad + failed, "in_a_row": in_a_row, "unhealthy_until": until,
            "last_error": run.reason if failed else (row.last_error if row else ""), "last_run_at": tx.now.isoformat(),
        }  # fmt: skip
        tx.execute(tx.upsert(t.agent_health).values(agent=run.agent, **now).on_conflict_do_update(index_elements=["agent"], set_=now))

    def requeue(self, run: RunRecord, delay_s: float) -> None:
        """See the port."""
        with self._database.transaction() as tx:
            lock_queue(tx)
            self._change(tx, run, worker=None)
            self._runs.make_ready(tx, replace(run), delay_s)

    def conclude(self, run: RunRecord) -> list[RunRecord]:
        """See the port."""
        with self._database.transaction() as tx:
            lock_queue(tx)
            kept = one(tx, run.id)
            if kept is None or kept.stop is None or (kept.attempts, kept.worker) != (run.attempts, run.worker):
                return []
            return self._runs.end_stopped(tx, kept, kept.stop)

    def save_proposals(self, run: RunRecord, entries: Sequence[Entry]) -> None:
        """See the port."""
        with self._database.transaction() as tx:
            self._hold(tx, run)
            tx.execute(
                update(t.run)
                .where(t.run.c.id == run.id)
                .values(
                    judged=1,
                    summary=run.summary,
                    warnings=to_json(run.warnings),
                    log=run.log,
                    tokens=run.usage.tokens if run.usage else 0,
                    micros=run.usage.micros if run.usage else 0,
                    model=run.usage.model if run.usage else None,
                )
            )
            settle(tx, run.id, run.usage)
            if run.proposals:
                tx.connection.execute(insert(t.proposal), [{
                    "id": item.id, "run_id": run.id, "kind": item.kind, "args": to_json(item.args), "verdict": item.verdict,
                    "reason": item.reason, "digest": item.digest,
                } for item in run.proposals])  # fmt: skip
            tx.entries += entries

    def begin_effect(self, key: str, run: RunRecord, proposal_id: str, actor: str, entry: Entry) -> None:
        """See the port."""
        with self._database.transaction() as tx:
            self._hold(tx, run)
            hold = paused_at_gate(tx, run)
            if hold is not None:
                raise PotatoError("paused", f"{hold.said()}.")
            row = {"key": key, "run_id": run.id, "proposal_id": proposal_id, "state": "intended", "detail": "",
                   "at": tx.now.isoformat(), "actor": actor, "begun_at": tx.time}  # fmt: skip
            again = {"begun_at": tx.time, "actor": actor}
            tx.execute(tx.upsert(t.effect).values(row).on_conflict_do_update(index_elements=["key"], set_=again))
            tx.entries.append(entry)

    def _hold(self, tx: Transaction, run: RunRecord) -> None:
        """This attempt holds the run, and nobody stopped it; so it stays until the transaction ends."""
        mine = select(t.run.c.id).where(t.run.c.id == run.id, _held_by(run), t.run.c.stop_state.is_(None)).with_for_update()
        if tx.scalar(mine) is None:
            raise _fenced(run)

    def finish_effect(self, key: str, effect: Effect, entry: Entry) -> None:
        """See the port."""
        with self._database.transaction() as tx:
            done = {"state": effect.state, "detail": effect.detail, "url": effect.url, "at": tx.now.isoformat()}
            tx.execute(update(t.effect).where(t.effect.c.key == key).values(**done))
            if effect.tracks:
                row = tx.connection.execute(select(t.effect.c.run_id, t.effect.c.actor).where(t.effect.c.key == key)).one()
                leave(tx, row.run_id, key, row.actor, effect.tracks)
            tx.entries.append(entry)

    def add_transcript(self, events: Sequence[TranscriptEvent]) -> None:
        """See the port."""
        transcripts.add(self._database, events)

    def transcript(self, run_id: str, after: tuple[int, int] = (0, 0)) -> list[TranscriptEvent]:
        """See the port."""
        return transcripts.read(self._database, run_id, after)

    def loads(self, agents: Sequence[str]) -> Loads:
        """See the port."""
        with self._database.reading() as tx:
            return outstanding(tx, sorted(agents))

    def runs(self, limit: int | None = None) -> list[RunRecord]:
        """See the port."""
        query = select(t.run).order_by(t.run.c.created_at.desc(), t.run.c.id).limit(limit)
        with self._database.reading() as tx:
            rows = tx.rows(query)
            lanes = waiting_lanes(tx)
        try:
            return [as_shown(record(row), row, lanes) for row in rows]
        except (ValueError, TypeError) as error:
            raise PotatoError("database-unusable", f"a stored run is not readable ({type(error).__name__}).") from None

    def find(self, prefix: str) -> list[RunRecord]:
        """See the port."""
        begins = select(t.run).where(t.run.c.id.startswith(prefix, autoescape=True)).order_by(t.run.c.id).limit(3)
        with self._database.reading() as tx:
            rows = tx.rows(select(t.run).where(t.run.c.id == prefix)) or tx.rows(begins)
            lanes = waiting_lanes(tx)
            return with_proposals(tx, [as_shown(record(row), row, lanes) for row in rows])

    def runs_of(self, delivery_id: str) -> list[RunRecord]:
        """See the port."""
        query = select(t.run).where(t.run.c.delivery_id == delivery_id).order_by(t.run.c.created_at)
        with self._database.reading() as tx:
            lanes = waiting_lanes(tx)
            return with_proposals(tx, [as_shown(record(row), row, lanes) for row in tx.rows(query)])

    def _of(self, tx: Transaction, delivery_id: str) -> list[RunRecord]:
        query = select(t.run).where(t.run.c.delivery_id == delivery_id).order_by(t.run.c.created_at)
        return with_proposals(tx, [record(row) for row in tx.rows(query)])


_RECENT = 50
_FAILURES = 3


def _held_by(run: RunRecord) -> ColumnElement[bool]:
    return (t.run.c.attempts == run.attempts) & (t.run.c.worker == run.worker if run.worker else t.run.c.worker.is_(None))


def _fenced(run: RunRecord) -> Fenced:
    return Fenced("fenced", f"attempt {run.attempts} of run '{run.id}' does not hold it any more.")
