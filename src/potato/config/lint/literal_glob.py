"""`~` with a text that has no wildcard, on fields where that is hardly meant."""

from __future__ import annotations

from collections.abc import Iterator

from potato.config.lint.subject import Subject
from potato.core.expression import clauses_of
from potato.core.expression.pattern import is_literal
from potato.errors import Problem

ID = "literal-glob"
DOC = "`~` compares a whole title or body with a text that has no wildcard."
_FREE_TEXT = frozenset({"title", "body"})


def check(subject: Subject) -> Iterator[Problem]:
    """One finding for each such clause."""
    for number, rule in enumerate(subject.rules):
        for test in clauses_of(rule.node):
            text = test.operand
            if test.field in _FREE_TEXT and test.op in ("~", "!~") and isinstance(text, str) and is_literal(text):
                equal = "==" if test.op == "~" else "!="
                yield subject.problem(subject.at_rule(number, test.span), ID, "warning",
                                      f"a glob matches the whole {test.field}; this one matches only '{text[:60]}' itself.",
                                      f'Write {test.op} "*{text[:60]}*" to find it anywhere, or {equal} if it is meant so.')  # fmt: skip
