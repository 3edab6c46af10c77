"""Rules whose agents' effects trigger them again, alone or in a circle."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial

from potato.config.lint.subject import Subject, clause
from potato.core.analysis import Term
from potato.core.consequence import CONSEQUENCES, Consequence
from potato.core.expression.condition import Trigger, conditions
from potato.errors import Problem

ID = "self-trigger"
DOC = "What the rule's agents do causes an event that the rule matches again."
_FIX = 'Narrow it by action, such as action == "opened", or leave our own account out: actor !~ "*[bot]".'


def check(subject: Subject) -> Iterator[Problem]:
    """One finding for each rule that triggers itself, and for each circle of rules that do not."""
    triggered: dict[Consequence, list[int]] = {
        consequence: [
            n for n in range(len(subject.rules)) if consequence.event in subject.events(n) and subject.may(n, _after(consequence))
        ]
        for consequence in CONSEQUENCES
    }
    alone: set[int] = set()
    for number, rule in enumerate(subject.rules):
        own = [(agent, c) for agent, c in _causes(subject, number) if number in triggered[c]]
        if not own:
            continue
        agent, consequence = next((pair for pair in own if pair[1].repeats), own[0])
        if consequence.repeats:
            alone.add(number)
        ends = "" if consequence.repeats else " once more, until nothing changes"
        yield subject.problem(subject.at_rule(number), ID, "warning" if consequence.repeats else "note",
                              f"rule '{rule.name}' triggers itself{ends}: {agent} may {_doing(consequence)}.", _FIX)  # fmt: skip
    yield from _circles(subject, {c: frozenset(rules) for c, rules in triggered.items() if c.repeats}, alone)


def _after(consequence: Consequence) -> Term:
    """What is known of the event that an effect causes: an account of ours acts."""
    action = (clause("action", "==", consequence.action),) if consequence.action else ()
    return (clause("event", "==", consequence.event), *action, clause("actor", "~", "*[bot]"))


def _causes(subject: Subject, number: int) -> Iterator[tuple[str, Consequence]]:
    """Agent and consequence, for every effect that the rule's agents may have."""
    events = subject.events(number)
    for agent in subject.agents_of(number):
        for consequence in CONSEQUENCES:
            if consequence.kind in agent.permissions and agent.caps.get(consequence.kind) != 0 and events & consequence.given:
                yield agent.name, consequence


def _doing(consequence: Consequence) -> str:
    return f"{consequence.kind}, which causes {consequence.event}{f' {consequence.action}' if consequence.action else ''}"


def _circles(subject: Subject, triggered: dict[Consequence, frozenset[int]], alone: set[int]) -> Iterator[Problem]:
    """The shortest circle through each rule; each set of rules is told once."""
    told: set[frozenset[int]] = set()
    repositories = {n: conditions(rule.node).get("repository") for n, rule in enumerate(subject.rules)}
    next_rules = partial(_next_rules, subject, triggered, repositories, alone)
    known: dict[int, set[int]] = {}
    for start, rule in enumerate(subject.rules):
        if start in alone or any(start in circle for circle in told):
            continue
        came: dict[int, int] = {}
        waiting = deque([start])
        while waiting and start not in came:
            here = waiting.popleft()
            subject.budget.step()
            if here not in known:
                known[here] = next_rules(here)
            for there in sorted(known[here]):
                if there not in came:
                    came[there] = here
                    waiting.append(there)
        if start in came:
            circle = [start]
            while came[circle[-1]] != start:
                circle.append(came[circle[-1]])
            told.add(frozenset(circle))
            names = " -> ".join(f"'{subject.rules[n].name}'" for n in (start, *reversed(circle[1:]), start))
            yield subject.problem(subject.at_rule(start), ID, "warning", f"rule '{rule.name}' triggers itself by others: {names}.", _FIX)


def _next_rules(subject: Subject, triggered: dict[Consequence, frozenset[int]], repositories: dict[int, frozenset[Trigger] | None],
                alone: set[int], number: int) -> set[int]:  # fmt: skip
    """The other rules that an effect of this one's agents can trigger, in the same repository."""
    own = repositories[number]
    found = {n for _, consequence in _causes(subject, number) for n in triggered.get(consequence, ())} - {number} - alone
    return {n for n in found if own is None or repositories[n] is None or own & (repositories[n] or own)}
