"""Which waiting runs start next. Pure.

Each run gets a *tag* when it begins to wait: start-time fair queueing. Runs of one repository and priority follow each other at a distance
of 1/weight in virtual time, and virtual time is the greatest tag that was released. So a repository that floods the hub is far ahead of
virtual time and a quiet one starts at it; higher priorities advance in smaller steps and come first; and low ones are reached whatever
arrives after them, which is how they age. One number orders everything, and it never has to be computed again.

Source: P. Goyal, H. Vin, H. Cheng, "Start-time Fair Queuing", SIGCOMM 1996.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from potato.core.hold import Hold, held_by

WEIGHTS: Final = {"critical": 1000.0, "high": 100.0, "normal": 10.0, "low": 1.0}
"""How many runs of each priority start for one of the lowest, when all wait."""


def next_tag(virtual: float, last: float | None, priority: str) -> float:
    """The tag of a run that begins to wait now; `last` is the tag before it in its repository and priority."""
    return max(virtual, last if last is not None else virtual) + 1.0 / WEIGHTS[priority]


@dataclass(frozen=True, slots=True)
class Lane:
    """Waiting runs of one repository, agent and priority; `head` is the least tag among them."""

    id: int
    repository: str
    agent: str
    priority: str
    head: float
    waiting: int = 1


@dataclass(frozen=True, slots=True)
class Slots:
    """A worker with free slots. `agents` limits what it runs."""

    worker: str
    free: int
    agents: frozenset[str] | None = None

    def takes(self, agent: str) -> bool:
        """Whether it runs this agent."""
        return self.agents is None or agent in self.agents


@dataclass(frozen=True, slots=True)
class Limits:
    """How many runs may go on at once; absent where unlimited. `agents` counts by name; `rates` is (runs, seconds)."""

    everywhere: int | None = None
    organisation: int | None = None
    repository: int | None = None
    agents: Mapping[str, int] = field(default_factory=dict[str, int])
    rates: Mapping[str, tuple[int, float]] = field(default_factory=dict[str, tuple[int, float]])


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The queue at one moment: lanes by head, workers, what runs as (repository, agent), starts within each agent's rate, and pauses."""

    lanes: Sequence[Lane]
    workers: Sequence[Slots]
    running: Sequence[tuple[str, str]]
    started: Mapping[str, int] = field(default_factory=dict[str, int])
    holds: Sequence[Hold] = ()


@dataclass(frozen=True, slots=True)
class Admitted:
    """One run of a lane goes to a worker; without one, `blocked_by` says why the lane waits, and `held` that it is not for want of room."""

    lane: Lane
    worker: str | None
    blocked_by: str = ""
    held: bool = False


def choose(snapshot: Snapshot, limits: Limits, holds: Sequence[Hold] = ()) -> list[Admitted]:
    """At most one run of each lane, in the order of the tags, each to the worker with most free slots; and why the others wait."""
    return _Choice(snapshot, limits, (*snapshot.holds, *holds)).made()


class _Choice:
    def __init__(self, snapshot: Snapshot, limits: Limits, holds: Sequence[Hold]) -> None:
        self.lanes = snapshot.lanes
        self.holds = holds
        self.limits = limits
        self.free = {slots.worker: slots.free for slots in snapshot.workers}
        self.workers = snapshot.workers
        self.total = len(snapshot.running)
        self.agents = Counter(agent for _, agent in snapshot.running)
        self.repositories = Counter(repository for repository, _ in snapshot.running)
        self.organisations = Counter(_owner(repository) for repository, _ in snapshot.running)
        self.started = Counter(snapshot.started)

    def made(self) -> list[Admitted]:
        chosen: list[Admitted] = []
        for lane in sorted(self.lanes, key=lambda lane: lane.head):
            hold = held_by(lane.repository, lane.agent, self.holds)
            if hold is not None:
                chosen.append(Admitted(lane, None, hold.said(), held=True))
                continue
            reason = self._reason(lane)
            worker = None if reason else self._worker(lane.agent)
            if worker is None:
                chosen.append(Admitted(lane, None, reason or self._nobody(lane.agent)))
                continue
            chosen.append(Admitted(lane, worker))
            self._count(lane, worker)
        return chosen

    def _count(self, lane: Lane, worker: str) -> None:
        self.free[worker] -= 1
        self.total += 1
        self.agents[lane.agent] += 1
        self.repositories[lane.repository] += 1
        self.organisations[_owner(lane.repository)] += 1
        self.started[lane.agent] += 1

    def _reason(self, lane: Lane) -> str:
        """The limit that it would exceed, or nothing."""
        limits, owner = self.limits, _owner(lane.repository)
        rate = limits.rates.get(lane.agent)
        if rate and self.started[lane.agent] >= rate[0]:
            return f"agent {lane.agent}: {rate[0]} started within {rate[1]:.0f} s"
        for running, most, what in (
            (self.agents[lane.agent], limits.agents.get(lane.agent), f"agent {lane.agent}"),
            (self.repositories[lane.repository], limits.repository, f"repository {lane.repository}"),
            (self.organisations[owner], limits.organisation, f"organisation {owner}"),
            (self.total, limits.everywhere, "the hub"),
        ):
            if most is not None and running >= most:
                return f"{what}: {running} of {most} running"
        return ""

    def _worker(self, agent: str) -> str | None:
        able = [slots.worker for slots in self.workers if slots.takes(agent) and self.free[slots.worker] > 0]
        return max(able, key=lambda worker: self.free[worker], default=None)

    def _nobody(self, agent: str) -> str:
        if not self.workers:
            return "no worker lives"
        return "every slot is taken" if any(slots.takes(agent) for slots in self.workers) else f"no worker runs agent {agent}"


def _owner(repository: str) -> str:
    return repository.partition("/")[0]
