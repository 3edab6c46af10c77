"""What keeps runs from starting for a time: pauses by people, freezes by the calendar, trouble in CI. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Mode = Literal["hold", "drain", "cancel"]
"""Of a pause: what becomes of runs that go on. `hold` keeps their effects back, `drain` lets them end, `cancel` stops them."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Whom a hold concerns: patterns of `owner/name`, and agents; everybody where empty."""

    repositories: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()

    def covers(self, repository: str, agent: str) -> bool:
        """Whether runs of this agent there are concerned. Repositories are compared without case, as GitHub does."""
        if self.agents and agent not in self.agents:
            return False
        folded = repository.casefold()
        return not self.repositories or any(fnmatchcase(folded, pattern.casefold()) for pattern in self.repositories)


@dataclass(frozen=True, slots=True)
class Hold:
    """Something that holds right now. `until` is seconds since 1970, absent while nobody can say; `when` says it for people."""

    name: str
    reason: str
    reach: Reach = Reach()
    until: float | None = None
    when: str = ""
    mode: Mode = "drain"

    def said(self) -> str:
        """For people."""
        return f"{self.name}: {self.reason}{f', {self.when}' if self.when else ''}"


def held_by(repository: str, agent: str, holds: Iterable[Hold]) -> Hold | None:
    """The hold that lasts longest, of those that concern the agent there."""
    found = [hold for hold in holds if hold.reach.covers(repository, agent)]
    return max(found, key=lambda hold: float("inf") if hold.until is None else hold.until, default=None)
