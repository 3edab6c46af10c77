"""The seams between the hub and the outside. Adapters implement these; fakes in `potato.testing` do too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

from potato.core.approval import Standing
from potato.core.budget import MICROS, Budgets, Limit
from potato.core.event import Event, Facts
from potato.core.gate import Grant
from potato.core.lineage import Caps, Link, Track
from potato.core.permission import Role
from potato.core.prompt import visible_fields
from potato.core.proposal import Action
from potato.core.run import State
from potato.errors import PotatoError
from potato.ports.session import Change, Checkout, EventKind, NoSession, Piece, Provider, Session, Source, Trouble

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
    """What became of an allowed proposal. `detail` is short and printable; `url` where a person can look.

    `tracks` are keys of what it left on the forge: an event about one of them was caused by it (see `potato.core.lineage`).
    """

    state: EffectState
    detail: str
    url: str | None = None
    tracks: tuple[str, ...] = ()

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

    async def consult(self, event: Event, tool: str, arguments: Mapping[str, Any]) -> Sequence[Piece]:
        """What a reading tool shows about the event's repository, piece by piece. Raises `PotatoError` where there is no such thing."""
        ...

    async def checkout(self, event: Event) -> Checkout | None:
        """The event's commit, to work on; nothing where the forge has no files. Raises `PotatoError` when it cannot be had."""
        ...

    async def stale(self, event: Event) -> str | None:
        """Why nothing may be done about this event any more: its pull request has another head, or is closed. `None` if it is current.

        Raises `PotatoError` when the forge cannot answer.
        """
        ...

    async def head(self, event: Event) -> str | None:
        """The commit that the event's pull request is at now; `None` if it is about none. Raises `PotatoError` when it cannot answer."""
        ...

    async def whoami(self) -> str:
        """The account that effects are made by. Raises `PotatoError` when the forge cannot answer."""
        ...

    async def standing(self, repository: str, login: str, teams: frozenset[str]) -> Standing:
        """What a person may do in a repository, and which of these teams (`org/slug`) they are in, as the forge says now.

        Raises `PotatoError` when it cannot answer.
        """
        ...

    async def author(self, repository: str, number: int) -> str:
        """Who opened the pull request or issue. Raises `PotatoError` when the forge cannot answer."""
        ...

    async def apply(self, event: Event, agent: str, action: Action, key: str) -> Effect:
        """Apply one allowed action so that doing it again changes nothing. `key` identifies the effect, and stands in what it writes.

        Raises `PotatoError` when the forge refuses.
        """
        ...

    async def tell(self, told: HeadReport) -> None:
        """Show people, on the commit, what was decided and how far it is. Saying the same again changes nothing.

        Raises `PotatoError` when the forge refuses.
        """
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


@dataclass(frozen=True, slots=True)
class HeadReport:
    """What a commit's check run `name` says. `conclusion` is absent while something is still to happen. `summary` is Markdown."""

    repository: str
    head_sha: str
    title: str
    summary: str
    conclusion: Literal["success", "failure", "neutral", "action_required"] | None
    url: str | None = None
    name: str = "potato"
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """Something about one line of a file, shown there."""

    path: str
    line: int
    level: Literal["notice", "warning", "failure"]
    text: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a caged run may use at most: memory and disk (which is memory too), processes, processors, seconds of processor time.

    `read` are more folders of the machine that it sees, read-only.
    """

    memory_bytes: int = 4 << 30
    disk_bytes: int = 2 << 30
    processes: int = 512
    cpus: float = 2.0
    cpu_s: float = 3600.0
    read: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """An agent as its config defines it. `files` are absolute; `place` is where it is defined, for messages.

    `concurrency` is how many of its runs go on at once, `rate` how many start in so many seconds, `cooldown_s` the least time between two
    starts on one subject; all over the whole hub, and unlimited where absent.
    """

    name: str
    role: Role
    runner: str | None
    prompt: str
    permissions: frozenset[str]
    secrets: tuple[str, ...]
    caps: Mapping[str, int]
    timeout_s: float
    concurrency: int | None
    folder: str
    place: str
    builtin: str | None = None
    command: tuple[str, ...] = ()
    function: str | None = None
    sandbox: Literal["auto", "none"] = "auto"
    model: str | None = None
    files: tuple[str, ...] = ()
    rate: tuple[int, float] | None = None
    cooldown_s: float = 0.0
    models: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    egress: tuple[str, ...] = ()
    url: str | None = None
    signing_secret: str | None = None
    internal: bool = False
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    def grant(self) -> Grant:
        """What the gate lets it do."""
        return Grant(self.name, self.role, self.permissions, self.caps, self.paths)


@dataclass(frozen=True, slots=True)
class Request:
    """Everything one agent gets for one run. `context` is what its reading permissions show it, `session` what it may call.

    `trusted` says whether the event is. `keys` are the providers' keys by the name of their environment variable: they are for the model
    proxy, never for the agent. `source` is the commit that its workspace is made of, where it gets one.
    """

    run_id: str
    agent: AgentSpec
    event: Event
    context: Mapping[str, Any]
    routable: tuple[str, ...]
    secrets: Mapping[str, str]
    session: Session = field(default_factory=NoSession)
    trusted: bool = True
    bounds: Bounds = field(default_factory=Bounds)
    providers: Mapping[str, Provider] = field(default_factory=dict[str, Provider])
    keys: Mapping[str, str] = field(default_factory=dict[str, str])
    allowance: Limit = field(default_factory=Limit)
    source: Source | None = None

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


@dataclass(frozen=True, slots=True)
class Report:
    """What an agent came back with. `proposals` are its raw words; `failure` says why it failed, if it did.

    `trouble` is the sort of failure that another agent may be spared, or that bars this one. `changes` are what differs in its workspace.
    """

    proposals: Sequence[Any] = ()
    summary: str = ""
    failure: str | None = None
    warnings: tuple[str, ...] = ()
    log: str = ""
    usage: Usage | None = None
    trouble: Trouble | None = None
    changes: Sequence[Change] | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What an agent used, by its own account or a meter's: tokens, and money in millionths. `model` is the last one it asked."""

    tokens: int = 0
    micros: int = 0
    model: str | None = None


class Runner(Protocol):
    """How an agent is executed. It never raises for what an agent did: that is a `failure` in the report."""

    async def run(self, request: Request) -> Report:
        """Run the agent once; on cancellation leave no process behind."""
        ...


@dataclass(slots=True)
class RunRecord:
    """One run as stored and shown. Times are aware UTC; `log` is the end of what a process agent wrote to stderr.

    `after` are the guards it waits for. `attempts` numbers the attempt that holds it: any other may change nothing (see ADR 27).
    `actor` caused the event, and `lineage` are the runs before it in its chain. `expires_at` (seconds since 1970) ends a wait for people.
    `equals` are the agents of `any_of` among which it was placed, `trouble` the sort of failure it ended with (kept only in memory).
    `lifted_by` let it work on an untrusted event as on a trusted one. `head_sha` and `occurred_at` (of the event, as the forge tells it)
    say which of two runs is about the newer state.
    """

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
    config_digest: str = ""
    head_sha: str | None = None
    occurred_at: str | None = None
    after: tuple[str, ...] = ()
    delay_s: float = 0.0
    worker: str | None = None
    judged: bool = False
    stop: tuple[State, str] | None = None
    actor: str | None = None
    lineage: tuple[Link, ...] = ()
    usage: Usage | None = None
    expires_at: float | None = None
    equals: tuple[str, ...] = ()
    lifted_by: str | None = None
    trouble: Trouble | None = None

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
            "depth": len(self.lineage),
            "summary": self.summary,
            "warnings": list(self.warnings),
            "log": self.log,
            "usage": {"tokens": self.usage.tokens, "cost": self.usage.micros / MICROS, "model": self.usage.model} if self.usage else None,
            "lifted_by": self.lifted_by,
        }


@dataclass(slots=True)
class ProposalRecord:
    """One proposal with its verdict and, once applied, its effect; `begun` where an attempt began to apply it and did not tell the end."""

    id: str
    kind: str
    args: Mapping[str, Any]
    verdict: str
    reason: str
    digest: str
    effect: Effect | None = None
    begun: bool = False

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


@dataclass(frozen=True, slots=True)
class TranscriptEvent:
    """Something an agent did. `body` has a `text`, and more by kind; none of it holds a secret."""

    run_id: str
    attempt: int
    number: int
    at: datetime
    kind: EventKind
    body: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The shape of `runs show --json`."""
        return {"attempt": self.attempt, "number": self.number, "at": self.at.isoformat(), "kind": self.kind, **self.body}


class Fenced(PotatoError):  # noqa: N818 - it names what happened to the caller
    """Another attempt holds the run, or it was stopped: the caller must change nothing more."""


Loads = Mapping[str, tuple[int, bool]]
"""Agent -> (runs queued and running, whether it is healthy)."""


@dataclass(frozen=True, slots=True)
class Cause:
    """By what the run that caused an event is found: what the event is about, who sent it, and where.

    With `patient`, an effect of ours that is on its way there is an error, for it may be what the event is about; without, it is not.
    """

    tracks: Sequence[Track]
    actor: str | None
    repository: str | None
    patient: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What was decided for one delivery: the decision as JSON, and a run for each assignment, in order.

    Which of the `equals` runs is chosen by their loads, in the transaction that adds the runs: two events at once do not choose the same.
    There the runs before it in its chain are found, too, by its `cause`.
    """

    delivery_id: str
    config_digest: str
    decision: Mapping[str, Any]
    entry: Entry
    equals: frozenset[str]
    caps: Caps
    runs: Callable[[Loads, tuple[Link, ...]], Sequence[RunRecord]]
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """A run that was started, with what it is about."""

    run: RunRecord
    delivery: Delivery
    facts: Facts


Passage = tuple[Literal["pass", "blocked", "held"], str]
"""Whether those who wait for guards may run, and why not."""

Pass = Callable[[Sequence[RunRecord]], Passage]


class Store(Protocol):
    """Durable state of decisions and runs. Every method is one transaction that also appends its audit entries.

    Methods that change a run raise `Fenced` when another attempt holds it, and `PotatoError` when the database refuses.
    """

    def record_delivery(self, delivery: Delivery, entry: Entry) -> bool:
        """Keep a delivery; false if the same one is there already. Raises `PotatoError` on another body."""
        ...

    def plan(self, plan: Plan) -> list[RunRecord]:
        """Keep a decision and its runs, and stop what it supersedes. Gives the runs as they are now.

        Raises `PotatoError` (`effect-on-its-way`) while it cannot be told what caused the event: then nothing is kept.
        """
        ...

    def add_runs(self, parent: RunRecord, runs: Sequence[RunRecord], caps: Caps) -> list[RunRecord]:
        """Keep more runs of the parent's delivery; those of agents that have one already are left out. Gives the new ones."""
        ...

    def ready(self, delivery_id: str) -> list[RunRecord]:
        """The delivery's runs that wait for nothing."""
        ...

    def start(self, run_id: str, attempt: int | None, worker: str | None, budgets: Budgets | None = None) -> Work | None:
        """Begin an attempt; nothing if another one holds the run or it was stopped.

        Without a number it is the next one, and what a queue would have asked is asked here: pauses and budgets.
        """
        ...

    def save_run(self, run: RunRecord) -> None:
        """Update a run that goes on."""
        ...

    def rest(self, run: RunRecord) -> list[RunRecord]:
        """Update a run that ends or waits for somebody, and free or stop those that waited for it: these are given."""
        ...

    def requeue(self, run: RunRecord, delay_s: float) -> None:
        """Put a started run back, to be started again after the delay."""
        ...

    def conclude(self, run: RunRecord) -> list[RunRecord]:
        """End a run that was stopped from outside; nothing if another attempt holds it. Gives what changed."""
        ...

    def save_proposals(self, run: RunRecord, entries: Sequence[Entry]) -> None:
        """Keep a run's proposals with their verdicts."""
        ...

    def begin_effect(self, key: str, run: RunRecord, proposal_id: str, actor: str, entry: Entry) -> None:
        """Log the intent, durably, before anything happens. `actor` is the account that will do it.

        Raises `PotatoError` with code `paused` while a pause keeps effects back.
        """
        ...

    def finish_effect(self, key: str, effect: Effect, entry: Entry) -> None:
        """Log the outcome."""
        ...

    def add_transcript(self, events: Sequence[TranscriptEvent]) -> None:
        """Keep more of what an agent did."""
        ...

    def transcript(self, run_id: str, after: tuple[int, int] = (0, 0)) -> list[TranscriptEvent]:
        """What an agent did after (attempt, number), in order; at most a thousand."""
        ...

    def loads(self, agents: Sequence[str]) -> Loads:
        """How much each has to do, and whether it is healthy."""
        ...

    def runs(self, limit: int | None = None) -> list[RunRecord]:
        """All runs, newest first."""
        ...

    def find(self, prefix: str) -> list[RunRecord]:
        """The run of this id, or else those whose id begins so (a few at most), with their proposals."""
        ...

    def runs_of(self, delivery_id: str) -> list[RunRecord]:
        """The runs of one delivery with their proposals, oldest first."""
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
    """Executes the leaves of the workflow: inline in CI, durably in the hub.

    `patient` says whether what fails for now (GitHub is down) is put back to be tried again, or has failed.
    """

    patient: bool

    async def step(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        """Run one named leaf. It may run again in a later attempt: leaves are idempotent."""
        ...

    async def commit(self, call: Callable[[], T]) -> T:
        """Run one transaction without keeping others waiting."""
        ...

    async def stoppable(self, run_id: str, work: Coroutine[Any, Any, T]) -> T:
        """Await the work so that it can be stopped from outside. Raises `Fenced` when it was."""
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
