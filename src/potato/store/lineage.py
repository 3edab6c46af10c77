"""What effects left on the forge, and the chain of runs before an event."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import bindparam, func, select

from potato.core.lineage import Link, Track
from potato.store import tables as t
from potato.store.database import Transaction, to_json

_IN_FLIGHT_S: Final = 120.0


def leave(tx: Transaction, run_id: str, effect_key: str, actor: str, tracks: Sequence[str]) -> None:
    """Note what an effect left; the same thing changed again belongs to the later effect."""
    for key in tracks:
        row = {"effect_key": effect_key, "run_id": run_id, "actor": actor, "at": tx.time}
        tx.execute(tx.upsert(t.trace).values(key=key, **row).on_conflict_do_update(index_elements=["key"], set_=row))


def chain(tx: Transaction, tracks: Sequence[Track], actor: str | None, repository: str | None) -> tuple[Link, ...] | None:
    """See `potato.ports.Store.lineage`."""
    if not tracks:
        return ()
    by_us = (actor or "").casefold()
    ours_only = {track.key: track.ours_only for track in tracks}
    rows = tx.connection.execute(_TRACES, {"keys": list(ours_only)}).all()
    parents = {row.run_id for row in rows if not ours_only[row.key] or row.actor.casefold() == by_us}
    if not parents:
        return None if _in_flight(tx, by_us, repository) else ()
    columns = (t.run.c.id, t.run.c.agent, t.run.c.lineage)
    chains = [(*links(row.lineage), Link(row.id, row.agent)) for row in tx.rows(select(*columns).where(t.run.c.id.in_(parents)))]
    return max(chains, key=len, default=())


def _in_flight(tx: Transaction, actor: str, repository: str | None) -> bool:
    """Whether we began an effect there a moment ago whose end is not kept yet: GitHub tells of it before it answers us."""
    if not actor:
        return False
    values = {"actor": actor, "repository": repository, "after": tx.time - _IN_FLIGHT_S, "before": tx.time + _IN_FLIGHT_S}
    return tx.connection.execute(_BEGUN, values).first() is not None


_TRACES: Final = select(t.trace.c.key, t.trace.c.run_id, t.trace.c.actor).where(t.trace.c.key.in_(bindparam("keys", expanding=True)))
_BEGUN: Final = (
    select(t.effect.c.key)
    .select_from(t.effect.join(t.run, t.effect.c.run_id == t.run.c.id))
    .where(
        t.INTENDED, t.effect.c.begun_at > bindparam("after"), t.effect.c.begun_at <= bindparam("before"),
        func.lower(t.effect.c.actor) == bindparam("actor"), t.run.c.repository == bindparam("repository"),
    )
    .limit(1)
)  # fmt: skip


def links(text: str) -> tuple[Link, ...]:
    """A stored chain. Raises `ValueError` if it is none."""
    items: list[Any] = json.loads(text)
    return tuple(Link(str(run_id), str(agent)) for run_id, agent in items)


def from_links(lineage: Sequence[Link]) -> str:
    """How a chain is stored."""
    return to_json([[link.run_id, link.agent] for link in lineage])
