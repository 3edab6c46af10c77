"""Rules that no event can match."""

from __future__ import annotations

from collections.abc import Iterator

from potato.config.lint.subject import Subject
from potato.core.analysis import Undecided
from potato.errors import Problem

ID = "unsatisfiable-rule"
DOC = "No event can match the rule."


def check(subject: Subject) -> Iterator[Problem]:
    """One finding for each such rule."""
    for number, rule in enumerate(subject.rules):
        try:
            if subject.witness(number) is not None:
                continue
        except Undecided:
            continue
        message = f"no event can match rule '{rule.name}': its clauses exclude each other."
        yield subject.problem(subject.at_rule(number), ID, "error", message, "Join alternatives with '||', or remove the rule.")
