"""What people and guards hold back, and what runs have used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from potato.core.approval import Answer
from potato.core.hold import Mode
from potato.core.infrastructure import Outcome
from potato.core.lineage import Caps
from potato.ports import Delivery, ProposalRecord, RunRecord, Work


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing starts in its reach: a repository, an agent, both, or everything. `until` is seconds since 1970.

    `running` counts runs in its reach that still go on: until there are none, it is *pausing*.
    """

    id: str
    repository: str | None
    agent: str | None
    mode: Mode
    note: str
    by: str
    at: str
    until: float | None = None
    running: int = 0

    @property
    def state(self) -> str:
        """`pausing` or `paused`."""
        return "pausing" if self.running else "paused"

    def reach(self) -> str:
        """For people."""
        parts = [f"repository {self.repository}" if self.repository else "", f"agent {self.agent}" if self.agent else ""]
        return ", ".join(filter(None, parts)) or "everything"

    def as_json(self) -> dict[str, Any]:
        """The shape of `pause --json` and `status --json`."""
        names = ("id", "repository", "agent", "mode", "note", "by", "at", "until", "running", "state")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Override:
    """A guard that somebody set aside until a time."""

    guard: str
    by: str
    note: str
    at: str
    until: float


@dataclass(frozen=True, slots=True)
class GuardState:
    """What a guard does now, since when, and why. `overridden` names who set it aside."""

    guard: str
    holds: bool
    reason: str
    since: str
    until: float | None
    overridden: str = ""

    def as_json(self) -> dict[str, Any]:
        """The shape of `status --json`."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Spent:
    """What a scope has used, and what is reserved of it for runs that go on. Money in millionths."""

    scope: str
    period: str
    runs: int
    tokens: int
    micros: int

    def as_json(self) -> dict[str, Any]:
        """The shape of `status --json`."""
        return {name: getattr(self, name) for name in self.__slots__}


class Switch(Protocol):
    """Pauses and overrides. Each method is one transaction with its audit entry."""

    def pause(self, pause: Pause) -> list[RunRecord]:
        """Hold from now on; with mode `cancel`, gives the runs that are being stopped."""
        ...

    def resume(self, repository: str | None, agent: str | None, by: str, pause_id: str | None = None) -> list[Pause]:
        """End the pauses of exactly this reach, or the one of this id; gives them."""
        ...

    def pauses(self) -> list[Pause]:
        """Those that hold now."""
        ...

    def override(self, override: Override) -> None:
        """Set a guard aside."""
        ...

    def overrides(self) -> list[Override]:
        """Guards that are set aside now."""
        ...


class Watchtower(Protocol):
    """How CI does, and what the guards make of it."""

    def observe(self, outcome_id: str, repository: str, outcome: str) -> None:
        """Keep how one CI run ended, once."""
        ...

    def outcomes(self, since: float, repositories: Sequence[str]) -> list[Outcome]:
        """Those since a time, in repositories that match one of the patterns; all where there is none."""
        ...

    def note(self, states: Sequence[GuardState]) -> None:
        """Keep what the guards do now; every change is logged."""
        ...

    def states(self) -> list[GuardState]:
        """What they did last."""
        ...


@dataclass(frozen=True, slots=True)
class Waiting:
    """A proposal that waits for people, with its run and the delivery that it is about."""

    run: RunRecord
    proposal: ProposalRecord
    delivery: Delivery
    approvers: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """What people type."""
        return self.proposal.digest[7:19]

    def as_json(self) -> dict[str, Any]:
        """The shape of `approvals --json`."""
        run = self.run
        return {
            "digest": self.proposal.digest, "short": self.short, "kind": self.proposal.kind, "args": dict(self.proposal.args),
            "reason": self.proposal.reason, "run": run.id, "agent": run.agent, "repository": run.repository, "number": run.number,
            "head_sha": run.head_sha, "approvers": list(self.approvers), "expires_at": run.expires_at,
        }  # fmt: skip


class Approvals(Protocol):
    """What waits for people, and what they said. Each method is one transaction with its audit entries."""

    def waiting(self, prefix: str = "") -> list[Waiting]:
        """Proposals that wait, of those whose digest begins so."""
        ...

    def answer(self, waiting: Waiting, login: str, answer: Answer, source: str, *, enough: bool) -> RunRecord:
        """Keep an answer. A denial ends the proposal; with `enough` it is allowed: then its run goes on.

        Raises `PotatoError` (`approval-refused`) if it does not wait any more, or this person answered before.
        """
        ...

    def revoke(self, run_id: str, reason: str) -> RunRecord | None:
        """End a run that waits for people: what it rests on has changed."""
        ...

    def expire(self) -> list[RunRecord]:
        """End those that nobody answered in time."""
        ...

    def accounts(self) -> set[str]:
        """The accounts that effects were made by: none of them can answer."""
        ...

    def work(self, run_id: str) -> Work | None:
        """A run with what it is about."""
        ...

    def lift(self, run: RunRecord, again: RunRecord, login: str, source: str, caps: Caps) -> RunRecord:
        """Run it again as `again`, by the word of a person. Raises `PotatoError` (`lift-refused`) if that was done before."""
        ...

    def left(self, run_id: str, actor: str, tracks: Sequence[str]) -> None:
        """What our reply left on the forge."""
        ...
