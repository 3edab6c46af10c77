"""The store on SQL: every method is one transaction, audit entries included."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import DatabaseError

from potato.core.canonical import canonical, digest_bytes
from potato.core.run import State, may_become
from potato.errors import PotatoError
from potato.ports import Clock, Delivery, Effect, Entry, RunRecord
from potato.store import tables as t

AppendEntry = Callable[[Connection, Entry, datetime], None]


class SqlStore:
    """`append` adds an audit entry within the given connection's transaction."""

    def __init__(self, engine: Engine, append: AppendEntry, clock: Clock) -> None:
        self._engine = engine
        self._append = append
        self._clock = clock

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """One transaction. A database that refuses is a `PotatoError`; nothing of the transaction remains then."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except DatabaseError as error:
            raise PotatoError("database-unusable", f"the database refused a write: {error.orig}.") from None

    def record_delivery(self, delivery: Delivery, entry: Entry) -> bool:
        """See the port. The same id with another body is `delivery-conflict`."""
        body_digest = digest_bytes(delivery.body)
        with self._transaction() as connection:
            known = connection.execute(select(t.delivery.c.body_digest).where(t.delivery.c.delivery_id == delivery.delivery_id)).scalar()
            if known is not None:
                if known != body_digest:
                    raise PotatoError("delivery-conflict", f"delivery '{delivery.delivery_id}' came before with another body.")
                return False
            now = self._clock.now()
            connection.execute(insert(t.delivery).values(
                delivery_id=delivery.delivery_id, event=delivery.event, source=delivery.source,
                received_at=now.isoformat(), body_digest=body_digest, body=delivery.body,
            ))  # fmt: skip
            self._append(connection, entry, now)
        return True

    def record_decision(self, delivery_id: str, config_digest: str, decision: Mapping[str, Any], entry: Entry) -> None:
        """See the port."""
        with self._transaction() as connection:
            now = self._clock.now()
            connection.execute(insert(t.decision).values(
                delivery_id=delivery_id, config_digest=config_digest, decided_at=now.isoformat(), body=canonical(decision).decode(),
            ))  # fmt: skip
            self._append(connection, entry, now)

    def save_run(self, run: RunRecord, entry: Entry) -> None:
        """See the port. A change of state that `potato.core.run` does not know is `bad-transition`."""
        values: dict[str, Any] = {
            "id": run.id, "delivery_id": run.delivery_id, "agent": run.agent, "state": run.state, "reason": run.reason,
            "rules": _json(run.rules), "priority": run.priority, "repository": run.repository, "number": run.number,
            "created_at": run.created_at.isoformat(), "updated_at": run.updated_at.isoformat(), "attempts": run.attempts,
            "summary": run.summary, "warnings": _json(run.warnings), "log": run.log,
        }  # fmt: skip
        with self._transaction() as connection:
            before = connection.execute(select(t.run.c.state).where(t.run.c.id == run.id)).scalar()
            if before is not None and before != run.state and not may_become(cast("State", before), run.state):
                raise PotatoError("bad-transition", f"run '{run.id}' is {before} and cannot become {run.state}.")
            connection.execute(upsert(t.run).values(values).on_conflict_do_update(index_elements=["id"], set_=values))
            self._append(connection, entry, run.updated_at)

    def save_proposals(self, run: RunRecord, entries: Sequence[Entry]) -> None:
        """See the port."""
        with self._transaction() as connection:
            now = self._clock.now()
            for item in run.proposals:
                connection.execute(insert(t.proposal).values(
                    id=item.id, run_id=run.id, kind=item.kind, args=_json(item.args), verdict=item.verdict,
                    reason=item.reason, digest=item.digest,
                ))  # fmt: skip
            for entry in entries:
                self._append(connection, entry, now)

    def begin_effect(self, key: str, run_id: str, proposal_id: str, entry: Entry) -> None:
        """See the port."""
        with self._transaction() as connection:
            now = self._clock.now()
            values = {"key": key, "run_id": run_id, "proposal_id": proposal_id, "state": "intended", "detail": "", "at": now.isoformat()}
            connection.execute(upsert(t.effect).values(values).on_conflict_do_nothing())
            self._append(connection, entry, now)

    def finish_effect(self, key: str, effect: Effect, entry: Entry) -> None:
        """See the port."""
        with self._transaction() as connection:
            now = self._clock.now()
            connection.execute(update(t.effect).where(t.effect.c.key == key).values(
                state=effect.state, detail=effect.detail, url=effect.url, at=now.isoformat(),
            ))  # fmt: skip
            self._append(connection, entry, now)

    def runs(self, limit: int | None = None) -> list[RunRecord]:
        """See the port."""
        query = select(t.run).order_by(t.run.c.created_at.desc(), t.run.c.id).limit(limit)
        with self._engine.connect().execution_options(readonly=True) as connection:
            rows = connection.execute(query).all()
        try:
            return [_record(row) for row in rows]
        except (ValueError, TypeError) as error:
            raise PotatoError("database-unusable", f"a stored run is not readable ({type(error).__name__}).") from None


def _json(value: Any) -> str:  # noqa: ANN401 - JSON
    return canonical(list(value) if isinstance(value, tuple) else dict(value)).decode()  # type: ignore[reportUnknownArgumentType] # JSON


def _record(row: Any) -> RunRecord:  # noqa: ANN401 - a row
    return RunRecord(
        id=row.id, agent=row.agent, state=row.state, reason=row.reason, delivery_id=row.delivery_id,
        rules=tuple(json.loads(row.rules)), priority=row.priority, repository=row.repository, number=row.number,
        created_at=datetime.fromisoformat(row.created_at), updated_at=datetime.fromisoformat(row.updated_at),
        attempts=row.attempts, summary=row.summary, warnings=tuple(json.loads(row.warnings)), log=row.log,
    )  # fmt: skip
