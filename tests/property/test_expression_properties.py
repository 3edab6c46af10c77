"""Closures, traces and Kleene's logic agree on random expressions and events."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from potato.core.expression import compile_expression, parse, trace
from potato.core.expression.pattern import compile_pattern
from potato.core.value import UNKNOWN, Partial

WORDS = st.sampled_from(["a", "b", "ab", "a/b", "src/x.py", ""])
LISTS = st.lists(WORDS, max_size=4).map(tuple)
SCALAR = st.one_of(WORDS, st.just(UNKNOWN), st.none())
MANY = st.one_of(LISTS, LISTS.map(Partial), st.just(UNKNOWN), st.none())
EVENTS = st.fixed_dictionaries(
    {"title": SCALAR, "author": SCALAR, "label": MANY, "path": MANY, "draft": st.sampled_from([True, False, UNKNOWN, None]),
     "number": st.one_of(st.integers(-2, 9), st.just(UNKNOWN), st.none())}
).map(lambda fields: {name: value for name, value in fields.items() if value is not None})  # fmt: skip

GLOBS = st.lists(st.sampled_from(["a", "b", "/", "*", "**", "?", "."]), max_size=5).map("".join)
CLAUSES = st.one_of(
    st.builds('{} {} "{}"'.format, st.sampled_from(["title", "author"]), st.sampled_from(["==", "!="]), WORDS),
    st.builds('{} {} "{}"'.format, st.sampled_from(["title", "author"]), st.sampled_from(["~", "!~"]), GLOBS),
    st.builds('{} ~ "{}"'.format, st.sampled_from(["label", "path"]), GLOBS),
    st.builds(
        '{}({} {} "{}")'.format,
        st.sampled_from(["any", "all", "none"]),
        st.sampled_from(["label", "path"]),
        st.sampled_from(["~", "!~"]),
        GLOBS,
    ),
    st.builds("number {} {}".format, st.sampled_from(["==", "!=", "<", ">="]), st.integers(-2, 9)),
    st.just("draft"),
)
EXPRESSIONS = st.recursive(
    CLAUSES,
    lambda inner: st.one_of(
        inner.map("!({})".format), st.builds("({} && {})".format, inner, inner), st.builds("({} || {})".format, inner, inner)
    ),
    max_leaves=8,
)


@given(EXPRESSIONS, EVENTS)
@settings(max_examples=400, deadline=None)
def test_compiled_and_traced_results_agree(text: str, fields: dict[str, Any]) -> None:
    node = parse(text)
    assert compile_expression(node)(fields) is trace(node, fields, text).result


@given(EXPRESSIONS, EVENTS, st.data())
@settings(max_examples=400, deadline=None)
def test_a_known_result_survives_every_way_the_unknown_may_turn_out(text: str, fields: dict[str, Any], data: st.DataObject) -> None:
    """Kleene: unknown is never guessed; true and false hold whatever the missing facts are."""
    evaluate = compile_expression(parse(text))
    result = evaluate(fields)
    resolved = dict(fields)
    for name, value in fields.items():
        if isinstance(value, Partial):
            resolved[name] = value.values + data.draw(LISTS)
        elif value is UNKNOWN:
            kinds = {"title": WORDS, "author": WORDS, "label": LISTS, "path": LISTS, "draft": st.booleans(), "number": st.integers(-2, 9)}
            resolved[name] = data.draw(kinds[name])
    final = evaluate(resolved)
    assert final is not None
    if result is not None:
        assert final is result


@given(EXPRESSIONS, EVENTS)
@settings(max_examples=200, deadline=None)
def test_de_morgan(text: str, fields: dict[str, Any]) -> None:
    left = compile_expression(parse(f"!({text} && draft)"))(fields)
    right = compile_expression(parse(f"!({text}) || !draft"))(fields)
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
@settings(max_examples=800, deadline=None)
def test_globs_mean_what_the_reference_says(glob: str, text: str, in_path: bool) -> None:
    assert compile_pattern(glob, in_path=in_path)(text) is (reference(glob, in_path=in_path).fullmatch(text) is not None)
