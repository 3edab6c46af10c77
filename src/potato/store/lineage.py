"""What effects left on the forge, and the chain of runs before an event."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import bindparam, func, null, select, union_all

from potato.core.lineage import Link
from potato.errors import PotatoError
from potato.ports import Cause
from potato.store import tables as t
from potato.store.database import Transaction, to_json

_IN_FLIGHT_S: Final = 120.0


def leave(tx: Transaction, run_id: str, effect_key: str, actor: str, tracks: Sequence[str]) -> None:
    """Note what an effect left; the same thing changed again belongs to the later effect."""
    for key in tracks:
        row = {"effect_key": effect_key, "run_id": run_id, "actor": actor, "at": tx.time}
        tx.execute(tx.upsert(t.trace).values(key=key, **row).on_conflict_do_update(index_elements=["key"], set_=row))


def chain(tx: Transaction, cause: Cause) -> tuple[Link, ...]:
    """The runs that caused an event, the latest last; empty if a person or another program did.

    Raises `PotatoError` (`effect-on-its-way`), see `potato.ports.Cause`.
    """
    if not cause.tracks:
        return ()
    by_us = (cause.actor or "").casefold()
    ours_only = {track.key: track.ours_only for track in cause.tracks}
    values = {"keys": list(ours_only), "actor": by_us, "repository": cause.repository}
    rows = tx.connection.execute(_LEFT, {**values, "after": tx.time - _IN_FLIGHT_S, "before": tx.time + _IN_FLIGHT_S}).all()
    left = [row for row in rows if row.run_id is not None]
    parents = {row.run_id for row in left if not ours_only[row.key] or row.actor.casefold() == by_us}
    if not parents:
        if cause.patient and by_us and len(left) < len(rows):
            raise PotatoError("effect-on-its-way", "an effect of ours is on its way there; whether it caused this event is not known yet.")
        return ()
    columns = (t.run.c.id, t.run.c.agent, t.run.c.lineage)
    chains = [(*links(row.lineage), Link(row.id, row.agent)) for row in tx.rows(select(*columns).where(t.run.c.id.in_(parents)))]
    return max(chains, key=len, default=())


_BEGUN: Final = (
    select(t.effect.c.key, null().label("run_id"), t.effect.c.actor)
    .select_from(t.effect.join(t.run, t.effect.c.run_id == t.run.c.id))
    .where(
        t.INTENDED, t.effect.c.begun_at > bindparam("after"), t.effect.c.begun_at <= bindparam("before"),
        func.lower(t.effect.c.actor) == bindparam("actor"), t.run.c.repository == bindparam("repository"),
    )
)  # fmt: skip
_LEFT: Final = union_all(
    select(t.trace.c.key, t.trace.c.run_id, t.trace.c.actor).where(t.trace.c.key.in_(bindparam("keys", expanding=True))), _BEGUN
)
"""What effects left of what an event is about; and, without a run, effects that this account began there a moment ago and whose end is not
kept yet: GitHub tells of them before it answers us."""


def links(text: str) -> tuple[Link, ...]:
    """A stored chain. Raises `ValueError` if it is none."""
    items: list[Any] = json.loads(text)
    return tuple(Link(str(run_id), str(agent)) for run_id, agent in items)


def from_links(lineage: Sequence[Link]) -> str:
    """How a chain is stored."""
    return to_json([[link.run_id, link.agent] for link in lineage])
