"""Runs as rows, and what happens to several of them at once: lanes, guards that rest, heads that move on."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, bindparam, delete, func, insert, select, update

from potato.core.admission import next_tag
from potato.core.event import Facts
from potato.core.lineage import Caps, no_progress, too_deep
from potato.core.record import recorded_facts
from potato.core.run import TERMINAL, State
from potato.core.strict_json import parse_object
from potato.ports import Delivery, Effect, Entry, Pass, ProposalRecord, RunRecord, Usage, Work
from potato.store import tables as t
from potato.store.database import Transaction, names, to_json
from potato.store.lineage import from_links, links
from potato.store.notices import say
from potato.store.spending import settle

UNFINISHED: Final[tuple[State, ...]] = ("queued", "held", "awaiting_approval", "running", "applying")
RESTING: Final = frozenset[str]({*TERMINAL, "held", "awaiting_approval"})
Tell = Callable[[RunRecord], Entry]
_NEVER_RAN: Final = ("blocked", "superseded", "cancelled", "expired")


def values(run: RunRecord) -> dict[str, Any]:
    """What is stored of a run whatever its state."""
    return {
        "id": run.id, "delivery_id": run.delivery_id, "agent": run.agent, "state": run.state, "reason": run.reason,
        "rules": to_json(run.rules), "priority": run.priority, "repository": run.repository, "number": run.number,
        "created_at": run.created_at.isoformat(), "updated_at": run.updated_at.isoformat(), "attempts": run.attempts,
        "summary": run.summary, "warnings": to_json(run.warnings), "log": run.log, "config_digest": run.config_digest,
        "head_sha": run.head_sha, "occurred_at": run.occurred_at, "after": to_json(run.after),
        "actor": run.actor, "depth": len(run.lineage), "lineage": from_links(run.lineage),
        "expires_at": run.expires_at if run.state == "awaiting_approval" else None,
        "model": run.usage.model if run.usage else None, "equals": to_json(run.equals), "lifted_by": run.lifted_by,
        **({"tokens": run.usage.tokens, "micros": run.usage.micros} if run.usage else {}),
    }  # fmt: skip


def record(row: Any) -> RunRecord:  # noqa: ANN401 - a row
    """A run. Raises `ValueError` or `TypeError` if it was tampered with."""
    return RunRecord(
        id=row.id, agent=row.agent, state=row.state, reason=row.reason, delivery_id=row.delivery_id, rules=names(row.rules),
        priority=row.priority, repository=row.repository, number=row.number, created_at=datetime.fromisoformat(row.created_at),
        updated_at=datetime.fromisoformat(row.updated_at), attempts=row.attempts, summary=row.summary, warnings=names(row.warnings),
        log=row.log, config_digest=row.config_digest, head_sha=row.head_sha, occurred_at=row.occurred_at, after=names(row.after),
        delay_s=row.delay_s, worker=row.worker, judged=bool(row.judged),
        stop=(row.stop_state, row.stop_reason or "") if row.stop_state else None, actor=row.actor, lineage=links(row.lineage),
        usage=Usage(row.tokens, row.micros, row.model) if row.tokens or row.micros or row.model else None, expires_at=row.expires_at,
        equals=names(row.equals), lifted_by=row.lifted_by,
    )  # fmt: skip


def with_proposals(tx: Transaction, runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The same runs with their proposals and what became of these."""
    if not runs:
        return []
    found: dict[str, list[ProposalRecord]] = defaultdict(list)
    joined = t.proposal.outerjoin(t.effect, t.effect.c.proposal_id == t.proposal.c.id)
    columns = (t.proposal, t.effect.c.state.label("effect_state"), t.effect.c.detail, t.effect.c.url)
    rows = tx.rows(select(*columns).select_from(joined).where(t.proposal.c.run_id.in_([run.id for run in runs])))
    for row in sorted(rows, key=lambda row: int(str(row.id).rpartition(".")[2])):
        done = row.effect_state not in (None, "intended")
        effect = Effect(row.effect_state, row.detail, row.url) if done else None
        found[row.run_id].append(ProposalRecord(row.id, row.kind, json.loads(row.args), row.verdict, row.reason, row.digest, effect,
                                                begun=row.effect_state == "intended"))  # fmt: skip
    return [replace(run, proposals=found[run.id]) for run in runs]


def work_of(tx: Transaction, run: RunRecord) -> Work:
    """A run with its delivery and the facts that were known when it was decided."""
    kept = tx.rows(select(t.delivery).where(t.delivery.c.delivery_id == run.delivery_id))[0]
    body = tx.scalar(select(t.decision.c.body).where(t.decision.c.delivery_id == run.delivery_id))
    facts = recorded_facts(parse_object(body.encode(), "the recorded decision")) if body else Facts()
    delivery = Delivery(kept.delivery_id, kept.event, bytes(kept.body), kept.source)
    return Work(with_proposals(tx, [run])[0], delivery, facts)


def one(tx: Transaction, run_id: str) -> RunRecord | None:
    """A run by its id; locked until the transaction ends."""
    row = tx.connection.execute(select(t.run).where(t.run.c.id == run_id).with_for_update()).first()
    return record(row) if row else None


def lock_queue(tx: Transaction) -> float:
    """Virtual time; nobody else changes lanes until the transaction ends. Taken first, so that two never wait for each other."""
    return float(tx.scalar(select(t.admission.c.virtual).with_for_update()))


class Runs:
    """Steps within a caller's transaction. `queue` says whether runs that are ready enter lanes: in CI nobody takes them from there."""

    def __init__(self, tell: Tell, passage: Pass, *, queue: bool) -> None:
        self._tell = tell
        self._passage = passage
        self._queue = queue

    def add_all(self, tx: Transaction, runs: Sequence[RunRecord], caps: Caps) -> list[RunRecord]:
        """New runs of one delivery. Those that wait for a guard that rests already are freed or stopped with it."""
        added = [self.add(tx, run, caps) for run in runs]
        for run in added:
            if run.state in RESTING:
                changed = {one.id: one for one in self.release_waiting(tx, run)}
                added = [changed.get(one.id, one) for one in added]
        return added

    def add(self, tx: Transaction, run: RunRecord, caps: Caps) -> RunRecord:
        """A new run, perhaps cut or superseded at once; whatever it supersedes is stopped."""
        if run.state == "queued":
            run = self._cut(tx, run, caps)
        if run.state == "queued" and run.number is not None and run.head_sha is not None:
            run = self._supersede(tx, run)
        tx.connection.execute(insert(t.run).values(**values(run), delay_s=run.delay_s))
        tx.entries.append(self._tell(run))
        if run.state == "queued" and not run.after:
            self.make_ready(tx, run, run.delay_s)
        self.report(tx, run)
        return run

    def _cut(self, tx: Transaction, run: RunRecord, caps: Caps) -> RunRecord:
        """The run, blocked if its chain is too long or its agent goes round in circles; said once on the subject."""
        reason = too_deep(run.lineage, run.agent, caps)
        topic = f"loop:{run.lineage[0].run_id}" if reason else ""
        if reason is None:
            reason = no_progress(self._ran(tx, run), run.agent, run.head_sha, caps)
            topic = f"no-progress:{run.agent}:{run.head_sha or ''}"
        if reason is None:
            return run
        blocked = replace(run, state="blocked", reason=reason)
        say(tx, blocked, topic, reason)
        return blocked

    def _ran(self, tx: Transaction, run: RunRecord) -> int:
        """How often the agent ran, or is about to, on the commit; without one, on the subject within a day."""
        if run.number is None and run.head_sha is None:
            return 0
        since = (tx.now - timedelta(days=1)).isoformat() if run.head_sha is None else ""
        values = {"agent": run.agent, "repository": run.repository, "number": run.number, "head_sha": run.head_sha, "since": since}
        return int(tx.connection.execute(_RAN[run.number is None, run.head_sha is None], values).scalar_one())

    def make_ready(self, tx: Transaction, run: RunRecord, delay_s: float = 0.0) -> None:
        """It waits for nothing but a time, and then for a slot."""
        if delay_s > 0:
            run.reason = f"{run.reason}; starts in {delay_s:.0f} s" if delay_s >= 1 else run.reason
            waits = {"ready": 0, "not_before": tx.time + delay_s, "delay_s": delay_s, "reason": run.reason}
            tx.execute(update(t.run).where(t.run.c.id == run.id).values(**waits))
        elif self._queue:
            self._enter_lane(tx, run)
        else:
            tx.execute(update(t.run).where(t.run.c.id == run.id).values(ready=1, not_before=None))

    def _enter_lane(self, tx: Transaction, run: RunRecord) -> None:
        repository = run.repository or ""
        same = (t.flow.c.repository == repository, t.flow.c.priority == run.priority)
        virtual = float(tx.scalar(select(t.admission.c.virtual)))
        tag = next_tag(virtual, tx.scalar(select(t.flow.c.tag).where(*same)), run.priority)
        flow = tx.upsert(t.flow).values(repository=repository, priority=run.priority, tag=tag)
        tx.execute(flow.on_conflict_do_update(index_elements=["repository", "priority"], set_={"tag": flow.excluded.tag}))
        lane = tx.upsert(t.lane).values(repository=repository, agent=run.agent, priority=run.priority, head=tag, waiting=1)
        least = func.coalesce(t.lane.c.head, tag)
        entered = lane.on_conflict_do_update(
            index_elements=["repository", "agent", "priority"], set_={"head": least, "waiting": t.lane.c.waiting + 1}
        ).returning(t.lane.c.id)
        lane_id = tx.connection.execute(entered).scalar_one()
        tx.execute(update(t.run).where(t.run.c.id == run.id).values(ready=1, not_before=None, lane=lane_id, tag=tag, queued_at=tx.time))

    def leave_lane(self, tx: Transaction, run_id: str) -> None:
        """It waits no more."""
        row = tx.connection.execute(select(t.run.c.lane, t.run.c.tag).where(t.run.c.id == run_id)).one()
        tx.execute(update(t.run).where(t.run.c.id == run_id).values(ready=0, tag=None, not_before=None))
        if row.tag is not None:
            refresh_lane(tx, row.lane)

    def promote(self, tx: Transaction) -> int:
        """Let those in whose time has come. A time further ahead than the delay was means that the clock went back."""
        due = t.run.c.not_before <= tx.time
        turned_back = t.run.c.not_before > tx.time + t.run.c.delay_s + 60
        rows = tx.rows(select(t.run).where(t.run.c.not_before.is_not(None), due | turned_back).order_by(t.run.c.not_before).limit(200))
        for row in rows:
            self.make_ready(tx, record(row))
        return len(rows)

    def change(self, tx: Transaction, run: RunRecord, where: ColumnElement[bool], **more: Any) -> bool:  # noqa: ANN401 - columns
        """Update, log and report it if `where` holds."""
        shape = values(run)
        fixed = ("id", "delivery_id", "agent", "created_at", "attempts", "actor", "depth", "lineage")
        kept = {name: value for name, value in shape.items() if name not in fixed}
        if not tx.execute(update(t.run).where(t.run.c.id == run.id, where).values(**kept, **more)):
            return False
        tx.entries.append(self._tell(run))
        self.report(tx, run)
        return True

    def end(self, tx: Transaction, run: RunRecord, state: State, reason: str) -> RunRecord:
        """End a run that no worker has."""
        ended = replace(run, state=state, reason=reason, updated_at=tx.now)
        self.leave_lane(tx, run.id)
        if self.change(tx, ended, t.run.c.worker.is_(None), finished_at=tx.time):
            settle(tx, run.id, run.usage)
            self.release_waiting(tx, ended)
        return ended

    def end_stopped(self, tx: Transaction, run: RunRecord, stop: tuple[State, str]) -> list[RunRecord]:
        """End a run that was stopped while a worker had it; gives it and what changed with it."""
        ended = replace(run, state=stop[0], reason=stop[1], updated_at=tx.now)
        self.change(tx, ended, t.run.c.id == run.id, worker=None, ready=0, finished_at=tx.time, stop_state=None)
        settle(tx, run.id, run.usage)
        return [ended, *self.release_waiting(tx, ended)]

    def release_waiting(self, tx: Transaction, guard: RunRecord) -> list[RunRecord]:
        """Free or stop the runs that waited for this one, and those that waited for them."""
        changed: list[RunRecord] = []
        columns = (t.run.c.delivery_id == guard.delivery_id, t.run.c.state == "queued", t.run.c.ready == 0, t.run.c.after != "[]")
        waiting = [record(row) for row in tx.rows(select(t.run).where(*columns))]
        for run in waiting:
            if guard.agent not in run.after:
                continue
            mine = (t.run.c.delivery_id == guard.delivery_id, t.run.c.agent.in_(run.after))
            guards = with_proposals(tx, [record(row) for row in tx.rows(select(t.run).where(*mine))])
            if any(one.state not in RESTING for one in guards):
                continue
            verdict, why = self._passage(guards)
            if verdict == "pass":
                self.make_ready(tx, run, run.delay_s)
                continue
            stopped = replace(run, state="blocked" if verdict == "blocked" else "held", reason=why, updated_at=tx.now)
            self.change(tx, stopped, t.run.c.worker.is_(None))
            changed += [stopped, *self.release_waiting(tx, stopped)]
        return changed

    def _supersede(self, tx: Transaction, run: RunRecord) -> RunRecord:
        """A newer head ends what was asked for on an older one; an event that comes late ends itself."""
        same = (t.run.c.repository == run.repository, t.run.c.number == run.number, t.run.c.agent == run.agent)
        other = (t.run.c.state.in_(UNFINISHED), t.run.c.head_sha != run.head_sha)
        for row in tx.rows(select(t.run).where(*same, *other)):
            old = record(row)
            if not set(old.rules) & set(run.rules) or not old.occurred_at or not run.occurred_at:
                continue  # without times nobody can say which is newer
            if old.occurred_at > run.occurred_at:
                run = replace(run, state="superseded", reason=f"run {old.id} is about the newer commit {str(old.head_sha)[:12]}")
            else:
                self.stop(tx, old, "superseded", f"commit {str(run.head_sha)[:12]} came")
        return run

    def stop(self, tx: Transaction, run: RunRecord, state: State, reason: str) -> RunRecord:
        """End it, or tell its worker to."""
        if run.worker is None:
            return self.end(tx, run, state, reason)
        if run.stop is not None:
            return run
        tx.execute(update(t.run).where(t.run.c.id == run.id).values(stop_state=state, stop_reason=reason))
        return replace(run, stop=(state, reason))

    def report(self, tx: Transaction, run: RunRecord) -> None:
        """Something changed that the commit's check run tells."""
        if not self._queue or run.head_sha is None or run.number is None or run.repository is None:
            return
        key = {"repository": run.repository, "head_sha": run.head_sha}
        fresh = tx.upsert(t.head_report).values(**key, delivery_id=run.delivery_id, wanted=1, posted=0, not_before=tx.time + 0.3)
        more = {"wanted": t.head_report.c.wanted + 1, "delivery_id": run.delivery_id}
        noted = fresh.on_conflict_do_update(index_elements=["repository", "head_sha"], set_=more)
        tx.last["report", run.repository, run.head_sha] = partial(tx.connection.execute, noted)


def waiting_lanes(tx: Transaction) -> dict[int, tuple[str, bool]]:
    """Lanes that wait for something -> why, and whether they are held."""
    columns = (t.lane.c.id, t.lane.c.blocked_by, t.lane.c.held)
    return {row.id: (row.blocked_by, bool(row.held)) for row in tx.rows(select(*columns).where(t.lane.c.blocked_by != ""))}


def as_shown(run: RunRecord, row: Any, lanes: Mapping[int, tuple[str, bool]]) -> RunRecord:  # noqa: ANN401 - a row
    """A run as people see it: one that waits says for what."""
    if row.tag is None or row.lane not in lanes:
        return run
    why, held = lanes[row.lane]
    return replace(run, state="held", reason=why) if held else replace(run, reason=f"waits: {why}")


def _ran_query(*, no_number: bool, no_head: bool) -> Select[Any]:
    """Runs of an agent on one commit or subject; made once, for it is asked for every run."""
    same = [t.run.c.agent == bindparam("agent"), t.run.c.repository == bindparam("repository"), t.run.c.state.notin_(_NEVER_RAN),
            t.run.c.created_at > bindparam("since")]  # fmt: skip
    same.append(t.run.c.number.is_(None) if no_number else t.run.c.number == bindparam("number"))
    same.append(t.run.c.head_sha.is_(None) if no_head else t.run.c.head_sha == bindparam("head_sha"))
    return select(func.count()).select_from(t.run).where(*same)


_RAN: Final = {(n, h): _ran_query(no_number=n, no_head=h) for n in (False, True) for h in (False, True)}


def outstanding(tx: Transaction, agents: Sequence[str]) -> dict[str, tuple[int, bool]]:
    """How much each agent has to do, and whether it is healthy."""
    held = select(t.run.c.agent, func.count()).where(t.run.c.worker.is_not(None), t.run.c.agent.in_(agents))
    in_lanes = select(t.lane.c.agent, func.sum(t.lane.c.waiting)).where(t.lane.c.agent.in_(agents))
    unready = (t.UNREADY, t.run.c.worker.is_(None), t.run.c.agent.in_(agents))
    counts: dict[str, int] = {}
    for query in (
        held.group_by(t.run.c.agent), in_lanes.group_by(t.lane.c.agent),
        select(t.run.c.agent, func.count()).where(*unready).group_by(t.run.c.agent),
    ):  # fmt: skip
        for agent, count in tx.rows(query):
            counts[agent] = counts.get(agent, 0) + int(count)
    ill = {row.agent for row in tx.rows(select(t.agent_health.c.agent).where(t.agent_health.c.unhealthy_until > tx.time))}
    return {agent: (counts.get(agent, 0), agent not in ill) for agent in agents}


def refresh_lane(tx: Transaction, lane: int) -> None:
    """Its head and length, counted anew where it is short, else by one less."""
    head = tx.scalar(select(func.min(t.run.c.tag)).where(t.run.c.lane == lane, t.run.c.tag.is_not(None)))
    if head is None:
        tx.execute(delete(t.lane).where(t.lane.c.id == lane))
    else:
        tx.execute(update(t.lane).where(t.lane.c.id == lane).values(head=head, waiting=t.lane.c.waiting - 1, held=0, blocked_by=""))
