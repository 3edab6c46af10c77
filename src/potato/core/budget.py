"""What runs may use: runs, tokens, and money in millionths. Pure.

What a run may need at most is reserved before it starts and settled when it ends, so a budget is kept before it is exceeded, not after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MICROS: Final = 1_000_000
FOREVER: Final = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so much; unlimited where absent."""

    runs: int | None = None
    tokens: int | None = None
    micros: int | None = None


@dataclass(frozen=True, slots=True)
class Amount:
    """So much."""

    runs: int = 0
    tokens: int = 0
    micros: int = 0


@dataclass(frozen=True, slots=True)
class Scope:
    """What a limit holds for. `period` is a UTC day, or `FOREVER`; `what` is for people."""

    key: str
    period: str
    what: str
    limit: Limit


@dataclass(frozen=True, slots=True)
class Budgets:
    """The limits of a hub. `runs` is what one run may need at most, by agent; `every` where an agent says nothing."""

    currency: str = "USD"
    every: Limit = Limit()
    agents: Mapping[str, Limit] = field(default_factory=dict[str, Limit])
    pull_request: Limit | None = None
    repository: Limit | None = None
    organisation: Limit | None = None
    day: Limit | None = None

    @property
    def any(self) -> bool:
        """Whether there is anything to keep."""
        return any((self.pull_request, self.repository, self.organisation, self.day))

    def allowance(self, agent: str) -> Limit:
        """What one run of the agent may use at most."""
        own = self.agents.get(agent, Limit())
        tokens = own.tokens if own.tokens is not None else self.every.tokens
        return Limit(None, tokens, own.micros if own.micros is not None else self.every.micros)

    def need(self, agent: str) -> Amount:
        """What is reserved for one attempt."""
        most = self.allowance(agent)
        return Amount(1, most.tokens or 0, most.micros or 0)

    def scopes(self, repository: str, number: int | None, today: str) -> list[Scope]:
        """Every limit that a run there counts against."""
        found: list[Scope] = []
        if self.pull_request and number is not None:
            found.append(Scope(f"subject:{repository}#{number}", FOREVER, f"{repository}#{number}", self.pull_request))
        if self.repository:
            found.append(Scope(f"repository:{repository}", today, f"repository {repository} today", self.repository))
        if self.organisation:
            owner = repository.partition("/")[0]
            found.append(Scope(f"organisation:{owner}", today, f"organisation {owner} today", self.organisation))
        if self.day:
            found.append(Scope("day", today, "the hub today", self.day))
        return found


def shortage(scope: Scope, used: Amount, need: Amount, currency: str) -> str | None:
    """Why the run may not start: what is used or reserved, and what it may need, exceed the limit."""
    limit = scope.limit
    for name, most, spent, ask in (
        ("runs", limit.runs, used.runs, need.runs), ("tokens", limit.tokens, used.tokens, need.tokens),
    ):  # fmt: skip
        if most is not None and spent + ask > most:
            return f"budget of {scope.what}: {spent:,} of {most:,} {name} are used or reserved, this run may need {ask:,}"
    if limit.micros is not None and used.micros + need.micros > limit.micros:
        spent, most, ask = (money(value, currency) for value in (used.micros, limit.micros, need.micros))
        return f"budget of {scope.what}: {spent} of {most} is used or reserved, this run may need {ask}"
    return None


def money(micros: int, currency: str) -> str:
    """An amount for people, such as `1.50 USD`."""
    whole, rest = divmod(abs(micros), MICROS)
    cents = f"{rest:06d}"
    shown = cents[:2] + cents[2:].rstrip("0")
    return f"{'-' if micros < 0 else ''}{whole:,}.{shown} {currency}"
