"""What the analysis proves holds on every event tried; what it finds, the rule's own evaluator confirms."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.rules import EVENTS, EXPRESSIONS, GLOBS, PULL_REQUESTS

from potato.core.analysis import Budget, Undecided, covering, terms, witness
from potato.core.analysis.texts import Pattern, find_text
from potato.core.expression import Reading, compile_expression, parse
from potato.core.expression.pattern import compile_pattern

TEXTS = ["".join(chars) for size in range(5) for chars in itertools.product("ab/.", repeat=size)]


@given(EXPRESSIONS, st.lists(PULL_REQUESTS, min_size=3, max_size=8))
@settings(max_examples=200, deadline=None)
def test_a_witness_fulfils_the_rule_and_without_one_nothing_does(text: str, events: list[dict[str, Any]]) -> None:
    node = parse(text)
    evaluate = compile_expression(node)
    found, proven = False, True
    for term in terms(node) or []:
        try:
            fields = witness(term, Budget())
        except Undecided:
            proven = False
            continue
        if fields is not None:
            found = True
            assert evaluate(Reading(fields)) is True
    if proven and not found:
        assert not any(evaluate(Reading(fields)) for fields in events)


@given(EXPRESSIONS, EVENTS)
@settings(max_examples=150, deadline=None)
def test_terms_mean_what_the_expression_means_unknown_values_included(text: str, fields: dict[str, Any]) -> None:
    node = parse(text)
    reading = Reading(fields)
    for wanted in (True, False):
        results: set[bool | None] = set()
        for term in terms(node, wanted=wanted) or []:
            each = [compile_expression(test)(reading) for test, _ in term]
            each = [truth if clause.wanted or truth is None else not truth for truth, clause in zip(each, term, strict=True)]
            results.add(False if False in each else None if None in each else True)
        result = True if True in results else None if None in results else False
        truth = compile_expression(node)(reading)
        assert result is (truth if wanted or truth is None else not truth)


@given(EXPRESSIONS, st.lists(EXPRESSIONS, min_size=1, max_size=3), st.lists(PULL_REQUESTS, min_size=3, max_size=8))
@settings(max_examples=150, deadline=None)
def test_a_covered_rule_is_never_true_alone(text: str, others: list[str], events: list[dict[str, Any]]) -> None:
    nodes = [parse(other) for other in others]
    by = covering(parse(text), nodes, Budget())
    for fields in events if by else ():
        if compile_expression(parse(text))(Reading(fields)):
            assert any(compile_expression(nodes[number])(Reading(fields)) for number in by)


@given(st.lists(st.tuples(GLOBS, st.booleans()), min_size=1, max_size=3), st.booleans())
@settings(max_examples=200, deadline=None)
def test_globs_meet_exactly_where_some_text_shows_it(drawn: list[tuple[str, bool]], in_path: bool) -> None:
    checks = [(compile_pattern(glob, in_path=in_path), wanted) for glob, wanted in drawn]
    found = find_text([Pattern(*pair) for pair in drawn], in_path=in_path, budget=Budget())
    if found is None:
        assert not [text for text in TEXTS if all(check(text) is wanted for check, wanted in checks)]
    else:
        assert all(check(found) is wanted for check, wanted in checks)
