"""decide(event, facts, table): which agents work on an event, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any, Final, Literal

from potato.core.expression import Evaluate, Fields, Node, Reading, Trace, compile_expression, fields_of, trace
from potato.core.expression.fuse import Fused, fuse
from potato.core.fields import FIELDS
from potato.core.index import Index
from potato.core.value import UNKNOWN, Partial, Truth

Result = Literal["matched", "unmatched", "unknown"]

LOOP_RULES: Final = 200
"""Up to here evaluating every rule is faster than looking up which can matter (`dev.py bench rules`)."""

HOT: Final = 50
"""Events after which a table's rules are fused: that takes about as long as this many events."""

_REMEMBERED: Final = 4096
_NAMED: Final = 5


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


@dataclass(frozen=True)
class Rule:
    """One rule. `run` holds groups of equivalent agents: one of each group runs. Lines count from 1."""

    name: str
    line: int
    source: str
    node: Node
    run: tuple[tuple[str, ...], ...]
    priority: Priority = Priority.NORMAL
    stop: bool = False
    delay_s: float = 0.0

    @cached_property
    def evaluate(self) -> Evaluate:
        """Its compiled expression; compiled at first use, for of many rules an event needs few."""
        return compile_expression(self.node)

    @property
    def agents(self) -> str:
        """What it runs, as text."""
        return ", ".join(" or ".join(group) for group in self.run)


class RoutingTable:
    """The rules in file order, and which agents are guards.

    Up to `LOOP_RULES` rules are evaluated one by one, by one fused function once the table is hot; more are indexed.
    """

    def __init__(self, rules: Iterable[Rule], guards: frozenset[str]) -> None:
        self.rules: Final = tuple(rules)
        self.guards: Final = guards
        self.has_stop: Final = any(rule.stop for rule in self.rules)
        self._asked = 0
        self._fused: Fused | None = None
        self._assigned: dict[tuple[int, ...], tuple[Assignment, ...]] = {}

    @cached_property
    def _index(self) -> Index:
        return Index([rule.node for rule in self.rules])

    def match(self, reading: Reading) -> tuple[list[int], list[int]]:
        """The numbers of the rules that are true, and of those that are unknown; `stop` is not considered."""
        if len(self.rules) <= LOOP_RULES:
            fused = self._hot()
            true = fused(reading) if fused else None
            return (true, []) if true is not None else self._evaluated(range(len(self.rules)), reading)
        return self._evaluated(self._index.candidates(reading), reading)

    def _evaluated(self, numbers: Iterable[int], reading: Reading) -> tuple[list[int], list[int]]:
        true: list[int] = []
        unknown: list[int] = []
        for number in numbers:
            result = self.rules[number].evaluate(reading)
            if result:
                true.append(number)
            elif result is None:
                unknown.append(number)
        return true, unknown

    def _hot(self) -> Fused | None:
        """The fused function, once it is worth the time to make it."""
        if self._fused is None and self.rules:
            self._asked += 1
            if self._asked > HOT:
                self._fused = fuse([rule.node for rule in self.rules])
        return self._fused

    def missing_facts(self, fields: Fields) -> frozenset[str]:
        """Names of the facts that could still change a rule's result: only these are worth fetching."""
        unsure = {name for name, value in fields.items() if value is UNKNOWN or isinstance(value, Partial)}
        possible = {fact for name in unsure if name in FIELDS and (fact := FIELDS[name].fact)}
        missing: set[str] = set()
        reading = Reading(fields)
        candidates = self._index.candidates(reading) if len(self.rules) > LOOP_RULES else range(len(self.rules))
        for number in candidates if possible else ():
            rule = self.rules[number]
            if rule.evaluate(reading) is None:
                missing |= {fact for name in fields_of(rule.node) & unsure if (fact := FIELDS[name].fact)}
                if missing == possible:
                    break
        return frozenset(missing)

    def assigned(self, numbers: Sequence[int]) -> tuple[Assignment, ...]:
        """What these rules ask for together."""
        key = tuple(numbers)
        found = self._assigned.get(key)
        if found is None:
            found = assignments([self.rules[number] for number in key], self.guards)
            if len(self._assigned) < _REMEMBERED:
                self._assigned[key] = found
        return found


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
    """One agent to run for one event. `after` are guards that must let it pass; `any_of` its equals; it starts after the delay."""

    agent: str
    rules: tuple[str, ...]
    priority: Priority
    after: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    delay_s: float = 0.0

    @property
    def by(self) -> str:
        """The rules as text; of many, the first few."""
        more = len(self.rules) - _NAMED
        return ", ".join(self.rules[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")

    def as_json(self) -> dict[str, Any]:
        """The shape of `assignments[]` in `explain --json`."""
        shape = {"agent": self.agent, "rules": list(self.rules), "priority": self.priority.label, "after": list(self.after)}
        shape |= {"any_of": list(self.any_of)} if self.any_of else {}
        return shape | ({"delay_s": self.delay_s} if self.delay_s else {})


@dataclass(frozen=True, slots=True)
class Decision:
    """The result for one event. `matched` and `unknown` are numbers of rules; `held` is what the unknown ones would have run."""

    fields: Fields
    table: RoutingTable
    matched: tuple[int, ...]
    unknown: tuple[int, ...]
    assignments: tuple[Assignment, ...]
    held: tuple[Assignment, ...]

    def outcomes(self, *, every: bool = True) -> Iterator[RuleOutcome]:
        """The rules with their answer and why, in file order, each explained as it is asked for; without `every`, not the unmatched."""
        reading = Reading(self.fields)
        matched, unknown = frozenset(self.matched), frozenset(self.unknown)
        stopped: Rule | None = None
        doubtful: Rule | None = None
        for number, rule in enumerate(self.table.rules):
            result: Result = "matched" if number in matched else "unknown" if number in unknown else "unmatched"
            if result == "unmatched" and not every:
                continue
            why = trace(rule.node, reading, rule.source)
            if stopped:
                why = _overruled(stopped, why, result=False)
            elif doubtful and why.result is not False:
                why = _overruled(doubtful, why, result=None)
            if rule.stop and result == "matched":
                stopped = rule
            elif rule.stop and result == "unknown":
                doubtful = doubtful or rule
            yield RuleOutcome(rule, result, why)


def decide(fields: Fields, table: RoutingTable) -> Decision:
    """Evaluate the rules and collect the assignments.

    All matching rules fire. A matched rule with `stop` ends the table; if such a rule is unknown,
    what later rules ask for is unknown too. An agent asked for twice runs once, at the higher
    priority and behind all guards of both rules.
    """
    true, unknown = table.match(Reading(fields))
    if table.has_stop:
        true, unknown = _stopped(table.rules, true, unknown)
    matched = table.assigned(true)
    held = table.assigned(unknown) if unknown else ()
    if held and matched:
        running = {assignment.agent for assignment in matched}
        held = tuple(assignment for assignment in held if assignment.agent not in running)
    return Decision(fields, table, tuple(true), tuple(unknown), matched, held)


def _stopped(rules: Sequence[Rule], true: list[int], unknown: list[int]) -> tuple[list[int], list[int]]:
    """The same without what a true `stop` cuts off; behind an unknown one everything is unknown."""
    end = next((n for n in true if rules[n].stop), len(rules))
    doubt = next((n for n in unknown if rules[n].stop), len(rules))
    if doubt < end:
        return [n for n in true if n < doubt], sorted([*unknown, *(n for n in true if n > doubt)])
    return [n for n in true if n <= end], [n for n in unknown if n < end]


def _overruled(by: Rule, why: Trace, *, result: Truth) -> Trace:
    verb = "matched" if result is False else "is unknown"
    return Trace("stop", result, f"rule {by.name} (line {by.line}) has stop: true and {verb}", (why,))


def assignments(rules: Sequence[Rule], guards: frozenset[str]) -> tuple[Assignment, ...]:
    """What the rules ask for: by priority, guards first, then in file order."""
    asked: dict[str, _Asked] = {}
    for rule in rules:
        gates = [group[0] for group in rule.run if group[0] in guards]
        for group in rule.run:
            entry = asked.setdefault(group[0], _Asked(rule.priority, group, rule.delay_s))
            entry.rules[rule.name] = None
            entry.after.update(dict.fromkeys(() if group[0] in guards else gates))
            entry.priority = min(entry.priority, rule.priority)
            entry.delay_s = min(entry.delay_s, rule.delay_s)
            entry.group = entry.group if entry.group == group else group[:1]
    merged = {agent: entry.assignment(agent) for agent, entry in asked.items()}
    urgency = _inherited(merged)
    order = sorted(merged.values(), key=lambda a: (urgency[a.agent], a.agent not in guards))
    return tuple(order)


@dataclass(slots=True)
class _Asked:
    """What several rules ask of one agent. `rules` and `after` are ordered sets."""

    priority: Priority
    group: tuple[str, ...]
    delay_s: float
    rules: dict[str, None] = field(default_factory=dict[str, None])
    after: dict[str, None] = field(default_factory=dict[str, None])

    def assignment(self, agent: str) -> Assignment:
        return Assignment(agent, tuple(self.rules), self.priority, tuple(self.after),
                          self.group if len(self.group) > 1 else (), self.delay_s)  # fmt: skip


def _inherited(merged: Mapping[str, Assignment]) -> dict[str, Priority]:
    """A guard is as urgent as the most urgent agent that waits for it."""
    urgency = {agent: assignment.priority for agent, assignment in merged.items()}
    for assignment in merged.values():
        for guard in assignment.after:
            urgency[guard] = min(urgency[guard], assignment.priority)
    return urgency
