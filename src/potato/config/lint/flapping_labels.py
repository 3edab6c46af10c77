"""Rules that undo each other: one may add the label that another removes."""

from __future__ import annotations

from collections.abc import Iterator

from potato.config.lint.subject import Subject, clause
from potato.core.analysis import Clause, Undecided
from potato.core.expression import clauses_of
from potato.core.expression.nodes import Regex, Test
from potato.errors import Problem

ID = "flapping-labels"
DOC = "One rule's agent may add a label that another rule's agent removes, and each change triggers the other rule."
_EVENTS = ("pull_request", "issues", "discussion")


def check(subject: Subject) -> Iterator[Problem]:
    """One finding for each pair: the remover wants the label there, the adder can fire without it, each on the other's change."""
    adders = [n for n in range(len(subject.rules)) if any("apply_labels" in agent.permissions for agent in subject.agents_of(n))]
    removers = [n for n in range(len(subject.rules)) if any("remove_labels" in agent.permissions for agent in subject.agents_of(n))]
    for remover in removers:
        for test in _wanted_labels(subject, remover):
            for event in sorted(subject.events(remover).intersection(_EVENTS)):
                if not subject.may(remover, (clause("event", "==", event), clause("action", "==", "labeled"), Clause(test, wanted=True))):
                    continue
                adder = next((n for n in adders if _opposes(subject, n, remover, test, event)), None)
                if adder is not None:
                    one, other = subject.rules[adder], subject.rules[remover]
                    yield subject.problem(subject.at_rule(remover, test.span), ID, "warning",
                                          f"rule '{one.name}' (line {one.line}) runs {one.agents}, which may add the label that "
                                          f"{other.agents} of this rule may remove; each change triggers the other.",
                                          'Keep one of them from firing on changes of labels: action == "opened", say.')  # fmt: skip
                    break


def _wanted_labels(subject: Subject, number: int) -> list[Test]:
    """The clauses by which the rule asks for a label."""
    every = subject.terms(number) or []
    wanted = {literal.test for term in every for literal in term if literal.wanted}
    return [test for test in clauses_of(subject.rules[number].node) if test.field == "label" and test in wanted and _asks(test)]


def _asks(test: Test) -> bool:
    return test.quantifier != "none" and test.op in ("==", "~", "in") and not isinstance(test.operand, Regex)


def _opposes(subject: Subject, adder: int, remover: int, test: Test, event: str) -> bool:
    """The adder fires when the label was removed; nothing but labels and actions keeps both rules apart."""
    if adder == remover or not _by_others(subject, adder, remover):
        return False
    change = (clause("event", "==", event), clause("action", "==", "unlabeled"), Clause(test, wanted=False))
    if not subject.may(adder, change):
        return False
    return any(subject.may(adder, (*change, *apart)) for apart in _rest(subject, remover))


def _by_others(subject: Subject, adder: int, remover: int) -> bool:
    """An agent that manages both directions itself does not oppose itself."""
    adding = {agent.name for agent in subject.agents_of(adder) if "apply_labels" in agent.permissions}
    removing = {agent.name for agent in subject.agents_of(remover) if "remove_labels" in agent.permissions}
    return bool(adding - removing) and bool(removing - adding)


def _rest(subject: Subject, number: int) -> list[tuple[Clause, ...]]:
    """The rule's terms without what a change of labels changes."""
    try:
        subject.witness(number)
    except Undecided:
        return [()]
    return [tuple(c for c in term if c.test.field not in ("label", "action", "event")) for term in subject.terms(number) or []]
