"""What the long-running hub needs beside the workflow: its inbox, its queue, its roster of processes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from potato.core.admission import Admitted, Snapshot
from potato.core.budget import Budgets
from potato.ports import Delivery, Entry, HeadReport, RunRecord
from potato.ports.control import GuardState, Pause, Spent

DeliveryState = Literal["accepted", "deciding", "decided", "ignored", "rejected"]
"""`ignored` matches no rule; `rejected` could not be decided, and says why."""

Answer = Literal["new", "repeated", "conflict"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A delivery to keep, with the audit entry that holds its body's digest as `body`.

    `same_event` is equal for two deliveries that tell the same event; absent where nothing tells. Those with the least `turn` are decided
    first.
    """

    delivery: Delivery
    entry: Entry
    state: DeliveryState
    repository: str | None
    config_digest: str
    head_sha: str | None
    same_event: str | None
    turn: float


@dataclass(frozen=True, slots=True)
class Undecided:
    """A delivery that this hub decides now, for the nth time."""

    delivery: Delivery
    attempt: int


class Inbox(Protocol):
    """Deliveries on their way to a decision. Each method is one transaction."""

    def accept(self, arrivals: Sequence[Arrival]) -> list[Answer]:
        """Keep them all in one commit. `repeated`: the same id, body or event is there; `conflict`: the id with another body."""
        ...

    def note(self, entry: Entry) -> None:
        """Log something that is about no delivery we keep, such as refused ones."""
        ...

    def take(self, hub: str, limit: int) -> list[Undecided]:
        """Take up to `limit` deliveries to decide, by their turns; none that another hub decides."""
        ...

    def reclaim(self, hub: str, is_active: Callable[[str], bool]) -> int:
        """Put back what the hub took and does not work on any more (its last write failed); how many."""
        ...

    def postpone(self, delivery_id: str, delay_s: float, reason: str) -> None:
        """Decide it later."""
        ...

    def reject(self, delivery_id: str, reason: str, entry: Entry) -> None:
        """It cannot be decided, ever."""
        ...

    def has(self, delivery_ids: Sequence[str]) -> set[str]:
        """Which of these are kept."""
        ...

    def decided_heads(self, repository: str, heads: Sequence[str]) -> set[str]:
        """Which of these commits were seen in an event of the repository."""
        ...

    def prune(self, older_than_s: float) -> int:
        """Forget deliveries, decisions and ended runs older than this; the log keeps their digests. Gives how many deliveries."""
        ...


@dataclass(frozen=True, slots=True)
class Process:
    """A hub or worker. `agents` limits what it runs; `beat` counts up while it lives."""

    id: str
    kind: Literal["hub", "worker"]
    host: str
    version: str
    agents: tuple[str, ...] | None
    slots: int
    state: Literal["live", "draining"] = "live"
    beat: int = 0
    seen_at: str = ""


class Roster(Protocol):
    """The processes that live."""

    def join(self, process: Process, entry: Entry) -> None:
        """Enter it."""
        ...

    def beat(self, process_id: str) -> bool:
        """Count up; false if it was buried."""
        ...

    def drain(self, process_id: str) -> None:
        """It takes nothing more."""
        ...

    def all(self) -> list[Process]:
        """Everyone entered."""
        ...

    def orphans(self) -> list[str]:
        """Who holds something and is not entered."""
        ...

    def reclaim(self, process_id: str, is_active: Callable[[str], bool]) -> list[str]:
        """Put back what the process has begun and does not work on any more (its last write failed); gives the runs."""
        ...

    def bury(self, process_id: str, beat: int | None, entry: Entry, *, in_order: bool = False) -> list[str] | None:
        """Remove one that has not beaten since `beat`, and put back what it held; nothing if it has, or another was faster.

        Without a beat it is removed in any case, entered or not. Unless it ended in order, its runs were lost with it; one that was lost
        so again and again fails.
        """
        ...


class Terms(Protocol):
    """What releasing a run depends on beside the queue; asked anew each time."""

    def rates(self) -> Mapping[str, tuple[int, float]]:
        """Agent -> so many starts in so many seconds."""
        ...

    def cooldown_s(self, repository: str | None, agent: str) -> float:
        """The least time between two starts of an agent on one subject there."""
        ...

    def budgets(self, repository: str | None) -> Budgets:
        """What runs there may use."""
        ...


class Queue(Protocol):
    """Runs that wait for a slot."""

    def admit(self, choose: Callable[[Snapshot], Sequence[Admitted]]) -> list[tuple[str, int, str]]:
        """Release what `choose` picks, in one transaction: (run, attempt, worker). Nothing if another hub does so right now."""
        ...

    def stop(self, run_id: str, state: Literal["cancelled", "superseded"], reason: str) -> RunRecord | None:
        """Stop a run: at once if no worker has it, else its worker is told. Gives it as it is; nothing if there is no such run."""
        ...

    def stopping(self, worker: str) -> dict[str, str]:
        """Runs this worker should stop -> why."""
        ...

    def overview(self) -> Overview:
        """What waits, what runs, and how each agent does."""
        ...


@dataclass(frozen=True, slots=True)
class AgentState:
    """How an agent does. Times in seconds; `error_rate` is over the recent past, absent before its first run."""

    agent: str
    running: int
    waiting: int
    oldest_s: float | None
    error_rate: float | None
    healthy: bool
    last_error: str
    last_run_at: str | None
    blocked_by: str

    def as_json(self) -> dict[str, Any]:
        """The shape of `status --json`."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Overview:
    """The hub at one moment. `stopped` are runs that loops or budgets cut, and those that wait for people."""

    agents: Sequence[AgentState]
    processes: Sequence[Process]
    undecided: int
    states: Mapping[str, int] = field(default_factory=dict[str, int])
    pauses: Sequence[Pause] = ()
    guards: Sequence[GuardState] = ()
    spent: Sequence[Spent] = ()
    stopped: Sequence[RunRecord] = ()
    configurations: Sequence[Adoption] = ()

    def as_json(self) -> dict[str, Any]:
        """The shape of `status --json`."""
        return {
            "agents": [agent.as_json() for agent in self.agents],
            "processes": [{name: getattr(process, name) for name in process.__slots__} for process in self.processes],
            "undecided": self.undecided,
            "runs": dict(self.states),
            "pauses": [pause.as_json() for pause in self.pauses],
            "guards": [guard.as_json() for guard in self.guards],
            "spent": [spent.as_json() for spent in self.spent],
            "stopped": [run.as_json() for run in self.stopped],
            "configurations": [one.as_json() for one in self.configurations],
        }


class Reports(Protocol):
    """Check runs to write."""

    def due(self, limit: int) -> list[tuple[str, str, int, str]]:
        """Take some: (repository, head sha, version, delivery)."""
        ...

    def runs_on(self, repository: str, head_sha: str) -> list[RunRecord]:
        """Every run about a commit, oldest first."""
        ...

    def told(self, report: HeadReport, version: int) -> None:
        """It stands there now."""
        ...

    def untold(self, repository: str, head_sha: str, delay_s: float, problem: str) -> None:
        """Try later."""
        ...


class Marks(Protocol):
    """Named positions of background jobs, moved by one process at a time."""

    def read(self, name: str) -> tuple[str, float] | None:
        """Value and time."""
        ...

    def move(self, name: str, expected: str | None, value: str, at: float, arrival: Arrival | None = None) -> bool:
        """Set it if it is still as expected, and keep the delivery in the same commit; false if another was faster."""
        ...


@dataclass(frozen=True, slots=True)
class Failed:
    """A delivery that did not arrive; `path` is where it can be asked for again."""

    delivery_id: str
    event: str
    path: str


class Missed(Protocol):
    """What the forge knows of deliveries that did not arrive. Raises `PotatoError` when it cannot answer."""

    async def failed(self, repositories: Sequence[str], *, app: bool) -> list[Failed]:
        """Deliveries of these repositories' hooks, and of the App's, of which no attempt was answered well."""
        ...

    async def redeliver(self, failed: Failed) -> None:
        """Ask for it again."""
        ...

    async def open_heads(self, repository: str) -> list[tuple[str, Delivery]]:
        """Each open pull request: its head, and a delivery that would have told of it."""
        ...


class Executor(Protocol):
    """What starts workflows in this process and can stop them."""

    active: set[str]

    def launch(self, on_run: Callable[[str, int], Awaitable[None]], on_event: Callable[[str], Awaitable[None]]) -> None:
        """Begin to take what is released to this process."""
        ...

    async def start_event(self, delivery_id: str) -> None:
        """Begin to decide an event here."""
        ...

    def stop(self, run_id: str) -> None:
        """Stop the agent of a run."""
        ...

    def stop_all(self) -> None:
        """Stop every agent."""
        ...

    def prune(self, process_ids: Collection[str], before: datetime) -> int:
        """Forget what ended before a time, and what belongs to processes that are no more; how many of the former."""
        ...

    def close(self) -> None:
        """End."""
        ...


class Configs(Protocol):
    """Configs by digest, with their files."""

    def keep(self, digest: str, file: str, files: Mapping[str, bytes]) -> None:
        """Keep it, once."""
        ...

    def read(self, digest: str) -> tuple[str, Mapping[str, bytes]] | None:
        """The config's own path within its files, and these."""
        ...


class Sources(Protocol):
    """Files of repositories at a commit. Raises `PotatoError` when the forge cannot answer."""

    async def head(self, repository: str) -> str | None:
        """The commit that the default branch is at; nothing if there is no such repository, or nothing in it."""
        ...

    async def file(self, repository: str, path: str, sha: str) -> bytes | None:
        """A plain file; nothing if there is none. One that is no plain file, or too large, is a `PotatoError` (`config-unreadable`)."""
        ...

    async def names(self, repository: str, folder: str, sha: str) -> list[str]:
        """The names of the plain files in a folder."""
        ...


@dataclass(frozen=True, slots=True)
class Adoption:
    """Which config of a repository is in use: the commit it was read at, and the digest its files are kept under (empty without a file).

    `problem` is why the commit `problem_sha` is not in use. `version` grows with every change of any repository's.
    """

    repository: str
    sha: str
    own: str
    problem: str = ""
    problem_sha: str = ""
    version: int = 0

    def as_json(self) -> dict[str, Any]:
        """The shape of `configurations[]` in `status --json`."""
        return {name: getattr(self, name) for name in ("repository", "sha", "problem", "problem_sha")}


class Adoptions(Protocol):
    """Which configs of repositories are in use, for all hubs."""

    def since(self, version: int) -> list[Adoption]:
        """What was changed after a version, in order."""
        ...

    def put(self, adoption: Adoption, entry: Entry) -> Adoption:
        """Keep it, with its audit entry; gives it with its version."""
        ...


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to say on a subject, once. `delivery` and `run_id` are what it is about."""

    repository: str
    number: int
    topic: str
    text: str
    delivery: Delivery
    run_id: str
    attempts: int = 0


class StatusPage(Protocol):
    """What a forge's operators say of it."""

    async def incident(self, url: str) -> str | None:
        """What is wrong, if something is that matters. Raises `PotatoError` when it does not answer or nobody understands it."""
        ...


class Notices(Protocol):
    """What is to be said on pull requests and issues."""

    def due(self, limit: int, lease_s: float) -> list[Notice]:
        """Take some; nobody else gets them within the lease."""
        ...

    def said(self, notice: Notice, actor: str, tracks: tuple[str, ...]) -> None:
        """It stands there, under this account."""
        ...

    def unsaid(self, notice: Notice, delay_s: float, problem: str) -> None:
        """Try later."""
        ...
