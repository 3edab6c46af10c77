"""I09: no pattern on hostile text takes more than linear time."""

from __future__ import annotations

import time

import pytest

from potato.core import neutralise, paths
from potato.core.expression import Reading, compile_expression, parse
from potato.core.expression.fuse import fuse
from potato.core.expression.nodes import Regex
from potato.core.expression.pattern import compile_pattern
from potato.core.hidden import without_hidden
from potato.core.index import Index
from potato.core.secret_scan import leaked, masked
from potato.forges.github.normalise import commands
from potato.forges.github.payload import Comment
from potato.spokes.builtin import ci_guard, coverage, documentation, security, triage

HOSTILE = ["a" * 50_000 + "!", "ab" * 25_000, "/" * 50_000, "a/" * 25_000, " " * 50_000, "#" * 50_000, "<!--" * 12_000, "fix " * 12_000, "curl " * 10_000,
           "${{" * 15_000, "a.py 1 1 " * 5_000, "\n" * 50_000, "[a]: #" + " " * 50_000 + "x", "a" + "\u0301\u0323" * 25_000, "uses: " + "a/" * 20_000, "(" * 50_000, "\ufdfa" * 50_000, "&#" + "1" * 50_000, "&#" + "0" * 50_000, "&#1" * 17_000]  # fmt: skip
FIXED = [
    *triage.BY_TITLE.values(),
    *security.EVERYWHERE.values(),
    *security.WORKFLOWS.values(),
    *documentation._PUBLIC.values(),
    coverage._ROW,
]


def cpu(call: object, *args: object) -> float:
    started = time.process_time()
    call(*args)
    return time.process_time() - started


@pytest.mark.parametrize(
    "pattern", ["*a*a*a*a*b", "*a*a*a*a*a*a*a*a*a*b", "a?" * 30 + "b", "**/**/**/**/x", Regex("(a+)+$"), Regex("(a|a)*b"), Regex("(.*)*x")]
)
def test_rules_patterns(pattern: str | Regex) -> None:
    for in_path in (False, True):
        matches = compile_pattern(pattern, in_path=in_path)
        for text in HOSTILE:
            assert cpu(matches, text) < 0.5


@pytest.mark.parametrize("pattern", FIXED, ids=lambda p: p.pattern[:40])
def test_our_own_fixed_patterns(pattern: object) -> None:
    for text in HOSTILE:
        assert cpu(pattern.search, text) < 1


@pytest.mark.parametrize("call", [neutralise.markdown, neutralise.plain, paths.unsafe_path, paths.is_protected, ci_guard.classify, coverage.coverage_table,
                                  lambda text: commands(Comment(body=text)), lambda text: leaked([text], {"K": "some-secret-value"}), lambda text: masked(text, {"K": "some-secret-value"}), without_hidden])  # fmt: skip
def test_functions_over_strangers_text(call: object) -> None:
    for text in HOSTILE:
        assert cpu(call, text) < 1


@pytest.mark.parametrize("pattern", ['"*a*a*a*a*b"', '"a?a?a?a?b"', "/(a+)+$/", "/(a|a)*b/", "/(.*)*x/"])
def test_hostile_titles_take_no_time_in_any_way_a_rule_is_evaluated(pattern: str) -> None:
    node = parse(f"title ~ {pattern} || path ~ {pattern} || !(label ~ {pattern})")
    fused, closures = fuse([node]), compile_expression(node)
    index = Index([node] * 3)
    for text in ("a" * 10_000 + "!", "ab" * 5_000, "a/" * 5_000):
        reading = {"event": "push", "title": text, "label": (text[:50],) * 20, "path": (text[:4_000],) * 5}
        for way in (fused, closures, index.candidates):
            way(Reading(reading))  # patterns are compiled at first use
            assert cpu(way, Reading(reading)) < 0.05


def test_deep_and_long_paths_cost_no_more_than_their_length() -> None:
    nodes = [parse(f'path ~ "{glob}"') for glob in ("a/**", "**/*.py", "x/y/**/*.c", "**/m/**", "q/*", "**/Dockerfile")]
    index = Index(nodes * 40)
    for changed in (("a/" * 100_000,), tuple(f"{'b/' * 200}{n}/f.py" for n in range(3_000))):
        assert cpu(index.candidates, Reading({"event": "push", "path": changed})) < 1
