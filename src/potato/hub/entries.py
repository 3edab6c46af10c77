"""The audit entries: what each says. Ids, digests, states and reasons; never a secret or a payload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from potato.core.canonical import digest, digest_bytes
from potato.core.event import Event
from potato.core.routing import Decision
from potato.ports import Delivery, Effect, Entry, ProposalRecord, RunRecord


def run_id(delivery_id: str, agent: str) -> str:
    """The run of an agent on a delivery: the same whoever plans it."""
    return "run_" + digest([delivery_id, agent]).removeprefix("sha256:")[:16]


def delivery_entry(delivery: Delivery, event: Event) -> Entry:
    """A delivery was accepted."""
    return Entry("delivery", {
        "delivery_id": delivery.delivery_id, "event": event.event, "action": event.action, "repository": event.repository,
        "number": event.number, "actor": event.actor, "head_sha": event.head_sha, "body": digest_bytes(delivery.body),
        "source": delivery.source,
    })  # fmt: skip


def decision_entry(delivery_id: str, config_digest: str, decision: Decision, recorded: Mapping[str, Any]) -> Entry:
    """The rules were decided; the decision as recorded is bound by its digest. Rules not named did not match."""
    rules = decision.table.rules
    return Entry("decision", {
        "delivery_id": delivery_id, "config": config_digest, "decision": digest(recorded), "rules": len(rules),
        "matched": [rules[n].name for n in decision.matched], "unknown": [rules[n].name for n in decision.unknown],
        "assignments": [a.agent for a in decision.assignments], "held": [a.agent for a in decision.held],
    })  # fmt: skip


def run_entry(run: RunRecord) -> Entry:
    """A run has a new state."""
    return Entry("run", {"run": run.id, "delivery_id": run.delivery_id, "agent": run.agent, "state": run.state,
                         "reason": run.reason, "attempt": run.attempts})  # fmt: skip


def proposal_entry(run: RunRecord, proposal: ProposalRecord) -> Entry:
    """An agent proposed something; the arguments are bound by their digest."""
    return Entry("proposal", {"run": run.id, "proposal": proposal.id, "kind": proposal.kind, "args": digest(dict(proposal.args))})


def verdict_entry(run: RunRecord, proposal: ProposalRecord) -> Entry:
    """The gate answered."""
    return Entry("verdict", {"run": run.id, "proposal": proposal.id, "verdict": proposal.verdict, "reason": proposal.reason,
                             "digest": proposal.digest})  # fmt: skip


def intent_entry(key: str, proposal: ProposalRecord) -> Entry:
    """An effect is about to happen."""
    return Entry("effect-intent", {"key": key, "proposal": proposal.id, "kind": proposal.kind, "digest": proposal.digest})


def outcome_entry(key: str, effect: Effect) -> Entry:
    """An effect happened, or failed."""
    return Entry("effect", {"key": key, "state": effect.state, "detail": effect.detail, "url": effect.url})
