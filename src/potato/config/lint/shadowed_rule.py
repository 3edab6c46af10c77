"""Rules that never add anything, for others always come before or do the same."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from potato.config.lint.subject import Subject
from potato.core.analysis import Undecided, covering
from potato.core.expression import Reading
from potato.errors import Problem

ID = "shadowed-rule"
_TRIED = 32
DOC = "Whenever the rule matches, an earlier `stop` ends the table before it, or other rules run its agents already."


def check(subject: Subject) -> Iterator[Problem]:
    """One finding for each such rule. Some rule that covers it must match its witness too, and those the table finds quickly."""
    ending = [n for n, rule in enumerate(subject.rules) if rule.stop]
    redundant: set[int] = set()
    for number, rule in enumerate(subject.rules):
        try:
            fields = subject.witness(number)
        except Undecided:
            continue
        if fields is None:
            continue
        matching, _ = subject.config.table.match(Reading(fields))
        stops = [n for n in matching if n < number and subject.rules[n].stop]
        by = _names(subject, number, _with_others(stops, ending[: bisect_left(ending, number)])) if stops else ""
        if by:
            yield subject.problem(subject.at_rule(number), ID, "error", f"rule '{rule.name}' is never considered: {by} with stop: true "
                                  "always matches first.", "Move it up, or remove it.")  # fmt: skip
            continue
        ends = next((n for n in ending if n > number), len(subject.rules))
        others = [n for n in matching if n <= ends and n != number and n not in redundant and _does_all_of(subject, n, number)]
        others = [] if rule.stop else others  # a rule after a stop may not be considered when this one is
        by = _names(subject, number, others)
        if by:
            redundant.add(number)
            yield subject.problem(subject.at_rule(number), ID, "warning", f"rule '{rule.name}' adds nothing: whenever it matches, {by} "
                                  "runs the same agents at no lower priority.", "Remove it, or narrow the other.")  # fmt: skip


def _with_others(first: list[int], every: list[int]) -> list[int]:
    """The likely ones first, then the rest, for several may cover a rule together; not too many of them."""
    return [*first, *(n for n in every if n not in first)][:_TRIED]


def _does_all_of(subject: Subject, other: int, number: int) -> bool:
    """The other rule asks for every agent of this one, at its priority or a higher one, behind at least the same guards."""
    one, rule = subject.rules[other], subject.rules[number]
    return set(rule.run) <= set(one.run) and one.priority <= rule.priority


def _names(subject: Subject, number: int, others: list[int]) -> str:
    """Those of the others that together cover the rule, as text; empty if they do not."""
    by = covering(subject.rules[number].node, [subject.rules[n].node for n in others], subject.budget)
    told = [f"'{subject.rules[others[n]].name}' (line {subject.rules[others[n]].line})" for n in by]
    return ("one of " if len(told) > 1 else "") + ", ".join(told) if told else ""
