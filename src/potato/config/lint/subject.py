"""What every check looks at: the config, where its parts stand, and what is proven of its rules, each proven once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from potato.config.config import Config, Loaded
from potato.config.rules import expression_place
from potato.config.yaml_tree import Path, Tree
from potato.core.analysis import Budget, Clause, Term, Undecided, terms, witness
from potato.core.expression import possible_events
from potato.core.expression.nodes import Test
from potato.core.routing import Rule
from potato.core.value import Value
from potato.errors import Problem
from potato.ports import AgentSpec


class Subject:
    """One usable config under examination."""

    def __init__(self, loaded: Loaded, budget: Budget) -> None:
        self.config: Config = loaded.written or loaded.require()
        self.tree: Tree = loaded.tree
        self.budget = budget
        self.rules: Sequence[Rule] = self.config.table.rules
        self._events: dict[int, frozenset[str]] = {}
        self._terms: dict[int, list[Term] | None] = {}
        self._witnesses: dict[int, dict[str, Value] | Undecided | None] = {}

    def at_rule(self, number: int, span: tuple[int, int] | None = None) -> tuple[int, int]:
        """Line and column of a rule's expression, or of a part of it."""
        model = self.config.document.routing[number]
        return self.tree.position(expression_place(self.tree, number, model.if_)(span[0] if span else self.rules[number].node.span[0]))

    def at(self, *path: str | int, key: bool = False) -> tuple[int, int]:
        """Line and column of a part of the config."""
        place: Path = path
        return self.tree.position(self.tree.at(place, key=key))

    def problem(self, place: tuple[int, int], code: str, severity: str, message: str, fix: str) -> Problem:
        """A finding at a place."""
        return Problem(self.tree.file, *place, code, message, severity, fix)

    def terms(self, number: int) -> list[Term] | None:
        """The rule's terms; `None` where there are too many."""
        if number not in self._terms:
            self._terms[number] = terms(self.rules[number].node)
        return self._terms[number]

    def witness(self, number: int) -> dict[str, Value] | None:
        """An event that the rule matches; `None` if there can be none. Raises `Undecided`."""
        if number not in self._witnesses:
            try:
                self._witnesses[number] = self.possible(number, ())
            except Undecided as error:
                self._witnesses[number] = error
        found = self._witnesses[number]
        if isinstance(found, Undecided):
            raise found
        return found

    def possible(self, number: int, more: Term) -> dict[str, Value] | None:
        """An event that the rule and all of `more` match; `None` if there can be none. Raises `Undecided`."""
        every = self.terms(number)
        if every is None:
            raise Undecided
        unsure = False
        for term in every:
            self.budget.step()
            try:
                found = witness((*term, *more), self.budget)
            except Undecided:
                unsure = True
                continue
            if found is not None:
                return found
        if unsure:
            raise Undecided
        return None

    def may(self, number: int, more: Term) -> bool:
        """Whether the rule and all of `more` can hold at once, as far as is known."""
        try:
            return self.possible(number, more) is not None
        except Undecided:
            return True

    def events(self, number: int) -> frozenset[str]:
        """The events that the rule may match."""
        if number not in self._events:
            self._events[number] = possible_events(self.rules[number].node)
        return self._events[number]

    def agents_of(self, number: int) -> Iterator[AgentSpec]:
        """Every agent that the rule may run."""
        for group in self.rules[number].run:
            for name in group:
                yield self.config.agents[name]

    @cached_property
    def routed(self) -> dict[str, list[int]]:
        """Agent -> the numbers of the rules that name it."""
        found: dict[str, list[int]] = {}
        for number in range(len(self.rules)):
            for agent in self.agents_of(number):
                found.setdefault(agent.name, []).append(number)
        return found

    @cached_property
    def routers(self) -> list[str]:
        """Routed agents that can themselves route to any agent of the config."""
        return [name for name in self.routed if "route_agents" in self.config.agents[name].permissions]


def clause(field: str, op: str, operand: str) -> Clause:
    """A clause that stands in no rule."""
    return Clause(Test(field, "~" if op == "~" else "==", operand, (0, 0), (0, 0), (0, 0)), wanted=True)
