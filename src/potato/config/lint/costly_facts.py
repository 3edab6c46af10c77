"""Rules that make the hub ask GitHub for facts on every event of a kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from potato.config.lint.subject import Subject
from potato.core.expression import clauses_of
from potato.core.expression.nodes import And, Node, Or, Test
from potato.core.fields import FIELDS, LACKING, Fact
from potato.errors import Problem

ID = "costly-facts"
DOC = "The rule needs facts that cost API calls, on every event of a kind."

_COSTS: Final[dict[Fact, str]] = {
    "paths": "changed files: one API call for each 100",
    "jobs": "jobs: one API call for each 100",
    "pull_request": "pull request behind the comment: one API call",
}
"""Whether the event is trusted is asked for every event that runs an agent, so it costs nothing more here."""


def check(subject: Subject) -> Iterator[Problem]:
    """One finding for each rule with such a clause and none beside it that the payload alone could make false."""
    for number, rule in enumerate(subject.rules):
        events = subject.events(number)
        told: dict[Fact, Test] = {}
        for test in clauses_of(rule.node):
            fact = FIELDS[test.field].fact
            if fact in _COSTS and LACKING[fact] & events & FIELDS[test.field].events:
                told.setdefault(fact, test)
        for fact, test in told.items():
            if not _narrowed(rule.node):
                where = sorted(LACKING[fact] & events)
                yield subject.problem(subject.at_rule(number, test.span), ID, "note",
                                      f"on every {' and '.join(where[:2])} event this needs the {_COSTS[fact]}.",
                                      'Put cheap clauses beside it, such as action in ["opened", "synchronize"]: facts are fetched '
                                      "only where they can still change the result.")  # fmt: skip


def _narrowed(node: Node) -> bool:
    """Whether a clause on something else than the event's kind, which the payload answers, is joined to the whole."""
    if isinstance(node, And):
        return any(_narrowed(item) for item in node.items)
    if isinstance(node, Or):
        return all(_narrowed(item) for item in node.items)
    return all(test.field != "event" and FIELDS[test.field].fact is None for test in clauses_of(node))
