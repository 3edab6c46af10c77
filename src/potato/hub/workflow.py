"""One event from decision to effects. It only calls leaves; the executor decides how durably.

decide -> queue a run for each assignment -> guards, then the agents that wait for them -> gate -> effects.
Agents run side by side; those that a router asks for join while the event is worked on.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from potato.config.loader import Config
from potato.config.models import is_reserved
from potato.core.canonical import digest
from potato.core.event import Event, Facts, with_facts
from potato.core.gate import Setting, Verdict, judge
from potato.core.proposal import Action, RouteAgents
from potato.core.record import record_of
from potato.core.routing import Assignment, Decision, Priority, decide
from potato.core.run import TERMINAL, State
from potato.core.secret_scan import leaked
from potato.core.value import UNKNOWN
from potato.errors import AuthError, PotatoError, UsageError
from potato.hub import entries
from potato.hub.guards import passage
from potato.hub.intake import accept
from potato.ports import (
    AgentSpec,
    Clock,
    Delivery,
    Durable,
    Effect,
    Forge,
    Notifier,
    ProposalRecord,
    Report,
    Request,
    Runner,
    RunRecord,
    Store,
)  # fmt: skip

_SECRET_NAME: Final = re.compile(r"TOKEN|SECRET|PASSWORD|PRIVATE_KEY$")
_LOG_CHARACTERS: Final = 4000
_HUB_KINDS: Final = frozenset({"route_agents", "block"})
_RESTING: Final = TERMINAL | {"held", "awaiting_approval"}


@dataclass(frozen=True, slots=True)
class Hub:
    """Everything an event needs. `environ` is where agents' secrets come from."""

    config: Config
    store: Store
    forge: Forge
    runners: Mapping[str, Runner]
    durable: Durable
    clock: Clock
    notifier: Notifier
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event."""

    event: Event
    facts: Facts
    decision: Decision
    runs: tuple[RunRecord, ...]


async def handle(hub: Hub, delivery: Delivery, event: Event) -> Outcome:
    """Work on one delivery to its end.

    Raises `UsageError` when an assigned agent has no usable runner (nothing ran then) or the delivery was handled
    before, and `AuthError` when the forge refuses our credentials.
    """
    if not accept(hub.store, delivery, event):
        raise UsageError("delivery-repeated", f"delivery '{delivery.delivery_id}' was handled before; nothing was done.")
    facts, decision = await settle(hub.config, hub.forge, event)
    event = replace(event, fields=with_facts(event, facts))
    check_runners(hub, decision)
    recorded = record_of(decision, facts)
    hub.store.record_decision(delivery.delivery_id, hub.config.digest, recorded,
                              entries.decision_entry(delivery.delivery_id, hub.config.digest, decision, recorded))  # fmt: skip
    runs = await _EventWork(hub, delivery, event).work(decision, facts)
    return Outcome(event, facts, decision, runs)


async def settle(config: Config, forge: Forge, event: Event) -> tuple[Facts, Decision]:
    """Fetch the facts that can still matter, then decide. Touches nothing."""
    facts = await forge.fetch_facts(event, frozenset())
    missing = config.table.missing_facts(with_facts(event, facts))
    if missing:
        facts = await forge.fetch_facts(event, missing)
    decision = decide(with_facts(event, facts), config.table)
    if decision.assignments and "trusted" not in facts.fields:
        more = await forge.fetch_facts(event, frozenset({"trusted"}))
        facts = Facts({**more.fields, **facts.fields}, (*facts.problems, *more.problems))
    return facts, decision


def check_runners(hub: Hub, decision: Decision) -> None:
    """Raises `UsageError` for the first assigned agent that this installation cannot run."""
    for assignment in decision.assignments:
        problem = runner_problem(hub, hub.config.agents[assignment.agent])
        if problem:
            raise problem


def runner_problem(hub: Hub, agent: AgentSpec) -> UsageError | None:
    """Why the agent cannot be run here, if so."""
    available = ", ".join(sorted(hub.runners))
    if agent.runner is None:
        return UsageError("no-runner", f"{agent.place}: agent '{agent.name}' has no runner; available: {available}.",
                          "Set runner: in its front matter, or defaults: {runner: ...} in the config.")  # fmt: skip
    if agent.runner not in hub.runners:
        return UsageError("runner-unavailable", f"{agent.place}: this version cannot run '{agent.runner}' agents such as "
                          f"'{agent.name}'; available: {available}.")  # fmt: skip
    return None


class _EventWork:
    """The runs of one event while they go on."""

    def __init__(self, hub: Hub, delivery: Delivery, event: Event) -> None:
        self.hub = hub
        self.delivery = delivery
        self.event = event
        self.trusted = event.fields.get("trusted") is True
        self.runs: dict[str, RunRecord] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.auth_error: AuthError | None = None

    async def work(self, decision: Decision, facts: Facts) -> tuple[RunRecord, ...]:
        for assignment in decision.held:
            why = "; ".join(facts.problems) or "a fact is unknown"
            self._queue(assignment, "held", f"rule {assignment.by} is unknown: {why}")
        doubtful = self.event.fields.get("trusted") is UNKNOWN
        for assignment in decision.assignments:
            if doubtful:
                self._queue(assignment, "held", f"whether the event can be trusted is unknown: {'; '.join(facts.problems) or 'no answer'}")
            else:
                self._queue(assignment)
        try:
            async with asyncio.TaskGroup() as group:
                self.group = group
                for assignment in () if doubtful else decision.assignments:
                    self._start(assignment)
        finally:
            for run in self.runs.values():
                if run.state not in _RESTING:
                    self._become(run, "cancelled", "interrupted")
        if self.auth_error:
            raise self.auth_error
        return tuple(self.runs.values())

    def _queue(self, assignment: Assignment, state: State = "queued", reason: str = "") -> RunRecord:
        now = self.hub.clock.now()
        run = RunRecord(
            id="run_" + digest([self.delivery.delivery_id, assignment.agent]).removeprefix("sha256:")[:16],
            agent=assignment.agent, state=state, reason=reason or f"asked for by rule {assignment.by}",
            delivery_id=self.delivery.delivery_id, rules=assignment.rules, priority=assignment.priority.label,
            repository=self.event.repository, number=self.event.number, created_at=now, updated_at=now,
            warnings=tuple(f"policy {name} declared, not enforced" for name in self.hub.config.unenforced),
        )  # fmt: skip
        self.runs[assignment.agent] = run
        self._save(run)
        return run

    def _start(self, assignment: Assignment) -> None:
        run = self.runs[assignment.agent]
        self.tasks[assignment.agent] = self.group.create_task(self._run(assignment, run))

    def _become(self, run: RunRecord, state: State, reason: str) -> None:
        run.state, run.reason, run.updated_at = state, reason, self.hub.clock.now()
        self._save(run)

    def _save(self, run: RunRecord) -> None:
        self.hub.store.save_run(run, entries.run_entry(run))
        self.hub.notifier.run_changed(run)

    async def _run(self, assignment: Assignment, run: RunRecord) -> None:
        """Wait for the guards, run the agent, pass its proposals through the gate, apply what is allowed."""
        await asyncio.gather(*(self.tasks[guard] for guard in assignment.after))
        verdict, why = passage([self.runs[guard] for guard in assignment.after])
        if verdict != "pass":
            self._become(run, "blocked" if verdict == "blocked" else "held", why)
            return
        run.attempts += 1
        self._become(run, "running", f"attempt {run.attempts}")
        agent = self.hub.config.agents[assignment.agent]
        try:
            report, secrets = await self._report(agent, run)
            guarded = {**self._credentials(), **secrets}
            run.summary = _withheld(report.summary, guarded)
            run.warnings += tuple(report.warnings)
            run.log = _withheld(report.log[-_LOG_CHARACTERS:], guarded)
            if report.failure:
                self._become(run, "failed", _withheld(report.failure, guarded))
                return
            await self._apply(run, self._judge(agent, run, report, guarded))
        except PotatoError as error:
            self._become(run, "failed", str(error))
            if isinstance(error, AuthError):
                self.auth_error = error
        except Exception as error:  # noqa: BLE001 - a bug met by one run must not end the others
            self._become(run, "failed", f"internal-error: {type(error).__name__}")

    def _credentials(self) -> dict[str, str]:
        """The hub's own secrets: no agent has them, and none may publish them."""
        return {name: value for name, value in self.hub.environ.items() if value and is_reserved(name) and _SECRET_NAME.search(name)}

    async def _report(self, agent: AgentSpec, run: RunRecord) -> tuple[Report, Mapping[str, str]]:
        context = await self.hub.durable.step("read", lambda: self.hub.forge.read(self.event, agent.permissions))
        secrets = self._secrets(agent, run)
        request = Request(run.id, agent, self.event, context, tuple(sorted(self.hub.config.agents)), secrets)
        runner = self.hub.runners[agent.runner or ""]
        return await self.hub.durable.step("agent", lambda: runner.run(request)), secrets

    def _secrets(self, agent: AgentSpec, run: RunRecord) -> dict[str, str]:
        """The agent's own secrets; none for an untrusted event."""
        if agent.secrets and not self.trusted:
            run.warnings += ("untrusted event: it got no secrets",)
            return {}
        missing = [name for name in agent.secrets if not self.hub.environ.get(name)]
        if missing and agent.runner != "builtin":
            run.warnings += (f"secret {', '.join(missing)} is not set",)
        return {name: self.hub.environ[name] for name in agent.secrets if self.hub.environ.get(name)}

    def _judge(self, agent: AgentSpec, run: RunRecord, report: Report, secrets: Mapping[str, str]) -> list[Verdict]:
        setting = Setting(self.event, self.trusted, self.hub.config.digest, frozenset(self.hub.config.agents),
                          self.hub.config.protected, secrets)  # fmt: skip
        verdicts = judge(report.proposals, agent.grant(), setting)
        run.proposals = [ProposalRecord(f"{run.id}.{n}", v.kind, v.args, v.answer, v.reason, v.digest) for n, v in enumerate(verdicts, 1)]
        told = [make(run, proposal) for proposal in run.proposals for make in (entries.proposal_entry, entries.verdict_entry)]
        self.hub.store.save_proposals(run, told)
        return verdicts

    async def _apply(self, run: RunRecord, verdicts: list[Verdict]) -> None:
        """Apply what is allowed, each on its own: one failed effect does not keep the others back."""
        allowed = [(record, v.action) for record, v in zip(run.proposals, verdicts, strict=True) if v.answer == "allow" and v.action]
        if allowed:
            self._become(run, "applying", f"{len(allowed)} effect(s)")
        for record, action in allowed:
            record.effect = await self._effect(run, record, action)
        self._become(run, *_final(run))

    async def _effect(self, run: RunRecord, record: ProposalRecord, action: Action) -> Effect:
        key = record.id
        self.hub.store.begin_effect(key, run.id, record.id, entries.intent_entry(key, record))
        try:
            if record.kind in _HUB_KINDS:
                effect = self._in_hub(run, action)
            else:
                effect = await self.hub.durable.step("effect", lambda: self.hub.forge.apply(self.event, run.agent, action, key))
        except PotatoError as error:
            effect = Effect("failed", str(error))
            if isinstance(error, AuthError):
                self.auth_error = error
        self.hub.store.finish_effect(key, effect, entries.outcome_entry(key, effect))
        return effect

    def _in_hub(self, run: RunRecord, action: Action) -> Effect:
        """Routing and blocking happen here, not on the forge. An agent that works on the event already is left alone."""
        if not isinstance(action, RouteAgents):
            return Effect("applied", "agents that wait for this guard are blocked")
        new = [name for name in dict.fromkeys(action.agents) if name not in self.runs]
        for name in new:
            problem = runner_problem(self.hub, self.hub.config.agents[name])
            if problem:
                raise problem
        for name in new:
            assignment = Assignment(name, (f"routed by {run.agent}",), Priority[run.priority.upper()])
            self._queue(assignment, reason=f"routed by {run.agent}")
            self._start(assignment)
        return Effect("applied" if new else "unchanged", f"routed to {', '.join(new)}" if new else "they work on this event already")


def _withheld(text: str, secrets: Mapping[str, str]) -> str:
    """An agent's words, unless they hold a secret."""
    names = leaked([text], secrets)
    return f"(withheld: it holds the secret {', '.join(names)})" if names else text


def _final(run: RunRecord) -> tuple[State, str]:
    """The state that a run ends in, and why."""
    proposals = run.proposals
    failed = [p.effect.detail for p in proposals if p.effect and p.effect.state == "failed"]
    denied = [p for p in proposals if p.verdict == "deny"]
    waiting = [p for p in proposals if p.verdict == "needs_approval"]
    if failed:
        return "failed", f"{len(failed)} effect(s) failed: {failed[0]}"
    if waiting:
        return "awaiting_approval", f"{waiting[0].kind} {waiting[0].digest[7:15]}: {waiting[0].reason}"
    if denied and len(denied) == len(proposals):
        return "blocked", f"every proposal was denied: {denied[0].reason}"
    states = Counter(p.effect.state for p in proposals if p.effect)
    done = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "nothing proposed"
    return "succeeded", f"{done}, {len(denied)} denied: {denied[0].reason}" if denied else done
