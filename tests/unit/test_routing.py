from __future__ import annotations

from typing import Any

from potato.core.expression import parse
from potato.core.routing import Assignment, Decision, Priority, RoutingTable, Rule, decide
from potato.core.value import UNKNOWN

GUARDS = frozenset({"guard", "guard2"})


def rule(text: str, *run: str | tuple[str, ...], name: str = "", priority: Priority = Priority.NORMAL, stop: bool = False) -> Rule:
    groups = tuple((item,) if isinstance(item, str) else item for item in run)
    return Rule(name or text, 1, text, parse(text), groups, priority, stop=stop)


def decided(rules: list[Rule], **fields: Any) -> Decision:
    return decide(fields, RoutingTable(tuple(rules), GUARDS))


def agents(decision: Decision) -> list[str]:
    return [assignment.agent for assignment in decision.assignments]


def test_all_matching_rules_fire_in_file_order() -> None:
    decision = decided([rule("draft", "b"), rule("fork", "c"), rule("!fork", "no"), rule("draft", "a")], draft=True, fork=True)
    assert agents(decision) == ["b", "c", "a"]
    assert [o.result for o in decision.outcomes()] == ["matched", "matched", "unmatched", "matched"]


def test_guards_run_first_and_gate_the_others_of_their_rule() -> None:
    decision = decided([rule("draft", "worker", "guard", "other"), rule("draft", "free")], draft=True)
    assert decision.assignments == (
        Assignment("guard", ("draft",), Priority.NORMAL),
        Assignment("worker", ("draft",), Priority.NORMAL, ("guard",)),
        Assignment("other", ("draft",), Priority.NORMAL, ("guard",)),
        Assignment("free", ("draft",), Priority.NORMAL),
    )


def test_an_agent_asked_for_twice_runs_once_at_the_higher_priority_behind_all_guards() -> None:
    decision = decided(
        [rule("draft", "guard", "a", name="one", priority=Priority.LOW), rule("draft", "guard2", "a", name="two", priority=Priority.HIGH)],
        draft=True,
    )
    (a,) = [x for x in decision.assignments if x.agent == "a"]
    assert (a.rules, a.priority, a.after) == (("one", "two"), Priority.HIGH, ("guard", "guard2"))


def test_priorities_order_and_a_guard_is_as_urgent_as_who_waits_for_it() -> None:
    rules = [
        rule("draft", "low", priority=Priority.LOW),
        rule("draft", "normal"),
        rule("draft", "guard", "critical", priority=Priority.CRITICAL),
        rule("draft", "guard", name="again", priority=Priority.LOW),
    ]
    assert agents(decided(rules, draft=True)) == ["guard", "critical", "normal", "low"]


def test_stop_ends_the_table_and_says_so() -> None:
    decision = decided([rule("draft", "a", name="one", stop=True), rule("draft", "b", name="two")], draft=True)
    assert agents(decision) == ["a"]
    last = list(decision.outcomes())[1]
    assert (last.result, last.trace.text) == ("unmatched", "rule one (line 1) has stop: true and matched")


def test_an_unmatched_stop_stops_nothing() -> None:
    assert agents(decided([rule("fork", "a", stop=True), rule("draft", "b")], draft=True, fork=False)) == ["b"]


def test_an_unknown_rule_holds_its_agents_and_assigns_none() -> None:
    decision = decided([rule('path ~ "x"', "a", "b"), rule("draft", "b")], draft=True, path=UNKNOWN)
    assert [o.result for o in decision.outcomes()] == ["unknown", "matched"]
    assert agents(decision) == ["b"]
    assert [held.agent for held in decision.held] == ["a"]


def test_after_an_unknown_stop_nothing_is_certain() -> None:
    decision = decided(
        [rule('path ~ "x"', "a", name="s", stop=True), rule("draft", "b"), rule("fork", "c")], draft=True, fork=False, path=UNKNOWN
    )
    assert [o.result for o in decision.outcomes()] == ["unknown", "unknown", "unmatched"]
    assert agents(decision) == []


def test_any_of_names_the_first_and_lists_its_equals() -> None:
    (assignment,) = decided([rule("draft", ("coder_a", "coder_b"))], draft=True).assignments
    assert assignment.as_json() == {
        "agent": "coder_a",
        "rules": ["draft"],
        "priority": "normal",
        "after": [],
        "any_of": ["coder_a", "coder_b"],
    }


def test_only_facts_that_can_still_matter_are_missing() -> None:
    table = RoutingTable((rule('event == "push" && path ~ "x"', "a"), rule('draft || job == "x"', "b")), GUARDS)
    assert table.missing_facts({"event": "pull_request", "path": UNKNOWN, "draft": True, "job": UNKNOWN}) == frozenset()
    assert table.missing_facts({"event": "push", "path": UNKNOWN, "draft": False, "job": UNKNOWN}) == {"paths", "jobs"}
