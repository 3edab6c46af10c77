"""Past events out of the database, one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Select, func, select
from sqlalchemy.exc import DatabaseError

from potato.core.canonical import digest_bytes
from potato.core.foreign import as_object
from potato.core.record import recorded_facts
from potato.ports import Damaged, Recorded
from potato.store import tables as t

_AT_ONCE = 200


class SqlArchive:
    """The deliveries since a time, with the decisions made then; or the latest few, of one repository if it is named."""

    def __init__(self, engine: Engine, since: datetime | None = None, *, repository: str | None = None, latest: int | None = None) -> None:
        self._engine = engine
        self._since = since
        self._repository = repository
        self._latest = latest

    def size(self) -> int | None:
        """See the port."""
        query = select(func.count()).select_from(t.delivery)
        if self._since:
            query = query.where(t.delivery.c.received_at >= self._since.isoformat())
        try:
            with self._engine.connect().execution_options(readonly=True) as connection:
                return connection.execute(query).scalar()
        except DatabaseError:
            return None

    def read(self) -> Iterator[Recorded | Damaged]:
        """See the port. A damaged database ends it where it is damaged."""
        query = self._query()  # in no order: sorting would hold every body
        if self._since:
            query = query.where(t.delivery.c.received_at >= self._since.isoformat())
        if self._repository:
            query = query.where(t.delivery.c.repository == self._repository)
        if self._latest:
            query = query.order_by(t.delivery.c.received_at.desc()).limit(self._latest)
        try:
            with self._engine.connect().execution_options(readonly=True, yield_per=_AT_ONCE) as connection:
                for row in connection.execute(query):
                    yield _recorded(row)
        except DatabaseError as error:
            yield Damaged("the database", f"it cannot be read on: {error.orig}")

    def find(self, source: str) -> Recorded | None:
        """See the port; the source is the delivery's id. One that is damaged is not found."""
        with self._engine.connect().execution_options(readonly=True) as connection:
            row = connection.execute(self._query().where(t.delivery.c.delivery_id == source)).first()
        found = _recorded(row) if row is not None else None
        return found if isinstance(found, Recorded) else None

    def seconds(self) -> Mapping[str, float]:
        """See the port: from queued to done, waiting included."""
        query = select(t.run.c.agent, t.run.c.created_at, t.run.c.updated_at).where(t.run.c.state.in_(("succeeded", "failed", "blocked")))
        sums: dict[str, tuple[float, int]] = {}
        try:
            with self._engine.connect().execution_options(readonly=True, yield_per=_AT_ONCE) as connection:
                for agent, created, updated in connection.execute(query):
                    total, count = sums.get(agent, (0.0, 0))
                    took = (datetime.fromisoformat(updated) - datetime.fromisoformat(created)).total_seconds()
                    sums[agent] = (total + took, count + 1)
        except (DatabaseError, ValueError, TypeError):
            return {}
        return {agent: total / count for agent, (total, count) in sums.items()}

    @staticmethod
    def _query() -> Select[Any]:
        return select(t.delivery, t.decision.c.body.label("decision"), t.decision.c.config_digest, t.decision.c.decided_at).join(
            t.decision, t.decision.c.delivery_id == t.delivery.c.delivery_id, isouter=True
        )


def _recorded(row: Any) -> Recorded | Damaged:  # noqa: ANN401 - a row
    try:
        if digest_bytes(row.body) != row.body_digest:
            return Damaged(f"delivery {row.delivery_id}", "its body is not what was received")
        at = datetime.fromisoformat(row.received_at)
        if row.decision is None:
            return Recorded(row.delivery_id, row.event, row.body, at)
        decision = as_object(json.loads(row.decision)) | {"config_digest": row.config_digest, "decided_at": row.decided_at}
    except (ValueError, TypeError, RecursionError) as error:
        return Damaged(f"delivery {row.delivery_id}", f"it is not readable ({type(error).__name__})")
    return Recorded(row.delivery_id, row.event, row.body, at, recorded_facts(decision), decision)
