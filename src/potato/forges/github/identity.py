"""What tells one event from another: two deliveries with the same identity and the same fields tell the same event.

A repository's hook and an App's hook each deliver it, under ids of their own and with bodies that differ a little. An identity always
holds a time or an id that GitHub gives to one happening only; where a payload has none, there is no identity, and nothing is taken for a
repetition.
"""

from __future__ import annotations

from potato.core.canonical import digest
from potato.core.event import Event
from potato.core.value import UNKNOWN, Partial
from potato.forges.github.payload import Payload

_AGAIN = frozenset({"rerequested", "requested_action"})
"""What people may ask for many times of one check that does not change."""


def identity_of(event: str, p: Payload) -> tuple[str, ...] | None:
    """Ids and times of what the payload is about."""
    parts: list[object] = []
    if p.action in _AGAIN:
        return None
    for thing in (p.pull_request, p.issue):
        if thing is not None and thing.updated_at:
            parts += [thing.number, thing.updated_at, thing.state]
    if p.discussion and p.discussion.updated_at:
        parts += [p.discussion.number, p.discussion.updated_at]
    for said in (p.comment, p.review):
        if said is not None and said.id and (said.updated_at or said.submitted_at):
            parts += [said.id, said.updated_at, said.submitted_at, said.state]
    if p.workflow_run and p.workflow_run.id and p.workflow_run.updated_at:
        parts += [p.workflow_run.id, p.workflow_run.run_attempt, p.workflow_run.updated_at]
    for work in (p.workflow_job, p.check_run):
        if work is not None and work.id and (work.started_at or work.completed_at):
            parts += [work.id, work.status, work.started_at, work.completed_at]
    if p.check_suite and p.check_suite.id and p.check_suite.updated_at:
        parts += [p.check_suite.id, p.check_suite.updated_at]
    if event == "push" and p.after and p.repository and p.repository.pushed_at:
        parts += [p.ref, p.before, p.after, p.repository.pushed_at]
    if not parts:
        return None
    label = p.label.name if p.label else None
    return tuple(str(part) for part in (event, p.action, p.repository.id if p.repository else None, label, *parts))


def same_event(event: Event) -> str | None:
    """One text for all deliveries of the same event: its identity and every field that a rule can see."""
    if event.identity is None:
        return None
    seen = {name: list(v) if isinstance(v, tuple) else list(v.values) if isinstance(v, Partial) else v
            for name, v in event.fields.items() if v is not UNKNOWN}  # fmt: skip
    return digest([event.identity, event.head_sha, seen])
