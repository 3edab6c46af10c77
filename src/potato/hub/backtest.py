"""Decide past events anew under a draft, and collect what would be otherwise. Touches nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from potato.config.config import Config
from potato.core.difference import Choice, Difference
from potato.core.event import Event, Facts, with_facts
from potato.core.fields import LACKING
from potato.core.foreign import as_list, as_object
from potato.core.routing import RoutingTable, decide
from potato.core.value import UNKNOWN, Value
from potato.errors import UsageError
from potato.ports import Archive, Damaged, Forge, Recorded

Normalise = Callable[[str, bytes], Event]


async def backtest(archive: Archive, draft: Config, baseline: Config | None, forge: Forge, normalise: Normalise,
                   damaged: Callable[[Damaged], None], progress: Callable[[], None]) -> Difference:  # fmt: skip
    """The difference between what was decided and what the draft decides; or what `baseline` would decide, if given.

    `forge` answers what a payload alone tells. `damaged` hears of what cannot be read, `progress` of every event.
    """
    difference = Difference()
    for found in archive.read():
        progress()
        if isinstance(found, Damaged):
            damaged(found)
            continue
        try:
            fields = await fields_of_recorded(found, forge, normalise)
        except UsageError as error:
            damaged(Damaged(found.source, error.message.rstrip(".")))
            continue
        before = _choice(fields, baseline.table) if baseline else _recorded_choice(found.decision)
        repository = fields.get("repository")
        at = found.received_at.timestamp() if found.received_at else None
        difference.add(found.source, repository if isinstance(repository, str) else None, at, before, _choice(fields, draft.table))
    return difference


async def fields_of_recorded(recorded: Recorded, forge: Forge, normalise: Normalise) -> Mapping[str, Value]:
    """What the rules saw then: of the payload, with the facts that were kept; others stay unknown. Raises `UsageError`."""
    event = normalise(recorded.event, recorded.body)
    if recorded.decision is not None:
        return with_facts(event, recorded.facts or Facts())
    known = await forge.fetch_facts(event, frozenset(LACKING))
    return {**with_facts(event, known), **{name: v for name, v in (recorded.facts or Facts()).fields.items() if v is not UNKNOWN}}


def _choice(fields: Mapping[str, Value], table: RoutingTable) -> Choice:
    decision = decide(fields, table)
    return Choice.of(decision.assignments, decision.held)


def _recorded_choice(decision: Mapping[str, Any] | None) -> Choice:
    """What was decided then; nothing where no decision was kept."""
    body = decision or {}
    run, held = (
        {str(item.get("agent")): tuple(map(str, as_list(item.get("rules")))) for item in map(as_object, as_list(body.get(key)))}
        for key in ("assignments", "held")
    )
    return Choice(run, held)
