"""What a draft of the rules would have done otherwise, collected event by event in memory that does not grow with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from potato.core.routing import Assignment

Change = Literal["gained", "lost", "held"]
CHANGES: Final[tuple[Change, ...]] = ("gained", "lost", "held")
_MAX_REPOSITORIES: Final = 10_000
_OTHERS: Final = "(others)"
_DAY_S: Final = 86_400
_LEAST_SPAN_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class Choice:
    """What was, or would be, decided for one event: agents with the rules that ask for them."""

    run: Mapping[str, tuple[str, ...]]
    held: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, run: Iterable[Assignment], held: Iterable[Assignment]) -> Choice:
        """From assignments."""
        return cls({a.agent: a.rules for a in run}, {a.agent: a.rules for a in held})


@dataclass(slots=True)
class Tally:
    """How often a rule gained, lost or held an agent, and one event that shows it. `rule` is the draft's where it has one."""

    count: int = 0
    example: str = ""


@dataclass(slots=True)
class Difference:
    """The sum over all events. `before` and `after` count runs by agent; `repositories` changes, by repository."""

    events: int = 0
    changed: int = 0
    tallies: dict[tuple[Change, str, str], Tally] = field(default_factory=dict[tuple[Change, str, str], Tally])
    before: Counter[str] = field(default_factory=Counter[str])
    after: Counter[str] = field(default_factory=Counter[str])
    repositories: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    first: float | None = None
    last: float | None = None

    def add(self, source: str, repository: str | None, at: float | None, before: Choice, after: Choice) -> None:
        """Count one event. `source` names it, so that it can be found again; `at` is in seconds since some fixed time."""
        self.events += 1
        if at is not None:
            self.first = at if self.first is None else min(self.first, at)
            self.last = at if self.last is None else max(self.last, at)
        self.before.update(before.run.keys())
        self.after.update(after.run.keys())
        changes: list[tuple[Change, str, tuple[str, ...]]] = [
            *(("gained", agent, rules) for agent, rules in after.run.items() if agent not in before.run),
            *(("lost", agent, rules) for agent, rules in before.run.items() if agent not in after.run),
            *(("held", agent, rules) for agent, rules in after.held.items() if agent not in before.held),
        ]
        self.changed += bool(changes)
        for change, agent, rules in changes:
            for rule in rules:
                tally = self.tallies.setdefault((change, rule, agent), Tally(example=source))
                tally.count += 1
            self._counter(repository or "(none)")[change] += 1

    def _counter(self, repository: str) -> Counter[str]:
        if repository not in self.repositories and len(self.repositories) >= _MAX_REPOSITORIES:
            repository = _OTHERS
        return self.repositories.setdefault(repository, Counter())

    def days(self) -> float | None:
        """The time that the events span; nothing where they have no times, or span less than an hour."""
        if self.first is None or self.last is None:
            return None
        seconds = self.last - self.first
        return seconds / _DAY_S if seconds >= _LEAST_SPAN_S else None

    def per_day(self, count: float) -> float | None:
        """A count over all events as one a day."""
        days = self.days()
        return None if days is None else count / days

    def by_agent(self, seconds: Mapping[str, float], price: Mapping[str, float]) -> list[dict[str, Any]]:
        """For each agent: runs before and after, and where that is known a day's runs, seconds and cost of the change."""
        rows: list[dict[str, Any]] = []
        for agent in sorted({*self.before, *self.after}):
            before, after = self.before[agent], self.after[agent]
            more = self.per_day(after - before)
            rows.append({
                "agent": agent, "before": before, "after": after,
                "runs_per_day": _rounded(self.per_day(after)),
                "more_runs_per_day": _rounded(more),
                "more_seconds_per_day": _rounded(more * seconds[agent] if more is not None and agent in seconds else None),
                "more_cost_per_day": _rounded(more * price[agent] if more is not None and agent in price else None),
            })  # fmt: skip
        return rows


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
