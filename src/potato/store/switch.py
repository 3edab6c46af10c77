"""Pauses, overrides, and how CI does, on SQL."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from sqlalchemy import ColumnElement, func, or_, select, update

from potato.core.hold import Hold, Reach, held_by
from potato.core.infrastructure import Outcome
from potato.ports import Entry, Pass, RunRecord
from potato.ports.control import GuardState, Override, Pause
from potato.store import tables as t
from potato.store.database import Database, Transaction
from potato.store.runs import Runs, Tell, lock_queue, record

_KEPT_S = 2 * 86_400


def active_pauses(tx: Transaction) -> list[Pause]:
    """Those that hold now, without counts."""
    lasting = (t.pause.c.ended_at.is_(None), or_(t.pause.c.until.is_(None), t.pause.c.until > tx.time))
    return [
        Pause(row.id, row.repository, row.agent, row.mode, row.note, row.by, row.at, row.until)
        for row in tx.rows(select(t.pause).where(*lasting).order_by(t.pause.c.at))
    ]


def as_hold(pause: Pause) -> Hold:
    """What it keeps from starting."""
    reach = Reach((pause.repository,) if pause.repository else (), (pause.agent,) if pause.agent else ())
    return Hold("paused", f"by {pause.by}: {pause.note}", reach, pause.until, mode=pause.mode)


def paused_at_gate(tx: Transaction, run: RunRecord) -> Hold | None:
    """The pause that keeps this run's effects back."""
    holds = [as_hold(pause) for pause in active_pauses(tx) if pause.mode != "drain"]
    return held_by(run.repository or "", run.agent, holds)


class SqlSwitch:
    """See the port."""

    def __init__(self, database: Database, tell: Tell, passage: Pass) -> None:
        self._database = database
        self._runs = Runs(tell, passage, queue=True)

    def pause(self, pause: Pause) -> list[RunRecord]:
        """See the port."""
        row = {name: getattr(pause, name) for name in ("id", "repository", "agent", "mode", "note", "by", "at", "until")}
        with self._database.transaction() as tx:
            lock_queue(tx)
            tx.connection.execute(t.pause.insert().values(**row))
            tx.entries.append(Entry("pause", row))
            if pause.mode != "cancel":
                return []
            going = [record(one) for one in tx.rows(select(t.run).where(_reached(pause), t.run.c.worker.is_not(None)))]
            return [self._runs.stop(tx, run, "cancelled", f"paused by {pause.by}: {pause.note}") for run in going]

    def resume(self, repository: str | None, agent: str | None, by: str, pause_id: str | None = None) -> list[Pause]:
        """See the port."""
        with self._database.transaction() as tx:
            lock_queue(tx)
            same = [
                pause for pause in active_pauses(tx)
                if (pause.id == pause_id if pause_id else (_folded(pause.repository), pause.agent) == (_folded(repository), agent))
            ]  # fmt: skip
            for pause in same:
                tx.execute(update(t.pause).where(t.pause.c.id == pause.id).values(ended_at=tx.now.isoformat(), ended_by=by))
                tx.entries.append(Entry("resume", {"id": pause.id, "by": by}))
            return same

    def pauses(self) -> list[Pause]:
        """See the port."""
        with self._database.reading() as tx:
            return pauses_with_counts(tx)

    def override(self, override: Override) -> None:
        """See the port."""
        row = {name: getattr(override, name) for name in override.__slots__}
        with self._database.transaction() as tx:
            lasting = {name: value for name, value in row.items() if name != "guard"}
            tx.execute(tx.upsert(t.override).values(**row).on_conflict_do_update(index_elements=["guard"], set_=lasting))
            tx.entries.append(Entry("guard-override", row))

    def overrides(self) -> list[Override]:
        """See the port."""
        with self._database.reading() as tx:
            return [
                Override(row.guard, row.by, row.note, row.at, row.until)
                for row in tx.rows(select(t.override).where(t.override.c.until > tx.time))
            ]


class SqlWatchtower:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def observe(self, outcome_id: str, repository: str, outcome: str) -> None:
        """See the port."""
        with self._database.transaction() as tx:
            row = {"id": outcome_id[:300], "repository": repository, "at": tx.time, "outcome": outcome}
            tx.execute(tx.upsert(t.ci_outcome).values(row).on_conflict_do_nothing())
            tx.execute(t.ci_outcome.delete().where(t.ci_outcome.c.at < tx.time - _KEPT_S))

    def outcomes(self, since: float, repositories: Sequence[str]) -> list[Outcome]:
        """See the port."""
        with self._database.reading() as tx:
            rows = tx.rows(select(t.ci_outcome).where(t.ci_outcome.c.at > since))
        patterns = [pattern.casefold() for pattern in repositories]
        return [
            Outcome(row.at, row.outcome)
            for row in rows
            if not patterns or any(fnmatchcase(row.repository.casefold(), pattern) for pattern in patterns)
        ]

    def note(self, states: Sequence[GuardState]) -> None:
        """See the port."""
        with self._database.reading() as tx:
            before = {row.guard: row for row in tx.rows(select(t.guard_state))}
        fresh = [
            one for one in states if (old := before.get(one.guard)) is None or (bool(old.holds), old.reason) != (one.holds, one.reason)
        ]
        if not fresh:
            return
        with self._database.transaction() as tx:
            for one in fresh:
                row = {"holds": int(one.holds), "reason": one.reason, "since": one.since, "until": one.until}
                upsert = tx.upsert(t.guard_state).values(guard=one.guard, **row)
                changed = or_(t.guard_state.c.holds != row["holds"], t.guard_state.c.reason != one.reason)
                if tx.execute(upsert.on_conflict_do_update(index_elements=["guard"], set_=row, where=changed)):
                    old = before.get(one.guard)
                    if one.holds or (old is not None and old.holds):
                        tx.entries.append(
                            Entry("guard-holds" if one.holds else "guard-releases", {"guard": one.guard, "reason": one.reason})
                        )

    def states(self) -> list[GuardState]:
        """See the port."""
        with self._database.reading() as tx:
            return guard_states(tx)


def guard_states(tx: Transaction) -> list[GuardState]:
    """What the guards did last, with who set them aside."""
    aside = {row.guard: row.by for row in tx.rows(select(t.override).where(t.override.c.until > tx.time))}
    return [
        GuardState(row.guard, bool(row.holds), row.reason, row.since, row.until, aside.get(row.guard, ""))
        for row in tx.rows(select(t.guard_state).order_by(t.guard_state.c.guard))
    ]


def pauses_with_counts(tx: Transaction) -> list[Pause]:
    """Those that hold now, and how many runs in the reach of each still go on."""
    found: list[Pause] = []
    for pause in active_pauses(tx):
        going = tx.scalar(select(func.count()).select_from(t.run).where(_reached(pause), t.run.c.worker.is_not(None)))
        found.append(Pause(pause.id, pause.repository, pause.agent, pause.mode, pause.note, pause.by, pause.at, pause.until, int(going)))
    return found


def _reached(pause: Pause) -> ColumnElement[bool]:
    everywhere: ColumnElement[bool] = t.run.c.id.is_not(None)
    if pause.repository:
        everywhere &= func.lower(t.run.c.repository) == pause.repository.lower()
    if pause.agent:
        everywhere &= t.run.c.agent == pause.agent
    return everywhere


def _folded(text: str | None) -> str | None:
    return text.casefold() if text is not None else None
