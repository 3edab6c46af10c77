"""Tightening never allows more, and order is irrelevant: approvals, holds, budgets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from potato.core.admission import Lane, Limits, Slots, Snapshot, choose
from potato.core.approval import ApprovalRule, Standing, expiry_s, missing, refusal, rules_for
from potato.core.budget import Amount, Limit, Scope, shortage
from potato.core.hold import Hold, Reach, held_by

NAMES = st.sampled_from(["alice", "bob", "carol", "dave"])
KINDS = st.sampled_from(["push_branch", "open_pr", "dispatch_workflow"])
TEAMS = st.sampled_from(["octo/a", "octo/b"])
RULES = st.builds(
    ApprovalRule, st.text("xyz", min_size=1, max_size=3), st.frozensets(KINDS, max_size=2), st.frozensets(st.sampled_from(["a", "b"]), max_size=1),
    st.integers(1, 3), st.frozensets(TEAMS, max_size=1), st.frozensets(NAMES, max_size=2), st.floats(60, 9999),
)  # fmt: skip
PEOPLE = st.builds(Standing, NAMES, st.sampled_from(["admin", "write", "triage", "none"]), st.frozensets(TEAMS), st.booleans())
HOLDS = st.builds(Hold, st.sampled_from(["p", "q"]), st.just("why"), st.builds(
    Reach, st.sampled_from([(), ("o/*",), ("x/y",)]), st.sampled_from([(), ("a",), ("b",)])), st.none() | st.floats(0, 9))  # fmt: skip


@given(st.lists(RULES, max_size=4), RULES, PEOPLE, st.lists(NAMES), KINDS, st.sampled_from(["a", "b"]), st.lists(NAMES))
def test_one_more_approval_rule_never_makes_it_easier(rules, more, person, involved, kind, agent, approvers) -> None:
    before, after = rules_for(kind, agent, rules), rules_for(kind, agent, [*rules, more])
    assert missing(approvers, after) >= missing(approvers, before)
    if not more.fits(kind, agent) or any(rule.fits(kind, agent) for rule in rules):
        assert expiry_s(after) <= expiry_s(before)
    if refusal(person, before, involved):
        assert refusal(person, after, involved)


@given(st.lists(RULES, max_size=4), st.randoms(), PEOPLE, st.lists(NAMES), KINDS, st.lists(NAMES))
def test_the_order_of_approval_rules_is_irrelevant(rules, dice, person, involved, kind, approvers) -> None:
    mixed = list(rules)
    dice.shuffle(mixed)
    one, other = rules_for(kind, "a", rules), rules_for(kind, "a", mixed)
    assert missing(approvers, one) == missing(approvers, other)
    assert expiry_s(one) == expiry_s(other)
    assert bool(refusal(person, one, involved)) == bool(refusal(person, other, involved))


@given(st.lists(HOLDS, max_size=5), HOLDS, st.randoms())
def test_one_more_hold_never_lets_anything_start_and_order_is_irrelevant(holds, more, dice) -> None:
    lanes = [
        Lane(n, repository, agent, "normal", float(n)) for n, (repository, agent) in enumerate([("o/r", "a"), ("x/y", "b"), ("o/r", "b")])
    ]
    snapshot = Snapshot(lanes, [Slots("w", 9)], [])

    def started(held: list[Hold]) -> set[int]:
        return {one.lane.id for one in choose(snapshot, Limits(), held) if one.worker is not None}

    mixed = [*holds, more]
    dice.shuffle(mixed)
    assert started(mixed) <= started(holds)
    assert started(mixed) == started([*holds, more])
    for lane in lanes:
        assert (lane.id in started(holds)) == (held_by(lane.repository, lane.agent, holds) is None)


@given(st.integers(0, 50), st.integers(0, 1000), st.lists(st.tuples(st.integers(1, 200), st.integers(0, 200)), max_size=30))
def test_what_is_reserved_and_settled_never_exceeds_the_limit(runs, tokens, asks) -> None:
    scope = Scope("day", "d", "the hub", Limit(runs, tokens))
    used = Amount()
    for ask, actual in asks:
        need = Amount(1, ask)
        if shortage(scope, used, need, "USD") is None:
            used = Amount(used.runs + 1, used.tokens + min(actual, ask))
        assert used.runs <= runs
        assert used.tokens <= tokens


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_a_tighter_budget_never_allows_more(limit, less, spent) -> None:
    used, need = Amount(spent), Amount(1)
    loose, tight = (Scope("day", "d", "x", Limit(most)) for most in (limit, max(0, limit - less)))
    if shortage(loose, used, need, "USD"):
        assert shortage(tight, used, need, "USD")
