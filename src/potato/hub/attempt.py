"""One attempt of a run: agent, gate, effects. An attempt that follows another goes on where that one's stored results end."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from potato.config.models import is_reserved
from potato.core.approval import expiry_s, rules_for
from potato.core.event import with_facts
from potato.core.gate import Setting, bound_digest, judge
from potato.core.permission import CODE_WRITING
from potato.core.proposal import Action, MalformedProposal, RouteAgents, parse_action
from potato.core.routing import Assignment, Priority
from potato.core.run import TERMINAL, State
from potato.core.secret_scan import leaked
from potato.errors import TRANSIENT, AuthError, PotatoError
from potato.hub import entries
from potato.hub.patches import unproposed, with_patch
from potato.hub.session import RunSession
from potato.hub.transcript import Transcript
from potato.ports import AgentSpec, Change, Checkout, Effect, Fenced, ProposalRecord, Report, Request, RunRecord, Work

if TYPE_CHECKING:
    from potato.hub.context import Hub

_SECRET_NAME: Final = re.compile(r"TOKEN|SECRET|PASSWORD|PRIVATE_KEY$")
_LOG_CHARACTERS: Final = 4000
_HUB_KINDS: Final = frozenset({"route_agents", "block"})
_ASKS_MODELS: Final = frozenset({"codex", "claude", "acp", "command", "python"})
_CODES: Final = frozenset({"codex", "claude", "acp"})
READING_ONLY: Final = "the event is untrusted, so the agent may only read, unless a maintainer lifts that ('potato lift RUN')"
RESTING: Final = TERMINAL | {"held", "awaiting_approval"}

_ONCE: Final = frozenset({"dispatch_workflow"})
"""Kinds that the forge cannot be asked about: when in doubt they are not tried again."""

_LONGEST_WAIT_S: Final = 600.0
_GIVE_UP_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Given:
    """Secrets of the agent, keys for its model proxy, and both with the hub's own: what may stand nowhere."""

    secrets: Mapping[str, str]
    keys: Mapping[str, str]
    guarded: Mapping[str, str]


def gets_workspace(agent: AgentSpec) -> bool:
    """Coding agents that may read or change the repository, and programs that may read it; each only in a cage."""
    wanted = frozenset({"read_repository"}) | (CODE_WRITING if agent.runner in _CODES else frozenset[str]())
    return agent.sandbox != "none" and agent.runner in _ASKS_MODELS and bool(wanted & agent.permissions)


class Attempt:
    """`auth_error` is set when the forge refused our credentials."""

    def __init__(self, hub: Hub, work: Work) -> None:
        self.hub = hub
        self.run = work.run
        event = hub.reader(work.delivery)
        self.event = replace(event, fields=with_facts(event, work.facts))
        self.config = hub.config_of(work.run.config_digest)
        self.trusted = self.event.fields.get("trusted") is True or work.run.lifted_by is not None
        self.auth_error: AuthError | None = None

    async def perform(self) -> None:
        """Do what is left to do; whatever happens, the run's state says it. Raises `Fenced` when another attempt holds the run."""
        try:
            stale = await self.hub.forge.stale(self.event)
            if stale:
                await self._end("superseded", stale)
                return
            if not self.run.judged:
                agent = self.config.agents[self.run.agent]
                failure = await self.hub.durable.step("agent", lambda: self._propose(agent))
                if failure:
                    await self._give_up(failure)
                    return
            await self._apply()
        except Fenced:
            raise
        except PotatoError as error:
            if isinstance(error, AuthError):
                self.auth_error = error
            if not await self._later(error):
                await self._end("failed", str(error))
        except Exception as error:  # noqa: BLE001 - a bug met by one run must not end the others
            await self._end("failed", f"internal-error: {type(error).__name__}")

    # states

    async def _become(self, state: State, reason: str) -> None:
        self.run.state, self.run.reason, self.run.updated_at = state, reason, self.hub.clock.now()
        await self.hub.durable.commit(lambda: self.hub.store.save_run(self.run))
        self.hub.notifier.run_changed(self.run)

    async def _end(self, state: State, reason: str) -> None:
        self.run.state, self.run.reason, self.run.updated_at = state, reason, self.hub.clock.now()
        others = await self.hub.durable.commit(lambda: self.hub.store.rest(self.run))
        for run in (self.run, *others):
            self.hub.notifier.run_changed(run)

    async def _give_up(self, failure: str) -> None:
        """It has failed; another of its equals may do the work."""
        if self.run.trouble == "refused":
            await self._end("blocked", failure)
            return
        moved = await self._move() if self.run.trouble else None
        await self._end("failed", f"{failure}; moved to {moved}" if moved else failure)

    async def _move(self) -> str | None:
        """Give the work to the least loaded healthy one of its equals that has not had it. The trace of it is the new run's reason."""
        others = [name for name in self.run.equals if name != self.run.agent and self.hub.runner_problem(self.config.agents[name]) is None]
        loads = self.hub.store.loads(others)
        for name in sorted(others, key=lambda name: (not loads[name][1], loads[name][0])):
            why = f"moved from {self.run.agent} ({self.run.trouble}): least loaded healthy one of {', '.join(self.run.equals)}"
            assignment = Assignment(name, self.run.rules, Priority[self.run.priority.upper()], any_of=self.run.equals)
            run = new_run(self.hub, self.run, assignment, why)
            for added in await self.hub.durable.commit(lambda run=run: self.hub.store.add_runs(self.run, [run], self.config.controls.caps)):
                self.hub.notifier.run_changed(added)
                return name
        return None

    async def _later(self, error: PotatoError) -> bool:
        """Put it back if that may help: what the agent proposed is kept, and applied effects are not applied again."""
        age_s = (self.hub.clock.now() - self.run.created_at).total_seconds()
        if not self.hub.durable.patient or error.code not in TRANSIENT:
            return False
        if error.code == "paused":
            self.run.state, self.run.updated_at = "queued", self.hub.clock.now()
            self.run.reason = error.message
            await self.hub.durable.commit(lambda: self.hub.store.requeue(self.run, 0.0))
            self.hub.notifier.run_changed(self.run)
            return True
        if age_s > _GIVE_UP_S:
            return False
        delay_s = min(5.0 * 2 ** min(self.run.attempts - 1, 10), _LONGEST_WAIT_S)
        self.run.state, self.run.updated_at = "queued", self.hub.clock.now()
        self.run.reason = f"attempt {self.run.attempts} met {error.code}"
        await self.hub.durable.commit(lambda: self.hub.store.requeue(self.run, delay_s))
        self.hub.notifier.run_changed(self.run)
        return True

    # the agent and the gate

    async def _propose(self, agent: AgentSpec) -> str | None:
        """Run the agent and keep its judged proposals; why it failed, if it did."""
        await self._bind()
        secrets, keys = self._secrets(agent)
        guarded = {**self._credentials(), **keys, **secrets}
        async with self._checkout(agent) as checkout:
            setting = self._setting(agent, guarded, checkout)
            report, session = await self._report(agent, Given(secrets, keys, guarded), setting, checkout)
            summary = session.summary or report.summary
            self.run.usage, self.run.trouble = report.usage, report.trouble
            self.run.warnings += tuple(report.warnings)
            self.run.summary = await asyncio.to_thread(_withheld, summary, guarded)
            self.run.log = _withheld(report.log[-_LOG_CHARACTERS:], guarded)
            if report.failure:
                return _withheld(report.failure, guarded)
            proposals = [*session.proposals, *report.proposals]
            if checkout is not None and report.changes is not None:
                try:
                    changes = await checkout.differing(report.changes)
                except PotatoError as error:  # what its files are called is the agent's doing: doing all of it again would not help
                    return f"its workspace cannot be compared with the commit: {error.message}"
                proposals = self._patched(agent, proposals, changes, summary, checkout.source.commit)
        verdicts = await asyncio.to_thread(judge, proposals, agent.grant(), setting)
        self.run.proposals = [
            ProposalRecord(f"{self.run.id}.{n}", v.kind, v.args, v.answer, v.reason, v.digest) for n, v in enumerate(verdicts, 1)
        ]
        told = [make(self.run, proposal) for proposal in self.run.proposals for make in (entries.proposal_entry, entries.verdict_entry)]
        await self.hub.durable.commit(lambda: self.hub.store.save_proposals(self.run, told))
        return None

    def _setting(self, agent: AgentSpec, guarded: Mapping[str, str], checkout: Checkout | None) -> Setting:
        """What the gate must know. An agent of our own code believes nothing that it reads; any other on an untrusted event only reads."""
        controls = self.config.controls
        restricted = not self.trusted and agent.runner != "builtin"
        return Setting(
            self.event, self.trusted, controls.policy, self.config.routable(agent.name), self.config.protected, guarded, controls.approvals,
            reading_only=READING_ONLY if restricted else None, commit=checkout.source.commit if checkout else None,
        )  # fmt: skip

    async def _report(self, agent: AgentSpec, given: Given, setting: Setting, checkout: Checkout | None) -> tuple[Report, RunSession]:
        context = await self.hub.forge.read(self.event, agent.permissions)
        transcript = Transcript(self.hub, self.run.id, self.run.attempts, given.guarded)
        session = RunSession(self.hub.forge, agent.grant(), setting, transcript, workspace=checkout is not None)
        request = Request(
            self.run.id, agent, self.event, context, tuple(sorted(self.config.routable(agent.name))), given.secrets, session, self.trusted,
            self.config.bounds, self.config.providers, given.keys, self.config.controls.budgets.allowance(agent.name),
            checkout.source if checkout else None,
        )  # fmt: skip
        runner = self.hub.runners[agent.runner or ""]
        try:
            return await self.hub.durable.stoppable(self.run.id, runner.run(request)), session
        finally:
            await transcript.close()

    @contextlib.asynccontextmanager
    async def _checkout(self, agent: AgentSpec) -> AsyncIterator[Checkout | None]:
        """The commit that the agent works on, if it gets one."""
        wanted = gets_workspace(agent)
        checkout = await self.hub.forge.checkout(self.event) if wanted else None
        sha = self.event.head_sha
        if wanted and checkout is None:
            self.run.warnings += ("it got no workspace: there is no repository to take one from",)
        elif checkout is not None and sha is not None and checkout.source.commit != sha:
            self.run.warnings += (f"its workspace is of commit {checkout.source.commit[:12]}: the event's, {sha[:12]}, is not here",)
        try:
            yield checkout
        finally:
            if checkout is not None:
                await checkout.close()

    def _patched(self, agent: AgentSpec, proposals: list[Any], changes: Sequence[Change], summary: str, commit: str) -> list[Any]:
        """The proposals, with what really differs in the workspace."""
        dropped = unproposed(changes, agent.permissions)
        if dropped:
            self.run.warnings += (dropped,)
        return with_patch(proposals, changes, commit, summary, agent.name, agent.permissions)

    def _credentials(self) -> dict[str, str]:
        """The hub's own secrets: no agent has them, and none may publish them."""
        return {name: value for name, value in self.hub.environ.items() if value and is_reserved(name) and _SECRET_NAME.search(name)}

    def _secrets(self, agent: AgentSpec) -> tuple[dict[str, str], dict[str, str]]:
        """(the agent's own secrets, none for an untrusted event; what the hub uses for it: keys of its providers, its signing secret)."""
        sources = self.hub.secrets
        providers = {provider.key for provider in self.config.providers.values()} if agent.runner in _ASKS_MODELS else set[str]()
        used = [name for name in agent.secrets if name in providers] + ([agent.signing_secret] if agent.signing_secret else [])
        keys = {name: value for name in used if (value := sources.get(name))}
        own = [name for name in agent.secrets if name not in used]
        if own and not self.trusted:
            self.run.warnings += ("untrusted event: it got no secrets",)
            return {}, keys
        found = {name: value for name in own if (value := sources.get(name))}
        missing = [name for name in own if name not in found]
        if missing and agent.runner != "builtin":
            self.run.warnings += (f"secret {', '.join(missing)} is not set",)
        return found, keys

    # effects

    async def _apply(self) -> None:
        """Apply what is allowed and not applied yet, each on its own: one failed effect does not keep the others back."""
        left = [proposal for proposal in self.run.proposals if proposal.verdict == "allow" and proposal.effect is None]
        if left:
            await self._bind()
            await self._become("applying", f"{len(left)} effect(s)")
            stale = await self.hub.forge.stale(self.event)
            if stale:
                await self._end("superseded", stale)
                return
        for number, proposal in enumerate(left, 1):
            proposal.effect = await self.hub.durable.step(f"effect {number}", lambda proposal=proposal: self._effect(proposal))
        state, reason = final(self.run)
        if state == "awaiting_approval":
            self.run.expires_at = self.hub.clock.now().timestamp() + self._time_to_answer()
        await self._end(state, reason)

    async def _bind(self) -> None:
        """What is judged is judged about a commit, also where the event names none (a comment on a pull request)."""
        if self.event.head_sha is None:
            self.event = replace(self.event, head_sha=await self.hub.forge.head(self.event))

    def _time_to_answer(self) -> float:
        waiting = [proposal for proposal in self.run.proposals if proposal.verdict == "needs_approval"]
        rules = [rule for one in waiting for rule in rules_for(one.kind, self.run.agent, self.config.controls.approvals)]
        return expiry_s(rules)

    async def _effect(self, proposal: ProposalRecord) -> Effect:
        key = proposal.id
        if proposal.begun and proposal.kind in _ONCE:
            doubtful = Effect("failed", "an earlier attempt ended while it did this: it may have happened, so it is not tried again")
            await self.hub.durable.commit(lambda: self.hub.store.finish_effect(key, doubtful, entries.outcome_entry(key, doubtful)))
            return doubtful
        actor = "" if proposal.kind in _HUB_KINDS else await self.hub.forge.whoami()
        intent = entries.intent_entry(key, proposal)
        await self.hub.durable.commit(lambda: self.hub.store.begin_effect(key, self.run, proposal.id, actor, intent))
        try:
            action = parse_action({"kind": proposal.kind, **proposal.args})
            if bound_digest(proposal.kind, proposal.args, self.event, self.config.controls.policy) != proposal.digest:
                raise MalformedProposal("it is not what was judged")  # noqa: TRY301 - one way for all that cannot be applied
            if proposal.kind in _HUB_KINDS:
                effect = await self._in_hub(action)
            else:
                effect = await self.hub.forge.apply(self.event, self.run.agent, action, key)
        except Fenced:
            raise
        except MalformedProposal as error:
            effect = Effect("failed", f"the stored proposal is not readable: {error}")
        except PotatoError as error:
            if error.code == "paused":
                raise  # before anything happened
            if self.hub.durable.patient and error.code in TRANSIENT and proposal.kind not in _ONCE:
                raise
            effect = Effect("failed", str(error))
            if isinstance(error, AuthError):
                self.auth_error = error
        await self.hub.durable.commit(lambda: self.hub.store.finish_effect(key, effect, entries.outcome_entry(key, effect)))
        return effect

    async def _in_hub(self, action: Action) -> Effect:
        """Routing and blocking happen here, not on the forge. An agent that works on the event already is left alone."""
        if not isinstance(action, RouteAgents):
            return Effect("applied", "agents that wait for this guard are blocked")
        names = list(dict.fromkeys(action.agents))
        for name in names:
            problem = self.hub.runner_problem(self.config.agents[name])
            if problem:
                raise problem
        asked = [Assignment(name, (f"routed by {self.run.agent}",), Priority[self.run.priority.upper()]) for name in names]
        runs = [new_run(self.hub, self.run, assignment, f"routed by {self.run.agent}") for assignment in asked]
        added = await self.hub.durable.commit(lambda: self.hub.store.add_runs(self.run, runs, self.config.controls.caps))
        for run in added:
            self.hub.notifier.run_changed(run)
        new = ", ".join(run.agent for run in added)
        return Effect("applied" if added else "unchanged", f"routed to {new}" if added else "they work on this event already")


def new_run(hub: Hub, like: RunRecord, assignment: Assignment, reason: str, state: State = "queued") -> RunRecord:
    """A run about the same event as `like`, for another assignment."""
    now = hub.clock.now()
    return replace(
        like, id=entries.run_id(like.delivery_id, assignment.agent), agent=assignment.agent, state=state, reason=reason,
        rules=assignment.rules, priority=assignment.priority.label, after=assignment.after, delay_s=assignment.delay_s,
        created_at=now, updated_at=now, attempts=0, summary="", log="", proposals=[],
        worker=None, judged=False, stop=None, usage=None, expires_at=None, equals=assignment.any_of, lifted_by=None, trouble=None,
        warnings=tuple(f"policy {name} declared, not enforced" for name in hub.config_of(like.config_digest).unenforced),
    )  # fmt: skip


def _withheld(text: str, secrets: Mapping[str, str]) -> str:
    """An agent's words, unless they hold a secret."""
    names = leaked([text], secrets)
    return f"(withheld: it holds the secret {', '.join(names)})" if names else text


def final(run: RunRecord) -> tuple[State, str]:
    """The state that a run ends in, and why."""
    proposals = run.proposals
    failed = [p.effect.detail for p in proposals if p.effect and p.effect.state == "failed"]
    denied = [p for p in proposals if p.verdict == "deny"]
    waiting = [p for p in proposals if p.verdict == "needs_approval"]
    if failed:
        return "failed", f"{len(failed)} effect(s) failed: {failed[0]}"
    if waiting:
        return "awaiting_approval", f"{waiting[0].kind} {waiting[0].digest[7:19]}: {waiting[0].reason}"
    if denied and len(denied) == len(proposals):
        return "blocked", f"every proposal was denied: {denied[0].reason}"
    states = Counter(p.effect.state for p in proposals if p.effect)
    done = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "nothing proposed"
    return "succeeded", f"{done}, {len(denied)} denied: {denied[0].reason}" if denied else done
