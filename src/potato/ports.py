"""The seams between the hub and the outside. Adapters implement these; fakes in `potato.testing` do too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

from potato.core.event import Event, Facts
from potato.core.gate import Grant
from potato.core.permission import Role
from potato.core.proposal import Action
from potato.core.run import State

T = TypeVar("T")

EffectState = Literal["applied", "unchanged", "staged", "failed"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event as it arrived: raw bytes and where they came from. `source` is `actions`, `file` or `webhook`."""

    delivery_id: str
    event: str
    body: bytes
    source: str


@dataclass(frozen=True, slots=True)
class Effect:
    """What became of an allowed proposal. `detail` is short and printable; `url` where a person can look."""

    state: EffectState
    detail: str
    url: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The shape of `effect` in `run --json`."""
        return {"state": self.state, "detail": self.detail, "url": self.url}


class Forge(Protocol):
    """Where events come from and effects go."""

    kind: str

    async def fetch_facts(self, event: Event, needs: frozenset[str]) -> Facts:
        """Fetch the named facts. What cannot be fetched is left out of `fields` and told in `problems`."""
        ...

    async def read(self, event: Event, permissions: frozenset[str]) -> Mapping[str, Any]:
        """What an agent with these reading permissions may see: `files`, `jobs`, `codeowners` ... as JSON.

        Raises `PotatoError` when the forge cannot answer; a forge that has no such data leaves it out.
        """
        ...

    async def apply(self, event: Event, agent: str, action: Action, key: str) -> Effect:
        """Apply one allowed action so that doing it again changes nothing. `key` identifies the effect.

        Raises `PotatoError` when the forge refuses.
        """
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """An agent as its config defines it. `files` are absolute; `place` is where it is defined, for messages."""

    name: str
    role: Role
    runner: str | None
    prompt: str
    permissions: frozenset[str]
    secrets: tuple[str, ...]
    caps: Mapping[str, int]
    timeout_s: float
    concurrency: int
    folder: str
    place: str
    builtin: str | None = None
    command: tuple[str, ...] = ()
    function: str | None = None
    sandbox: Literal["auto", "none"] = "auto"
    model: str | None = None
    files: tuple[str, ...] = ()

    def grant(self) -> Grant:
        """What the gate lets it do."""
        return Grant(self.name, self.role, self.permissions, self.caps)


@dataclass(frozen=True, slots=True)
class Request:
    """Everything one agent gets for one run. `context` is what its reading permissions show it."""

    run_id: str
    agent: AgentSpec
    event: Event
    context: Mapping[str, Any]
    routable: tuple[str, ...]
    secrets: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """The one object that a process agent reads on stdin."""
        return {
            "run_id": self.run_id,
            "agent": self.agent.name,
            "event": self.event.summary() | {"fields": visible_fields(self.event), "head_sha": self.event.head_sha},
            "facts": dict(self.context),
            "prompt": self.agent.prompt,
            "grant": self.agent.grant().as_json(),
            "limits": {"timeout_s": self.agent.timeout_s, "output_bytes": MAX_OUTPUT},
            "agents": list(self.routable),
        }


MAX_OUTPUT = 1 << 20
"""Bytes an agent may write to stdout; it is one JSON object, not a log."""

MAX_PROPOSALS = 100


def visible_fields(event: Event) -> dict[str, Any]:
    """The event's fields as JSON; what is unknown or absent is left out."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in event.fields.items()
        if isinstance(value, (str, int, bool, tuple))
    }


@dataclass(frozen=True, slots=True)
class Report:
    """What an agent came back with. `proposals` are its raw words; `failure` says why it failed, if it did."""

    proposals: Sequence[Any] = ()
    summary: str = ""
    failure: str | None = None
    warnings: tuple[str, ...] = ()
    log: str = ""


class Runner(Protocol):
    """How an agent is executed. It never raises for what an agent did: that is a `failure` in the report."""

    async def run(self, request: Request) -> Report:
        """Run the agent once; on cancellation leave no process behind."""
        ...


@dataclass(slots=True)
class RunRecord:
    """One run as stored and shown. Times are aware UTC; `log` is the end of what a process agent wrote to stderr."""

    id: str
    agent: str
    state: State
    reason: str
    delivery_id: str
    rules: tuple[str, ...]
    priority: str
    repository: str | None
    number: int | None
    created_at: datetime
    updated_at: datetime
    attempts: int = 0
    summary: str = ""
    warnings: tuple[str, ...] = ()
    log: str = ""
    proposals: list[ProposalRecord] = field(default_factory=list["ProposalRecord"])

    def as_json(self) -> dict[str, Any]:
        """The shape of `runs --json`."""
        return {
            "id": self.id,
            "agent": self.agent,
            "state": self.state,
            "reason": self.reason,
            "repository": self.repository,
            "number": self.number,
            "delivery_id": self.delivery_id,
            "rules": list(self.rules),
            "priority": self.priority,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
            "attempts": self.attempts,
            "summary": self.summary,
            "warnings": list(self.warnings),
            "log": self.log,
        }


@dataclass(slots=True)
class ProposalRecord:
    """One proposal with its verdict and, once applied, its effect."""

    id: str
    kind: str
    args: Mapping[str, Any]
    verdict: str
    reason: str
    digest: str
    effect: Effect | None = None

    def as_json(self) -> dict[str, Any]:
        """The shape of `runs[].proposals[]` in `run --json`."""
        return {
            "id": self.id,
            "kind": self.kind,
            "args": dict(self.args),
            "verdict": self.verdict,
            "reason": self.reason,
            "digest": self.digest,
            "effect": self.effect.as_json() if self.effect else None,
        }


@dataclass(frozen=True, slots=True)
class Entry:
    """One audit entry before it is logged. `body` holds ids, digests and outcomes; never a secret or a payload."""

    kind: str
    body: Mapping[str, Any]


class Store(Protocol):
    """Durable state. Every method is one transaction that also appends its audit entries."""

    def record_delivery(self, delivery: Delivery, entry: Entry) -> bool:
        """Keep a delivery; false if the same one is there already. Raises `PotatoError` on another body."""
        ...

    def record_decision(self, delivery_id: str, config_digest: str, decision: Mapping[str, Any], entry: Entry) -> None:
        """Keep the decision with the config it was made by."""
        ...

    def save_run(self, run: RunRecord, entry: Entry) -> None:
        """Insert or update a run."""
        ...

    def save_proposals(self, run: RunRecord, entries: Sequence[Entry]) -> None:
        """Keep a run's proposals with their verdicts."""
        ...

    def begin_effect(self, key: str, run_id: str, proposal_id: str, entry: Entry) -> None:
        """Log the intent, durably, before anything happens."""
        ...

    def finish_effect(self, key: str, effect: Effect, entry: Entry) -> None:
        """Log the outcome."""
        ...

    def runs(self, limit: int | None = None) -> list[RunRecord]:
        """All runs, newest first."""
        ...


@dataclass(frozen=True, slots=True)
class Recorded:
    """One past event. `source` finds it again; `facts` are what was known then, `decision` what was decided, where that was kept."""

    source: str
    event: str
    body: bytes
    received_at: datetime | None = None
    facts: Facts | None = None
    decision: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Damaged:
    """Something in an archive that cannot be read, and why."""

    source: str
    reason: str


class Archive(Protocol):
    """Past events: a database of ours, or files."""

    def size(self) -> int | None:
        """About how many there are; `None` where counting them means reading them."""
        ...

    def read(self) -> Iterator[Recorded | Damaged]:
        """Each event, one at a time. What is damaged is told and skipped."""
        ...

    def find(self, source: str) -> Recorded | None:
        """One event by its source."""
        ...

    def seconds(self) -> Mapping[str, float]:
        """Agent -> the mean time its runs took, where that is known."""
        ...


class Durable(Protocol):
    """Executes the leaves of the workflow: inline in CI, durably in the hub."""

    async def step(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        """Run one named leaf and return, or recall, its result."""
        ...


class Clock(Protocol):
    """The time, injected."""

    def now(self) -> datetime:
        """Aware UTC."""
        ...


class Notifier(Protocol):
    """Told of every change while it happens."""

    def run_changed(self, run: RunRecord) -> None:
        """A run has a new state."""
        ...
