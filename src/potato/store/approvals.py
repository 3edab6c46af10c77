"""What waits for people, and what they answered, on SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select, update

from potato.core.approval import Answer
from potato.core.lineage import Caps
from potato.errors import PotatoError
from potato.ports import Delivery, Entry, Pass, RunRecord, Work
from potato.ports.control import Waiting
from potato.store import tables as t
from potato.store.database import Database, Transaction
from potato.store.lineage import leave
from potato.store.runs import Runs, Tell, lock_queue, one, record, with_proposals, work_of

_AT_ONCE = 200


class SqlApprovals:
    """See the port."""

    def __init__(self, database: Database, tell: Tell, passage: Pass) -> None:
        self._database = database
        self._runs = Runs(tell, passage, queue=True)

    def waiting(self, prefix: str = "") -> list[Waiting]:
        """See the port."""
        wanted = (t.run.c.state == "awaiting_approval", t.proposal.c.verdict == "needs_approval")
        query = select(t.proposal.c.id, t.proposal.c.run_id).select_from(t.proposal.join(t.run, t.proposal.c.run_id == t.run.c.id))
        with self._database.reading() as tx:
            rows = tx.rows(query.where(*wanted, t.proposal.c.digest.startswith(f"sha256:{prefix}", autoescape=True)).limit(_AT_ONCE))
            runs = [record(row) for row in tx.rows(select(t.run).where(t.run.c.id.in_({row.run_id for row in rows})))]
            by_id = {run.id: run for run in with_proposals(tx, runs)}
            kept = {
                row.delivery_id: Delivery(row.delivery_id, row.event, row.body, row.source)
                for row in tx.rows(select(t.delivery).where(t.delivery.c.delivery_id.in_({run.delivery_id for run in runs})))
            }
            said: dict[str, list[str]] = defaultdict(list)
            for row in tx.rows(select(t.approval).where(t.approval.c.proposal_id.in_([row.id for row in rows]))):
                said[row.proposal_id].append(row.approver)
        found: list[Waiting] = []
        for row in rows:
            run = by_id[row.run_id]
            proposal = next(proposal for proposal in run.proposals if proposal.id == row.id)
            if run.delivery_id in kept:
                found.append(Waiting(run, proposal, kept[run.delivery_id], tuple(sorted(said[row.id]))))
        return found

    def answer(self, waiting: Waiting, login: str, answer: Answer, source: str, *, enough: bool) -> RunRecord:
        """See the port."""
        proposal = waiting.proposal
        with self._database.transaction() as tx:
            lock_queue(tx)
            run = self._still_waiting(tx, waiting)
            row = {
                "proposal_id": proposal.id, "approver": login.casefold(), "answer": answer, "digest": proposal.digest,
                "source": source[:300], "at": tx.time,
            }  # fmt: skip
            if not tx.execute(tx.upsert(t.approval).values(row).on_conflict_do_nothing()):
                raise PotatoError("approval-refused", f"{login} has answered this before.")
            tx.entries.append(Entry("approval", {"proposal": proposal.id, "digest": proposal.digest, "by": login, "answer": answer,
                                                 "source": source}))  # fmt: skip
            if answer == "deny":
                self._judge(tx, waiting, "deny", f"denied by {login}")
            elif enough:
                everyone = ", ".join(sorted({*waiting.approvers, login.casefold()}))
                self._judge(tx, waiting, "allow", f"approved by {everyone}")
            else:
                return run
            ready = replace(run, state="queued", reason=f"{answer} by {login}", updated_at=tx.now)
            self._runs.change(tx, ready, t.run.c.state == "awaiting_approval")
            self._runs.make_ready(tx, ready)
            return ready

    def _still_waiting(self, tx: Transaction, waiting: Waiting) -> RunRecord:
        """The run, locked, if what was looked at is what is there. Raises `PotatoError`."""
        run = one(tx, waiting.run.id)
        there = (t.proposal.c.id == waiting.proposal.id, t.proposal.c.digest == waiting.proposal.digest,
                 t.proposal.c.verdict == "needs_approval")  # fmt: skip
        if run is None or run.state != "awaiting_approval" or tx.scalar(select(t.proposal.c.id).where(*there)) is None:
            raise PotatoError("approval-refused", "it does not wait for an answer any more.")
        if run.expires_at is None or run.expires_at <= tx.time or run.updated_at > tx.now:
            raise PotatoError("approval-refused", "its time is over, or the clock is wrong.")
        return run

    @staticmethod
    def _judge(tx: Transaction, waiting: Waiting, verdict: str, reason: str) -> None:
        """The verdict that people gave."""
        tx.execute(update(t.proposal).where(t.proposal.c.id == waiting.proposal.id).values(verdict=verdict, reason=reason))
        tx.execute(update(t.approval).where(t.approval.c.proposal_id == waiting.proposal.id).values(used=1))
        tx.entries.append(Entry("verdict", {"run": waiting.run.id, "proposal": waiting.proposal.id, "verdict": verdict, "reason": reason,
                                            "digest": waiting.proposal.digest}))  # fmt: skip

    def revoke(self, run_id: str, reason: str) -> RunRecord | None:
        """See the port."""
        with self._database.transaction() as tx:
            lock_queue(tx)
            run = one(tx, run_id)
            if run is None or run.worker is not None or run.state not in ("awaiting_approval", "queued"):
                return None
            return self._runs.end(tx, run, "expired", reason)

    def expire(self) -> list[RunRecord]:
        """See the port."""
        late = (t.run.c.expires_at.is_not(None), t.run.c.state == "awaiting_approval")
        with self._database.reading() as tx:
            if tx.scalar(select(t.run.c.id).where(*late, t.run.c.expires_at <= tx.time).limit(1)) is None:
                return []
        with self._database.transaction() as tx:
            lock_queue(tx)
            rows = tx.rows(select(t.run).where(*late, t.run.c.expires_at <= tx.time).limit(_AT_ONCE))
            return [self._runs.end(tx, record(row), "expired", "nobody answered in time") for row in rows]

    def accounts(self) -> set[str]:
        """See the port."""
        with self._database.reading() as tx:
            return {row.actor for row in tx.rows(select(t.effect.c.actor).where(t.effect.c.actor != "").distinct())}

    def work(self, run_id: str) -> Work | None:
        """See the port."""
        with self._database.reading() as tx:
            row = next(iter(tx.rows(select(t.run).where(t.run.c.id == run_id))), None)
            return work_of(tx, record(row)) if row else None

    def lift(self, run: RunRecord, again: RunRecord, login: str, source: str, caps: Caps) -> RunRecord:
        """See the port."""
        with self._database.transaction() as tx:
            lock_queue(tx)
            if one(tx, again.id) is not None:
                raise PotatoError("lift-refused", f"run '{run.id}' was lifted before, as '{again.id}'.")
            tx.entries.append(Entry("lift", {"run": run.id, "again": again.id, "by": login, "source": source}))
            return self._runs.add(tx, again, caps)

    def left(self, run_id: str, actor: str, tracks: Sequence[str]) -> None:
        """See the port."""
        with self._database.transaction() as tx:
            leave(tx, run_id, f"reply:{run_id}"[:100], actor, tracks)
