"""The two workflows: one decides an event, one performs a run. They only call leaves; the executor decides how durably.

decide -> a run for each assignment -> guards, then the agents that wait for them -> gate -> effects.
In CI `handle` drives both in one process; the hub has each started where there is a slot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from potato.config.config import Config
from potato.core.event import Event, Facts, with_facts
from potato.core.lineage import Link
from potato.core.record import record_of
from potato.core.routing import Assignment, Decision, Priority, decide
from potato.core.value import UNKNOWN
from potato.errors import AuthError, PotatoError, UsageError
from potato.hub import entries
from potato.hub.attempt import RESTING, Attempt, new_run
from potato.hub.context import Hub
from potato.hub.intake import accept
from potato.ports import Cause, Delivery, Fenced, Forge, Loads, Plan, RunRecord


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event."""

    event: Event
    facts: Facts
    decision: Decision
    runs: tuple[RunRecord, ...]


# the workflow of an event


async def settle(config: Config, forge: Forge, event: Event) -> tuple[Facts, Decision]:
    """Fetch the facts that can still matter, then decide. Touches nothing."""
    facts = await forge.fetch_facts(event, frozenset())
    missing = config.table.missing_facts(with_facts(event, facts))
    if missing:
        facts = await forge.fetch_facts(event, missing)
    decision = decide(with_facts(event, facts), config.table)
    if decision.assignments and "trusted" not in facts.fields:
        more = await forge.fetch_facts(event, frozenset({"trusted"}))
        facts = Facts({**more.fields, **facts.fields}, (*facts.problems, *more.problems), facts.later or more.later)
    return facts, decision


async def decide_event(hub: Hub, delivery: Delivery, event: Event, *, strict: bool, patient: bool = False) -> Outcome:
    """Decide one event and keep the decision with a run for each assignment.

    With `strict`, an assigned agent that cannot run here is a `UsageError` and nothing is kept; without, its run has failed.
    With `patient`, facts that the forge cannot tell right now are a `PotatoError`, to be asked for again; without, they are unknown.
    """
    facts, decision = await settle(hub.config, hub.forge, event)
    if patient and facts.later:
        raise PotatoError("github-unreachable", "; ".join(facts.problems))
    event = replace(event, fields=with_facts(event, facts))
    if strict:
        for assignment in decision.assignments:
            problem = hub.runner_problem(hub.config.agents[assignment.agent])
            if problem:
                raise problem
    recorded = record_of(decision, facts)
    entry = entries.decision_entry(delivery.delivery_id, hub.config.digest, decision, recorded)
    plan = Plan(
        delivery.delivery_id, hub.config.digest, recorded, entry,
        frozenset(agent for assignment in decision.assignments for agent in assignment.any_of),
        hub.config.controls.caps, partial(_planned, hub, delivery, event, decision, facts),
        Cause(event.tracks, event.actor, event.repository, patient) if decision.assignments or decision.held else None,
    )  # fmt: skip
    runs = await hub.durable.commit(lambda: hub.store.plan(plan))
    for run in runs:
        hub.notifier.run_changed(run)
    return Outcome(event, facts, decision, tuple(runs))


def _planned(hub: Hub, delivery: Delivery, event: Event, decision: Decision, facts: Facts, loads: Loads,
             lineage: tuple[Link, ...]) -> list[RunRecord]:  # fmt: skip
    """A run for each assignment; those of unknown rules, and all of an event of unknown trust, are held. Touches nothing."""
    now = hub.clock.now()
    like = RunRecord(
        id="", agent="", state="queued", reason="", delivery_id=delivery.delivery_id, rules=(), priority=Priority.NORMAL.label,
        repository=event.repository, number=event.number, created_at=now, updated_at=now, config_digest=hub.config.digest,
        head_sha=event.head_sha, occurred_at=event.occurred_at, actor=event.actor, lineage=lineage,
    )  # fmt: skip
    runs = [
        new_run(hub, like, assignment, f"rule {assignment.by} is unknown: {'; '.join(facts.problems) or 'a fact is unknown'}", "held")
        for assignment in decision.held
    ]
    if event.fields.get("trusted") is UNKNOWN:
        why = f"whether the event can be trusted is unknown: {'; '.join(facts.problems) or 'no answer'}"
        return runs + [new_run(hub, like, assignment, why, "held") for assignment in decision.assignments]
    for assignment in _balanced(decision.assignments, loads, hub.config.table.guards):
        problem = hub.runner_problem(hub.config.agents[assignment.agent])
        among = f"; least loaded healthy one of {', '.join(assignment.any_of)}" if assignment.any_of else ""
        reason = str(problem) if problem else f"asked for by rule {assignment.by}{among}"
        runs.append(new_run(hub, like, assignment, reason, "failed" if problem else "queued"))
    return runs


def _balanced(assignments: Sequence[Assignment], loads: Loads, guards: frozenset[str]) -> list[Assignment]:
    """Of equals the healthy one with the least outstanding work, the first where they are even; guards stay as they stand."""
    taken = {assignment.agent for assignment in assignments if not assignment.any_of}
    chosen: list[Assignment] = []
    for assignment in assignments:
        free = [agent for agent in assignment.any_of if agent not in taken]
        if free and assignment.agent not in guards:
            best = min(free, key=lambda agent: (not loads[agent][1], loads[agent][0]))
            taken.add(best)
            chosen.append(replace(assignment, agent=best))
        else:
            chosen.append(assignment)
    return chosen


# the workflow of a run


async def perform(hub: Hub, run_id: str, attempt: int | None = None, worker: str | None = None) -> AuthError | None:
    """Perform one attempt of a run. An attempt that does not hold the run, or no longer, changes nothing.

    Gives the error when the forge refused our credentials; everything else is in the run's state.
    """
    work = await hub.durable.commit(lambda: hub.store.start(run_id, attempt, worker, hub.config.controls.budgets))
    if work is None:
        return None
    hub.notifier.run_changed(work.run)
    try:
        attempt_now = Attempt(hub, work)
    except Exception as error:  # noqa: BLE001 - what cannot even begin must not begin again and again
        work.run.state, work.run.updated_at = "failed", hub.clock.now()
        work.run.reason = str(error) if isinstance(error, PotatoError) else f"internal-error: {type(error).__name__}"
        await hub.durable.commit(lambda: hub.store.rest(work.run))
        hub.notifier.run_changed(work.run)
        return None
    try:
        await attempt_now.perform()
    except Fenced:
        for run in await hub.durable.commit(lambda: hub.store.conclude(work.run)):
            hub.notifier.run_changed(run)
        return None
    return attempt_now.auth_error


# both, in one process


async def handle(hub: Hub, delivery: Delivery, event: Event) -> Outcome:
    """Work on one delivery to its end.

    Raises `UsageError` when an assigned agent has no usable runner (nothing ran then) or the delivery was handled
    before, and `AuthError` when the forge refuses our credentials.
    """
    hub = replace(hub, reader=partial(given, event))
    if not accept(hub.store, delivery, event):
        raise UsageError("delivery-repeated", f"delivery '{delivery.delivery_id}' was handled before; nothing was done.")
    outcome = await decide_event(hub, delivery, event, strict=True)
    try:
        error = await _perform_all(hub, delivery.delivery_id)
    finally:
        for run in hub.store.runs_of(delivery.delivery_id):
            if run.state not in RESTING:
                run.state, run.reason, run.updated_at = "cancelled", "interrupted", hub.clock.now()
                hub.store.rest(run)
    if error:
        raise error
    return replace(outcome, runs=tuple(hub.store.runs_of(delivery.delivery_id)))


def given(event: Event, _delivery: Delivery) -> Event:
    """A reader of stored deliveries that knows the event already."""
    return event


async def _perform_all(hub: Hub, delivery_id: str) -> AuthError | None:
    """Perform every run as soon as it waits for nothing; those that a router asks for join."""
    tasks: dict[str, asyncio.Task[AuthError | None]] = {}
    error: AuthError | None = None
    async with asyncio.TaskGroup() as group:
        while True:
            for run in hub.store.ready(delivery_id):
                if run.id not in tasks:
                    tasks[run.id] = group.create_task(perform(hub, run.id))
            going = [task for task in tasks.values() if not task.done()]
            if not going:
                break
            await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks.values():
        error = error or task.result()
    return error
