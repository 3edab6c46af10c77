"""Whatever an agent says: the gate never fails, never loosens by tightening, and is the same twice."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from potato.core.gate import Grant, Setting, judge
from potato.core.neutralise import markdown, plain
from potato.core.permission import PERMISSIONS, ROLES, WRITING
from potato.core.proposal import arguments, parse_action
from potato.testing import make_event

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=10), inner, max_size=4)),
    max_leaves=8,
)
WORDS = st.sampled_from(["x", "bug", "@bob", "fixes #1", "/approve", "a\nb", ""])
PROPOSALS = st.one_of(
    JSON,
    st.fixed_dictionaries({"kind": st.sampled_from(sorted(WRITING))}, optional={
        "labels": st.lists(WORDS, max_size=12), "body": WORDS, "title": WORDS, "number": st.sampled_from([7, 8, "7"]), "name": WORDS, "reason": WORDS,
        "repository": st.sampled_from(["octo/demo", "octo/other"]), "conclusion": st.sampled_from(["success", "great"]), "event": st.just("comment"),
        "agents": st.lists(st.sampled_from(["a", "b", "nobody"]), max_size=3), "branch": st.sampled_from(["potato/x", "main"]), "message": WORDS,
        "files": st.lists(st.fixed_dictionaries({"path": st.sampled_from(["a.py", "../x", ".github/x", "A.PY"]), "content": st.just("x")}), max_size=3),
        "workflow": st.just("ci.yml"), "reviewers": st.lists(st.just("bob"), max_size=7), "state": st.just("closed"), "extra": st.just(1),
    }),
)  # fmt: skip
BATCHES = st.lists(PROPOSALS, max_size=6)
GRANTS = st.builds(
    Grant, st.sampled_from(["a", "b"]), st.sampled_from(ROLES), st.frozensets(st.sampled_from(sorted(PERMISSIONS))),
    st.dictionaries(st.sampled_from(sorted(WRITING)), st.integers(0, 12), max_size=4),
)  # fmt: skip
RANK = {"deny": 0, "needs_approval": 1, "allow": 2}


def setting(*, trusted: bool = True, protected: frozenset[str] = frozenset()) -> Setting:
    return Setting(make_event(), trusted, "sha256:c", frozenset({"a", "b"}), protected)


@given(BATCHES, GRANTS)
@settings(max_examples=300, deadline=None)
def test_every_proposal_gets_one_answer_with_a_reason_and_no_surprise(batch: list[Any], grant: Grant) -> None:
    verdicts = judge(batch, grant, setting())
    assert len(verdicts) == len(batch)
    for verdict in verdicts:
        assert verdict.reason
        assert (verdict.action is None) is (verdict.answer == "deny") or verdict.answer == "deny"
        if verdict.answer != "deny":
            assert verdict.kind in grant.permissions
            assert parse_action({"kind": verdict.kind, **json.loads(json.dumps(verdict.args))}) == verdict.action
            assert arguments(verdict.action) == verdict.args
    assert verdicts == judge(batch, grant, setting())


@given(BATCHES, GRANTS, st.frozensets(st.sampled_from(sorted(PERMISSIONS))), st.integers(0, 12), st.booleans())
@settings(max_examples=300, deadline=None)
def test_tightening_never_allows_more(batch: list[Any], grant: Grant, taken: frozenset[str], cap: int, trusted: bool) -> None:
    """Fewer permissions, lower caps, more protected files, less trust: no single answer becomes kinder.

    A denied proposal does not count against a cap, so taking a permission away may bring a batch under its cap; each
    kind is compared with its own permission kept.
    """
    before = judge(batch, grant, setting())
    caps = {kind: min(grant.cap(kind), cap) for kind in WRITING}
    after = judge(batch, Grant(grant.agent, grant.role, grant.permissions, caps), setting(trusted=trusted, protected=frozenset({"a.py"})))
    single = [
        (judge([raw], grant, setting())[0], judge([raw], Grant(grant.agent, grant.role, grant.permissions - taken, caps), setting())[0])
        for raw in batch
    ]
    for old, new in [*single, *(zip(before, after, strict=True) if trusted else ())]:
        assert RANK[new.answer] <= RANK[old.answer]


@given(BATCHES, GRANTS, st.randoms())
@settings(max_examples=200, deadline=None)
def test_the_order_of_a_batch_is_irrelevant(batch: list[Any], grant: Grant, random: Any) -> None:
    order = list(range(len(batch)))
    random.shuffle(order)
    straight = judge(batch, grant, setting())
    shuffled = judge([batch[index] for index in order], grant, setting())
    assert [shuffled[order.index(index)].answer for index in range(len(batch))] == [verdict.answer for verdict in straight]


TRIGGERS = st.lists(
    st.sampled_from(["@bob", "fixes", " ", "#1", "GH-2", "/lgtm", "\n", "<!--", "potato", "o/r#3", "&#8203;", "closes:", "https://x", "a"]),
    max_size=10,
).map("".join)


@given(TRIGGERS)
@settings(max_examples=500, deadline=None)
def test_neutral_text_stays_neutral(text: str) -> None:
    """Once is enough: nothing is left to break, and a second pass changes nothing a reader sees."""
    import re

    done = markdown(text)
    assert not re.search(r"@[A-Za-z0-9]", done)
    assert not re.search(r"(?im)^[ \t>]*/[a-z]", done)
    assert not re.search(r"(?i)<!--\s*potato", done)
    assert not re.search(r"(?i)\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?)\b:?\s+(?:[\w.-]+/[\w.-]+)?(?:#|gh-)\d", done)
    assert not re.search(r"@[A-Za-z0-9]", plain(text))
