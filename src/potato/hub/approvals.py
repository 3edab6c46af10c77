"""People's answers: who may give them, to what exactly, and what follows. Whatever cannot be checked is refused.

An answer is bound to the digest of (proposal, head sha, policy): when any of these changes there is nothing left to answer.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass, replace
from typing import Final

from potato.core import neutralise
from potato.core.approval import DEFAULT, Answer, missing, refusal, rules_for
from potato.core.event import Event, with_facts
from potato.core.gate import bound_digest
from potato.core.proposal import Comment
from potato.core.run import TERMINAL
from potato.core.text import printable
from potato.errors import TRANSIENT, PotatoError
from potato.hub import entries
from potato.hub.book import Book
from potato.hub.context import Hub
from potato.ports import Delivery, Forge, RunRecord
from potato.ports.control import Approvals, Waiting

_COMMAND: Final = re.compile(r"potato[ \t]+(approve|deny)[ \t]+(\S+)")
_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{8,64})")
_SWEEP_S: Final = 1.0
_MOST: Final = 5
_LOG = logging.getLogger("potato")


@dataclass(frozen=True, slots=True)
class Command:
    """What somebody asks for in a comment."""

    answer: Answer
    digest: str


def commands_of(event: Event) -> list[Command]:
    """`/potato approve DIGEST` and `deny` of a new comment; what is quoted, in code, or edited into an old comment is none."""
    lines = event.fields.get("command")
    if event.event != "issue_comment" or event.action != "created" or not isinstance(lines, tuple):
        return []
    found = [_COMMAND.fullmatch(str(line).strip()) for line in lines]
    return [Command("approve" if match[1] == "approve" else "deny", match[2]) for match in found if match][:_MOST]


class Desk:
    """Where answers are given. `hub_account` says whether the forge speaks as the hub (which cannot answer), or as a person."""

    def __init__(self, hub: Hub, book: Book, approvals: Approvals, *, hub_account: bool = True) -> None:
        self._hub = hub
        self._book = book
        self._approvals = approvals
        self._hub_account = hub_account

    def find(self, digest: str) -> Waiting:
        """The one proposal that waits under this digest or its beginning. Raises `PotatoError`."""
        match = _DIGEST.fullmatch(digest)
        if match is None:
            raise PotatoError("approval-refused", "a digest is at least eight of 0-9 and a-f, as shown with the run.")
        found = self._approvals.waiting(match[1])
        if len(found) != 1:
            why = "nothing waits for an answer under it" if not found else "it fits several; write more of it"
            raise PotatoError("approval-refused", f"{match[1][:16]}: {why}.")
        return found[0]

    async def answer(self, digest: str, login: str, answer: Answer, source: str, about: Event | None = None) -> tuple[Waiting, str]:
        """Give an answer; what it was to, and what became of it. `about` is where it was given: only there does it count.

        Raises `PotatoError` with code `approval-refused`, or others when something cannot be checked.
        """
        waiting = await asyncio.to_thread(self.find, digest)
        run, proposal = waiting.run, waiting.proposal
        if about is not None and ((about.repository or "").casefold(), about.number) != ((run.repository or "").casefold(), run.number):
            raise PotatoError("approval-refused", "it waits on another pull request or issue; answer there.")
        controls = (await self._book.get(run.repository)).controls
        await self._still_true(waiting, controls.policy)
        rules = rules_for(proposal.kind, run.agent, controls.approvals)
        teams = frozenset(team for rule in rules for team in rule.teams)
        forge, repository = self._hub.forge, run.repository or ""
        person = await forge.standing(repository, login, teams)
        why = refusal(person, rules, await self._involved(run))
        if why:
            raise PotatoError("approval-refused", f"{why}.")
        more = missing([*waiting.approvers, login], rules)
        kept = await asyncio.to_thread(lambda: self._approvals.answer(waiting, login, answer, source, enough=more == 0))
        self._hub.notifier.run_changed(kept)
        if answer == "deny":
            return waiting, f"denied by {login}"
        return waiting, f"approved by {login}" + (f"; {more} more must say yes" if more else "")

    async def lift(self, run_id: str, login: str, source: str) -> RunRecord:
        """Let a run on an untrusted event work once as on a trusted one, with its secrets and all that it may; gives that run.

        Raises `PotatoError` with code `lift-refused`, or others when something cannot be checked.
        """
        work = await asyncio.to_thread(self._approvals.work, run_id)
        if work is None:
            raise PotatoError("lift-refused", f"there is no run '{run_id[:80]}'.")
        run = work.run
        if run.state not in TERMINAL:
            raise PotatoError("lift-refused", f"run '{run.id}' is {run.state}; it can be lifted when it has ended.")
        event = self._hub.reader(work.delivery)
        if with_facts(event, work.facts).get("trusted") is not False or run.lifted_by:
            raise PotatoError("lift-refused", f"there is nothing to lift: the event of run '{run.id}' is trusted, or was lifted.")
        config = await self._book.get(run.repository)
        if run.agent not in config.agents:
            raise PotatoError("lift-refused", f"agent '{run.agent}' is not in the config any more.")
        stale = await self._hub.forge.stale(event)
        why = stale or refusal(
            await self._hub.forge.standing(run.repository or "", login, frozenset()), [DEFAULT], await self._involved(run)
        )
        if why:
            raise PotatoError("lift-refused", f"{why}.")
        now = self._hub.clock.now()
        again = replace(
            run, id=entries.run_id(run.delivery_id, f"{run.agent} lifted"), state="queued", reason=f"lifted by {login}", lifted_by=login,
            config_digest=config.digest, created_at=now, updated_at=now, attempts=0, summary="", log="", warnings=(), proposals=[],
            worker=None, judged=False, stop=None, usage=None, expires_at=None, after=(), delay_s=0.0,
        )  # fmt: skip
        kept = await asyncio.to_thread(self._approvals.lift, run, again, login, source, config.controls.caps)
        self._hub.notifier.run_changed(kept)
        return kept

    async def _involved(self, run: RunRecord) -> list[str]:
        """Who wrote this or asked for it, and the accounts of the hub."""
        forge = self._hub.forge
        involved = [*await asyncio.to_thread(self._approvals.accounts), *([run.actor] if run.actor else [])]
        if self._hub_account:
            involved.append(await forge.whoami())
        if run.number is not None:
            involved.append(await forge.author(run.repository or "", run.number))
        return involved

    async def _still_true(self, waiting: Waiting, policy: str) -> None:
        """Nothing that the answer is bound to has changed; what did ends the wait. Raises `PotatoError`."""
        event = self._hub.reader(waiting.delivery)
        if event.head_sha is None:
            event = replace(event, head_sha=await self._hub.forge.head(event))
        bound = bound_digest(waiting.proposal.kind, waiting.proposal.args, event, policy)
        if bound != waiting.proposal.digest:
            await self._revoke(waiting.run, "the policy or the proposal has changed since it was asked for")
        stale = await self._hub.forge.stale(event)
        if stale:
            await self._revoke(waiting.run, stale)

    async def _revoke(self, run: RunRecord, reason: str) -> None:
        ended = await asyncio.to_thread(self._approvals.revoke, run.id, reason)
        if ended is not None:
            self._hub.notifier.run_changed(ended)
        raise PotatoError("approval-refused", f"{reason}.")

    async def obey(self, event: Event, delivery: Delivery) -> None:
        """Do what a comment asks for, and answer it on the pull request: one comment for each proposal, changed in place."""
        for number, command in enumerate(commands_of(event)):
            login = event.actor or ""
            author = event.fields.get("author")
            source = f"comment in delivery {delivery.delivery_id}"
            waiting: Waiting | None = None
            try:
                if author != login:
                    raise PotatoError("approval-refused", "the comment is not its sender's.")  # noqa: TRY301 - one way for all
                waiting, told = await self.answer(command.digest, login, command.answer, source, event)
            except PotatoError as error:
                if error.code in TRANSIENT and number == 0:
                    raise  # nothing was counted yet: the whole comment is read again later
                told = f"not counted: {error.message}"
            await self._reply(event, command, waiting, told)

    async def _reply(self, event: Event, command: Command, waiting: Waiting | None, told: str) -> None:
        shown = printable(command.digest, 20)
        short = waiting.short if waiting else re.sub(r"[^0-9a-f]", "", shown)[:12]
        body = f"**{command.answer}** `{neutralise.plain(shown)}`: {neutralise.markdown(printable(told, 300))}"
        forge: Forge = self._hub.forge
        try:
            effect = await forge.apply(event, "potato", Comment(body=body, key=f"answer-{short or 'none'}"), "answer")
            if waiting is not None and effect.tracks:
                actor = await forge.whoami()
                await asyncio.to_thread(self._approvals.left, waiting.run.id, actor, effect.tracks)
        except PotatoError as error:
            _LOG.warning("no reply on %s#%s: %s", event.repository, event.number, error)

    async def run(self) -> None:
        """For ever: end what nobody answered in time, and what rests on a policy that is no more."""
        generation = -1
        while True:
            if generation != self._book.generation:
                generation = self._book.generation
                await self._void()
            for run in await asyncio.to_thread(self._approvals.expire):
                self._hub.notifier.run_changed(run)
            await asyncio.sleep(_SWEEP_S)

    async def _void(self) -> None:
        for waiting in await asyncio.to_thread(self._approvals.waiting):
            try:
                asked_by = self._hub.config_of(waiting.run.config_digest).controls.policy
            except (KeyError, PotatoError):
                asked_by = ""
            try:
                policy = (await self._book.get(waiting.run.repository)).controls.policy
            except PotatoError as error:
                _LOG.warning("whether run %s still rests on the policy: %s", waiting.run.id, error)
                continue
            if asked_by != policy:
                ended = await asyncio.to_thread(self._approvals.revoke, waiting.run.id, "the policy has changed since it was asked for")
                if ended is not None:
                    self._hub.notifier.run_changed(ended)
