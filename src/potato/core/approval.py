"""Who must say yes to what. Pure: the answers of people and what the forge says of them come in, the state of a proposal comes out.

Every rule that fits a proposal must be met, so their order is irrelevant and one more rule never makes anything easier.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

EXPIRES_S: Final = 7 * 86_400.0
MAY_APPROVE: Final = frozenset({"admin", "maintain", "write"})
Answer = Literal["approve", "deny"]


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """What proposals of these kinds and agents need (any where empty): `required` people who may write, of these teams or names if any."""

    name: str
    kinds: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()
    required: int = 1
    teams: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    expires_s: float = EXPIRES_S

    def fits(self, kind: str, agent: str) -> bool:
        """Whether it is about this proposal."""
        return (not self.kinds or kind in self.kinds) and (not self.agents or agent in self.agents)


DEFAULT: Final = ApprovalRule("default")
"""For what needs a human by itself, where no rule fits."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the forge says of a person now. `permission` is in the proposal's repository; `teams` are `org/slug`, of those asked about."""

    login: str
    permission: str
    teams: frozenset[str] = frozenset()
    is_person: bool = True


def rules_for(kind: str, agent: str, rules: Sequence[ApprovalRule]) -> list[ApprovalRule]:
    """Every rule that must be met; the default one if no other fits."""
    return [rule for rule in rules if rule.fits(kind, agent)] or [DEFAULT]


def asked_for(kind: str, agent: str, rules: Iterable[ApprovalRule]) -> str | None:
    """The rule that wants a human for something that would else be allowed."""
    return next((rule.name for rule in rules if rule.fits(kind, agent)), None)


def expiry_s(rules: Iterable[ApprovalRule]) -> float:
    """How long there is to answer: the least of all."""
    return min((rule.expires_s for rule in rules), default=EXPIRES_S)


def refusal(person: Standing, rules: Iterable[ApprovalRule], involved: Iterable[str]) -> str | None:
    """Why this person may not answer. `involved` wrote the change or caused the event: four eyes see more than two."""
    if not person.is_person:
        return f"{person.login} is no person"
    if person.login.casefold() in {name.casefold() for name in involved}:
        return f"{person.login} wrote this or asked for it; somebody else must answer"
    if person.permission not in MAY_APPROVE:
        return f"{person.login} may not write to this repository"
    for rule in rules:
        if not _named(person, rule) and (rule.teams or rule.users):
            who = ", ".join(sorted([*rule.teams, *rule.users]))
            return f"rule {rule.name} asks for one of {who}"
    return None


def _named(person: Standing, rule: ApprovalRule) -> bool:
    folded = {name.casefold() for name in rule.users}
    return person.login.casefold() in folded or bool({t.casefold() for t in person.teams} & {t.casefold() for t in rule.teams})


def missing(approvers: Iterable[str], rules: Iterable[ApprovalRule]) -> int:
    """How many more people must say yes."""
    given = len({name.casefold() for name in approvers})
    return max(0, max(rule.required for rule in rules) - given)
