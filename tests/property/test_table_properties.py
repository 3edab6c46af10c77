"""One face over three ways: the closures, the fused function and the index decide alike, unknown values included."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.rules import EVENTS, GLOBS, LISTS, TABLES, rule

from potato.core import index, routing
from potato.core.expression import Reading
from potato.core.expression.fuse import fuse, source_of
from potato.core.expression.pattern import compile_pattern
from potato.core.expression.shape import shape_of
from potato.core.index import Index
from potato.core.routing import Decision, RoutingTable, Rule, decide
from potato.core.value import UNKNOWN, Partial


def one_by_one(rules: list[Rule], fields: dict[str, Any]) -> list[bool | None]:
    """The plain meaning: each rule's closure, alone."""
    return [rule.evaluate(Reading(fields)) for rule in rules]


def seen(decision: Decision) -> tuple[Any, ...]:
    results = [(outcome.rule.name, outcome.result) for outcome in decision.outcomes()]
    return decision.matched, decision.unknown, decision.assignments, decision.held, results


@given(TABLES, EVENTS)
@settings(max_examples=250, deadline=None)
def test_the_index_misses_no_rule_and_finds_the_same(rules: list[Rule], fields: dict[str, Any]) -> None:
    results = one_by_one(rules, fields)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "_FEW", 0)
        candidates = Index([rule.node for rule in rules]).candidates(Reading(fields))
    assert candidates == sorted(set(candidates))
    assert {number for number, result in enumerate(results) if result is not False} <= set(candidates)


@given(TABLES, EVENTS)
@settings(max_examples=250, deadline=None)
def test_the_fused_function_is_right_or_says_that_it_cannot_know(rules: list[Rule], fields: dict[str, Any]) -> None:
    answer = fuse([rule.node for rule in rules])(Reading(fields))
    results = one_by_one(rules, fields)
    if answer is None:
        assert any(value is UNKNOWN or isinstance(value, Partial) for value in fields.values()) or "\0" in str(fields.get("path"))
    else:
        assert answer == [number for number, result in enumerate(results) if result]
        assert None not in results


@given(TABLES, st.lists(EVENTS, min_size=1, max_size=4), st.booleans())
@settings(max_examples=150, deadline=None)
@example([rule('label == "a" && path ~ "**/*.a"', 0), rule("draft", 1, stop=True)] * 20, [{"label": ("a",), "path": ("a/a.a",)}], True)
def test_decisions_are_equal_however_they_are_made(rules: list[Rule], events: list[dict[str, Any]], guarded: bool) -> None:
    guards = frozenset({"agent0"} if guarded else ())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "_FEW", 0)
        ways: list[list[tuple[Any, ...]]] = []
        for loop_rules, hot in ((10_000, 10_000), (10_000, 0), (-1, 0)):
            patch.setattr(routing, "LOOP_RULES", loop_rules)
            patch.setattr(routing, "HOT", hot)
            table = RoutingTable(rules, guards)
            ways.append([(*seen(decide(fields, table)), table.missing_facts(fields)) for fields in events * 2])
    assert ways[0] == ways[1] == ways[2]


@given(GLOBS, LISTS, st.booleans())
@settings(max_examples=600, deadline=None)
def test_a_shape_means_what_its_glob_means(glob: str, values: tuple[str, ...], in_path: bool) -> None:
    shape = shape_of(glob, in_path=in_path)
    matches = [value for value in values if compile_pattern(glob, in_path=in_path)(value)]
    if shape is None:
        return
    if shape.name == "prefix":
        assert matches == [value for value in values if value.startswith(shape.key)]
    elif shape.name == "suffix":
        assert matches == [value for value in values if value.endswith(shape.key)]
    else:
        assert bool(matches) is (shape.key in Reading({"path": values}).keys("path", shape.name))


def test_every_rule_of_ten_thousand_is_found_by_what_it_asks_for() -> None:
    """Each rule has an event that only it wants; dense and sparse postings, and bits far apart."""
    rules = [rule(f'repository == "o/r{n % 50}" && path ~ "src/m{n}/**"', n) for n in range(10_000)]
    table = RoutingTable(rules, frozenset())
    for n in (0, 1, 49, 50, 5_000, 9_998, 9_999):
        fields = {"repository": f"o/r{n % 50}", "path": (f"src/m{n}/x.py", "README.md")}
        assert decide(fields, table).matched == (n,)
        assert decide(fields | {"path": (f"src/m{n}/x.py",), "repository": "o/other"}, table).matched == ()
    unknown = decide({"repository": "o/r7", "path": UNKNOWN}, table)
    assert unknown.unknown == tuple(range(7, 10_000, 50))


def test_generated_source_holds_no_word_of_the_config() -> None:
    texts = ["import os; os.system('x')", '"); print("', "\\n    raise SystemExit"]
    nodes = [rule(f"title == {quoted} || label ~ {quoted} || path ~ {quoted}", 0).node for quoted in map(_quoted, texts)]
    code = source_of(nodes).split("# c0 =")[0]
    assert all(text not in code for text in texts)
    assert "title" not in code
    assert fuse(nodes)(Reading({"title": texts[1]})) == [1]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@given(st.lists(st.text("ab/", min_size=30, max_size=80), min_size=1, max_size=5), st.integers(0, 40))
@settings(max_examples=150, deadline=None)
def test_deep_paths_are_found_by_every_directory_that_can_stand_in_a_glob(paths: list[str], cut: int) -> None:
    for path in paths:
        directory = path[: path.rfind("/", 0, cut) + 1]
        shape = shape_of(f"{directory}**", in_path=True)
        if shape:
            assert shape.key in Reading({"path": tuple(paths)}).keys("path", shape.name)


def test_a_nul_in_a_glob_or_a_path_finds_nothing_across_paths() -> None:
    rules = [rule(f'path ~ "{glob}"', n) for n, glob in enumerate(["a\0b/**", "a\0b", "**/a\0b/**", "x/**"])]
    for paths in (("a", "b/c"), ("a\0b/c",), ("x/\0",), ("q\0x/y",)):
        reading = Reading({"path": paths})
        answer = fuse([each.node for each in rules])(reading)
        expected = [n for n, result in enumerate(one_by_one(rules, {"path": paths})) if result]
        assert answer in (None, expected)
