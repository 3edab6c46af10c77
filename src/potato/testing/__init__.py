"""Fakes for those who test agents, runners and forges of their own. They keep the ports' promises, in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from potato.core.approval import Standing
from potato.core.event import Event, Facts, Subject
from potato.core.proposal import Action
from potato.core.value import Value
from potato.errors import PotatoError
from potato.ports import Checkout, Effect, HeadReport, Piece, Report, Request, RunRecord

START = datetime(2026, 1, 1, tzinfo=UTC)


def make_event(event: str = "pull_request", action: str | None = "opened", *, number: int | None = 7, kind: str = "pull_request",
               repository: str | None = "octo/demo", **fields: Value) -> Event:  # fmt: skip
    """A trusted event about pull request 7 of octo/demo; `fields` are added to what rules see."""
    base: dict[str, Value] = {"event": event, "action": action, "repository": repository, "owner": "octo", "actor": "alice",
                              "trusted": True, "number": number, "label": (), "title": "A title",
                              "body": "", "author": "alice"}  # fmt: skip
    known = {name: value for name, value in {**base, **fields}.items() if value is not None}
    subject = Subject(kind, number) if number else None  # type: ignore[arg-type] # a literal by convention
    return Event(event, action, repository, subject, "alice", "a" * 40, "b" * 40, "main", known)


class FixedClock:
    """Starts at `START` and moves one second with each question."""

    def __init__(self) -> None:
        self._now = START

    def now(self) -> datetime:
        """Aware UTC, later each time."""
        self._now += timedelta(seconds=1)
        return self._now


@dataclass
class FakeForge:
    """Answers with what it was given; keeps what was applied. `refuse` may raise for an action."""

    fields: Mapping[str, Value] = field(default_factory=dict[str, Value])
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])
    refuse: Callable[[Action], None] = lambda _action: None
    applied: list[tuple[str, Action]] = field(default_factory=list[tuple[str, Action]])
    kind: str = "fake"
    out_of_date: str | None = None
    reports: list[HeadReport] = field(default_factory=list[HeadReport])
    pieces: Mapping[str, Sequence[Piece]] = field(default_factory=dict[str, Sequence[Piece]])
    people: Mapping[str, Standing] = field(default_factory=dict[str, Standing])

    async def fetch_facts(self, event: Event, needs: frozenset[str]) -> Facts:  # noqa: ARG002 - the port's face
        """The given fields, whatever is needed."""
        return Facts(self.fields)

    async def read(self, event: Event, permissions: frozenset[str]) -> Mapping[str, Any]:  # noqa: ARG002 - the port's face
        """The given context."""
        return self.context

    async def consult(self, event: Event, tool: str, arguments: Mapping[str, Any]) -> Sequence[Piece]:  # noqa: ARG002 - the port's face
        """As given in `pieces`."""
        if tool not in self.pieces:
            raise PotatoError("nothing-to-read", "there is nothing")
        return self.pieces[tool]

    async def checkout(self, event: Event) -> Checkout | None:  # noqa: ARG002 - the port's face
        """It has no files."""
        return None

    async def apply(self, event: Event, agent: str, action: Action, key: str) -> Effect:  # noqa: ARG002 - the port's face
        """Keep it; the same action of the same agent again is `unchanged`."""
        self.refuse(action)
        if (agent, action) in self.applied:
            return Effect("unchanged", "done before")
        self.applied.append((agent, action))
        return Effect("applied", "done")

    async def head(self, event: Event) -> str | None:
        """As the payload says."""
        return event.head_sha

    async def whoami(self) -> str:
        """A made-up account."""
        return "potato[bot]"

    async def standing(self, repository: str, login: str, teams: frozenset[str]) -> Standing:  # noqa: ARG002 - the port's face
        """As given in `people`; nobody else has rights."""
        return self.people.get(login, Standing(login, "none"))

    async def author(self, repository: str, number: int) -> str:  # noqa: ARG002 - the port's face
        """Alice wrote everything."""
        return "alice"

    async def stale(self, event: Event) -> str | None:  # noqa: ARG002 - the port's face
        """What it was told to say."""
        return self.out_of_date

    async def tell(self, told: HeadReport) -> None:
        """Keep it."""
        self.reports.append(told)

    async def close(self) -> None:
        """Nothing to give back."""


@dataclass
class FakeRunner:
    """Reports by agent name; keeps the requests."""

    reports: Mapping[str, Report]
    requests: list[Request] = field(default_factory=list[Request])

    async def run(self, request: Request) -> Report:
        """The agent's report."""
        self.requests.append(request)
        return self.reports[request.agent.name]


@dataclass
class Watcher:
    """Keeps each state that a run was in."""

    seen: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def run_changed(self, run: RunRecord) -> None:
        """Keep (agent, state)."""
        self.seen.append((run.agent, run.state))
