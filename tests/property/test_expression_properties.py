"""Closures, traces and Kleene's logic agree on random expressions and events."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.rules import EVENTS, EXPRESSIONS, GLOBS, LISTS, WORDS

from potato.core.expression import Reading, compile_expression, parse, trace
from potato.core.expression.pattern import compile_pattern
from potato.core.value import UNKNOWN, Partial


@given(EXPRESSIONS, EVENTS)
@settings(max_examples=200, deadline=None)
def test_compiled_and_traced_results_agree(text: str, fields: dict[str, Any]) -> None:
    node = parse(text)
    assert compile_expression(node)(Reading(fields)) is trace(node, Reading(fields), text).result


@given(EXPRESSIONS, EVENTS, st.data())
@settings(max_examples=200, deadline=None)
def test_a_known_result_survives_every_way_the_unknown_may_turn_out(text: str, fields: dict[str, Any], data: st.DataObject) -> None:
    """Kleene: unknown is never guessed; true and false hold whatever the missing facts are."""
    evaluate = compile_expression(parse(text))
    result = evaluate(Reading(fields))
    resolved = dict(fields)
    for name, value in fields.items():
        if isinstance(value, Partial):
            resolved[name] = value.values + data.draw(LISTS)
        elif value is UNKNOWN:
            kinds = {"title": WORDS, "author": WORDS, "label": LISTS, "path": LISTS, "draft": st.booleans(), "number": st.integers(-2, 9)}
            resolved[name] = data.draw(kinds[name])
    final = evaluate(Reading(resolved))
    assert final is not None
    if result is not None:
        assert final is result


@given(EXPRESSIONS, EVENTS)
@settings(max_examples=200, deadline=None)
def test_de_morgan(text: str, fields: dict[str, Any]) -> None:
    left = compile_expression(parse(f"!({text} && draft)"))(Reading(fields))
    right = compile_expression(parse(f"!({text}) || !draft"))(Reading(fields))
    assert left is right


def reference(glob: str, *, in_path: bool) -> re.Pattern[str]:
    """The glob's meaning, spelled as a backtracking regular expression."""
    out = ""
    at = 0
    while at < len(glob):
        if in_path and glob.startswith("**/", at) and (at == 0 or glob[at - 1] == "/"):
            out, at = out + "(?:.*/)?", at + 3
        elif in_path and glob.startswith("**", at):
            out, at = out + ".*", at + 2
        else:
            out += {"*": "[^/]*" if in_path else ".*", "?": "[^/]" if in_path else "."}.get(glob[at], re.escape(glob[at]))
            at += 1
    return re.compile(out, re.DOTALL)


@given(GLOBS, st.text("ab/.", max_size=6), st.booleans())
@settings(max_examples=200, deadline=None)
def test_globs_mean_what_the_reference_says(glob: str, text: str, in_path: bool) -> None:
    assert compile_pattern(glob, in_path=in_path)(text) is (reference(glob, in_path=in_path).fullmatch(text) is not None)
