"""Why an agent does not run: the rules that would have run it, nearest first, and the fewest clauses that kept each from matching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from potato.core.expression import Trace
from potato.core.routing import Decision, RuleOutcome


@dataclass(frozen=True, slots=True)
class Miss:
    """A rule that names the agent and did not match. `failed` are the clauses that would have had to turn out otherwise."""

    outcome: RuleOutcome
    failed: tuple[Trace, ...]

    def as_json(self) -> dict[str, Any]:
        """The shape of `why_not.rules[]` in `explain --why-not AGENT --json`."""
        rule = self.outcome.rule
        return {"name": rule.name, "line": rule.line, "result": self.outcome.result, "failed": [trace.as_json() for trace in self.failed]}


def why_not(decision: Decision, agent: str) -> list[Miss]:
    """The unmatched and unknown rules that name the agent, by how few clauses keep them from matching."""
    misses = [
        Miss(outcome, tuple(in_the_way(outcome.trace, wanted=True)))
        for outcome in decision.outcomes()
        if outcome.result != "matched" and any(agent in group for group in outcome.rule.run)
    ]
    return sorted(misses, key=lambda miss: len(miss.failed))


def in_the_way(trace: Trace, *, wanted: bool) -> list[Trace]:
    """The fewest clauses that must turn out otherwise for the result to be `wanted`; a negated clause stands with its `!`."""
    if trace.result is wanted:
        return []
    if trace.op == "stop":
        return [trace, *in_the_way(trace.children[0], wanted=wanted)]
    if trace.op == "not" and trace.children[0].children:
        return in_the_way(trace.children[0], wanted=not wanted)
    if trace.op not in ("and", "or"):
        return [trace]
    every = [in_the_way(child, wanted=wanted) for child in trace.children]
    return _joined(every) if (trace.op == "and") is wanted else min(every, key=len)


def _joined(parts: Sequence[list[Trace]]) -> list[Trace]:
    return [trace for part in parts for trace in part]
