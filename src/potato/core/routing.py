"""decide(event, facts, table): which agents work on an event, and why. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

from potato.core.expression import Evaluate, Fields, Node, Trace, compile_expression, fields_of, trace
from potato.core.fields import FIELDS
from potato.core.value import UNKNOWN, Partial, Truth

Result = Literal["matched", "unmatched", "unknown"]


class Priority(IntEnum):
    """Lower runs first."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3

    @property
    def label(self) -> str:
        """The name used in configs and output."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled rule. `run` holds groups of equivalent agents: one of each group runs. Lines count from 1."""

    name: str
    line: int
    source: str
    node: Node
    evaluate: Evaluate
    run: tuple[tuple[str, ...], ...]
    priority: Priority = Priority.NORMAL
    stop: bool = False

    @classmethod
    def compiled(cls, name: str, line: int, source: str, node: Node, run: tuple[tuple[str, ...], ...],
                 priority: Priority = Priority.NORMAL, *, stop: bool = False) -> Rule:  # fmt: skip
        """A rule from its checked tree."""
        return cls(name, line, source, node, compile_expression(node), run, priority, stop)


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """The rules in file order, and which agents are guards."""

    rules: tuple[Rule, ...]
    guards: frozenset[str]

    def missing_facts(self, fields: Fields) -> frozenset[str]:
        """Names of the facts that could still change a rule's result: only these are worth fetching."""
        missing: set[str] = set()
        for rule in self.rules:
            if rule.evaluate(fields) is None:
                for name in fields_of(rule.node):
                    fact = FIELDS[name].fact
                    if fact and (fields.get(name) is UNKNOWN or isinstance(fields.get(name), Partial)):
                        missing.add(fact)
        return frozenset(missing)


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """One rule's answer for one event, with its explanation."""

    rule: Rule
    result: Result
    trace: Trace

    def as_json(self) -> dict[str, Any]:
        """The shape of `rules[]` in `explain --json`."""
        return {"name": self.rule.name, "line": self.rule.line, "result": self.result, "trace": self.trace.as_json()}


@dataclass(frozen=True, slots=True)
class Assignment:
    """One agent to run for one event. `after` are guards that must let it pass; `any_of` its equals."""

    agent: str
    rules: tuple[str, ...]
    priority: Priority
    after: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The shape of `assignments[]` in `explain --json`."""
        shape = {"agent": self.agent, "rules": list(self.rules), "priority": self.priority.label, "after": list(self.after)}
        return shape | ({"any_of": list(self.any_of)} if self.any_of else {})


@dataclass(frozen=True, slots=True)
class Decision:
    """The result for one event: every rule's answer, what to run, and what an unknown rule would have run."""

    outcomes: tuple[RuleOutcome, ...]
    assignments: tuple[Assignment, ...]
    held: tuple[Assignment, ...]


def decide(fields: Fields, table: RoutingTable) -> Decision:
    """Evaluate every rule in file order and collect the assignments.

    All matching rules fire. A matched rule with `stop` ends the table; if such a rule is unknown,
    what later rules ask for is unknown too. An agent asked for twice runs once, at the higher
    priority and behind all guards of both rules.
    """
    outcomes: list[RuleOutcome] = []
    stopped: Rule | None = None
    doubtful: Rule | None = None
    for rule in table.rules:
        why = trace(rule.node, fields, rule.source)
        if stopped:
            outcomes.append(RuleOutcome(rule, "unmatched", _overruled(stopped, why, result=False)))
            continue
        if doubtful and why.result is not False:
            why = _overruled(doubtful, why, result=None)
        outcomes.append(RuleOutcome(rule, _result(why.result), why))
        if rule.stop and why.result:
            stopped = rule
        elif rule.stop and why.result is None:
            doubtful = doubtful or rule
    matched = assignments([o.rule for o in outcomes if o.result == "matched"], table.guards)
    held = assignments([o.rule for o in outcomes if o.result == "unknown"], table.guards)
    running = {assignment.agent for assignment in matched}
    return Decision(tuple(outcomes), matched, tuple(a for a in held if a.agent not in running))


def _overruled(by: Rule, why: Trace, *, result: Truth) -> Trace:
    verb = "matched" if result is False else "is unknown"
    return Trace("stop", result, f"rule {by.name} (line {by.line}) has stop: true and {verb}", (why,))


def _result(truth: Truth) -> Result:
    return "unknown" if truth is None else "matched" if truth else "unmatched"


def assignments(rules: Sequence[Rule], guards: frozenset[str]) -> tuple[Assignment, ...]:
    """What the rules ask for: by priority, guards first, then in file order."""
    merged: dict[str, Assignment] = {}
    for rule in rules:
        gates = tuple(group[0] for group in rule.run if group[0] in guards)
        for group in rule.run:
            agent = group[0]
            after = () if agent in guards else gates
            asked = Assignment(agent, (rule.name,), rule.priority, after, group if len(group) > 1 else ())
            merged[agent] = _merge(merged[agent], asked) if agent in merged else asked
    urgency = _inherited(merged)
    order = sorted(merged.values(), key=lambda a: (urgency[a.agent], a.agent not in guards))
    return tuple(order)


def _merge(one: Assignment, other: Assignment) -> Assignment:
    return Assignment(
        one.agent,
        tuple(dict.fromkeys(one.rules + other.rules)),
        min(one.priority, other.priority),
        tuple(dict.fromkeys(one.after + other.after)),
        one.any_of if one.any_of == other.any_of else (),
    )


def _inherited(merged: Mapping[str, Assignment]) -> dict[str, Priority]:
    """A guard is as urgent as the most urgent agent that waits for it."""
    urgency = {agent: assignment.priority for agent, assignment in merged.items()}
    for assignment in merged.values():
        for guard in assignment.after:
            urgency[guard] = min(urgency[guard], assignment.priority)
    return urgency
