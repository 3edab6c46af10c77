"""Approvals in CI: one job seals what waits for people, another one, behind an environment that asks for reviewers, applies exactly that.

The file travels as an artifact, which other jobs could replace; its digest travels as a job's output, which they cannot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from potato.core.canonical import digest, digest_bytes
from potato.core.event import Event, with_facts
from potato.core.foreign import as_list, as_object
from potato.core.gate import Setting, judge
from potato.core.record import record_of
from potato.core.routing import Assignment, Priority
from potato.core.strict_json import parse_object
from potato.errors import UsageError
from potato.hub import entries
from potato.hub.attempt import new_run
from potato.hub.context import Hub
from potato.hub.intake import accept
from potato.hub.workflow import Outcome, given, perform, settle
from potato.ports import Delivery, Plan, ProposalRecord, RunRecord

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Sealed:
    """What one agent proposed and people must allow."""

    agent: str
    rules: tuple[str, ...]
    proposals: tuple[Mapping[str, Any], ...]


def seal(policy: str, delivery: Delivery, event: Event, runs: Sequence[RunRecord], nonce: str) -> tuple[bytes, str] | None:
    """The file and its digest; nothing if nobody is waited for. `nonce` is the workflow run's id: the file is of no use in another."""
    waiting = [
        {"agent": run.agent, "rules": list(run.rules),
         "proposals": [{"kind": one.kind, "args": dict(one.args), "digest": one.digest, "reason": one.reason} for one in run.proposals
                       if one.verdict == "needs_approval"]}
        for run in runs if run.state == "awaiting_approval"
    ]  # fmt: skip
    if not waiting:
        return None
    body = {
        "version": _FORMAT, "nonce": nonce, "event": delivery.event, "body": digest_bytes(delivery.body), "repository": event.repository,
        "number": event.number, "head_sha": event.head_sha, "policy": policy, "runs": waiting,
    }  # fmt: skip
    return json.dumps(body, indent=1, sort_keys=True).encode() + b"\n", digest(body)


def unseal(data: bytes, expected: str, delivery: Delivery, policy: str, nonce: str) -> list[Sealed]:
    """What is to be applied. Raises `UsageError` with code `seal-broken` if anything is not as it was sealed."""
    body = parse_object(data, "the sealed file")
    if digest(body) != expected:
        raise UsageError("seal-broken", "the file is not the one with this digest.", "Pass on the output 'sealed' of the job that ran.")
    now = {"version": _FORMAT, "nonce": nonce, "event": delivery.event, "body": digest_bytes(delivery.body), "policy": policy}
    for name, value in now.items():
        if body.get(name) != value:
            raise UsageError("seal-broken", f"its {name} is not that of this job.", "It counts for one workflow run, event and config.")
    return [
        Sealed(str(run["agent"]), tuple(map(str, as_list(run["rules"]))), tuple(map(as_object, as_list(run["proposals"]))))
        for run in map(as_object, as_list(body.get("runs")))
    ]


async def apply_sealed(hub: Hub, delivery: Delivery, event: Event, sealed: Sequence[Sealed], by: str) -> Outcome:
    """Apply exactly what was sealed: each proposal is judged again and must get the same digest, or nothing at all is applied.

    Raises `UsageError` (`seal-broken`, `delivery-repeated`).
    """
    hub = replace(hub, reader=partial(given, event))
    facts, decision = await settle(hub.config, hub.forge, event)
    known = replace(event, fields=with_facts(event, facts))
    if known.head_sha is None:
        known = replace(known, head_sha=await hub.forge.head(event))
    judged = [(one, _judged(hub, known, one, by)) for one in sealed]
    if not accept(hub.store, delivery, event):
        raise UsageError("delivery-repeated", f"delivery '{delivery.delivery_id}' was handled before; nothing was done.")
    recorded = record_of(decision, facts)
    now = hub.clock.now()
    like = RunRecord(
        id="", agent="", state="queued", reason="", delivery_id=delivery.delivery_id, rules=(), priority=Priority.NORMAL.label,
        repository=event.repository, number=event.number, created_at=now, updated_at=now, config_digest=hub.config.digest,
        head_sha=event.head_sha, occurred_at=event.occurred_at, actor=event.actor,
    )  # fmt: skip
    runs = [replace(new_run(hub, like, Assignment(one.agent, one.rules, Priority.NORMAL), f"sealed, allowed by {by}"), proposals=proposals)
            for one, proposals in judged]  # fmt: skip
    for run in runs:
        for number, proposal in enumerate(run.proposals, 1):
            proposal.id = f"{run.id}.{number}"
    entry = entries.decision_entry(delivery.delivery_id, hub.config.digest, decision, recorded)
    hub.store.plan(
        Plan(delivery.delivery_id, hub.config.digest, recorded, entry, frozenset(), hub.config.controls.caps, lambda _loads, _lineage: runs)
    )
    for run in runs:
        told = [make(run, proposal) for proposal in run.proposals for make in (entries.proposal_entry, entries.verdict_entry)]
        hub.store.save_proposals(run, told)
        error = await perform(hub, run.id)
        if error:
            raise error
    return Outcome(known, facts, decision, tuple(hub.store.runs_of(delivery.delivery_id)))


def _judged(hub: Hub, event: Event, sealed: Sealed, by: str) -> list[ProposalRecord]:
    agent = hub.config.agents.get(sealed.agent)
    if agent is None:
        raise UsageError("seal-broken", f"'{sealed.agent[:60]}' is no agent of this config.")
    controls = hub.config.controls
    trusted, routable = event.fields.get("trusted") is True, hub.config.routable(agent.name)
    setting = Setting(event, trusted, controls.policy, routable, hub.config.protected, {}, controls.approvals)
    verdicts = judge([{"kind": one.get("kind"), **as_object(one.get("args"))} for one in sealed.proposals], agent.grant(), setting)
    for verdict, one in zip(verdicts, sealed.proposals, strict=True):
        if verdict.answer == "deny" or verdict.digest != one.get("digest"):
            why = verdict.reason if verdict.answer == "deny" else "its digest is another one now"
            raise UsageError("seal-broken", f"{verdict.kind} of {sealed.agent} would not be allowed as sealed: {why}.")
    return [ProposalRecord("", v.kind, v.args, "allow", f"allowed by {by}: {v.reason}", v.digest) for v in verdicts]
