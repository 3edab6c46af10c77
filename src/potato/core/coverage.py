"""Which rules, and which clauses of them, some tests have made true, and which false."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from potato.core.expression import Evaluate, Node, Reading, clauses_of
from potato.core.expression.compile import compile_test
from potato.core.routing import RoutingTable


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that no test has made true (or false): a clause at its span in the rule's text, or the whole rule."""

    rule: int
    text: str
    span: tuple[int, int]
    never: bool
    whole: bool


@dataclass(slots=True)
class Coverage:
    """Collects over tests. Unknown counts for nothing."""

    table: RoutingTable
    _seen: set[tuple[int, int, bool]] = field(default_factory=set[tuple[int, int, bool]])
    _parts: list[list[tuple[Node, Evaluate]]] = field(default_factory=list[list[tuple[Node, Evaluate]]])

    def __post_init__(self) -> None:
        """Part 0 of each rule is the whole, the others are its clauses in order."""
        for rule in self.table.rules:
            self._parts.append([(rule.node, rule.evaluate), *((test, compile_test(test)) for test in clauses_of(rule.node))])

    def add(self, reading: Reading) -> None:
        """Evaluate every clause for one event, each by itself."""
        for number, parts in enumerate(self._parts):
            for at, (_, evaluate) in enumerate(parts):
                truth = evaluate(reading)
                if truth is not None:
                    self._seen.add((number, at, truth))

    def gaps(self) -> list[Gap]:
        """What no test has made true or false, in file order."""
        return [
            Gap(number, " ".join(rule.source[node.span[0] : node.span[1]].split()), node.span, truth, at == 0)
            for number, (rule, parts) in enumerate(zip(self.table.rules, self._parts, strict=True))
            for at, (node, _) in enumerate(parts)
            for truth in (True, False)
            if (number, at, truth) not in self._seen and not (at == 1 and len(parts) == 2)  # noqa: PLR2004 - the whole is its one clause
        ]

    def counts(self) -> dict[str, int]:
        """How many rules and clauses there are, and how many of them were made true and false."""
        told = {"rules": len(self._parts), "clauses": sum(len(parts) - 1 for parts in self._parts)}
        for truth, name in ((True, "true"), (False, "false")):
            told[f"rules_{name}"] = sum(1 for _, at, seen in self._seen if at == 0 and seen is truth)
            told[f"clauses_{name}"] = sum(1 for _, at, seen in self._seen if at and seen is truth)
        return told

    def percent(self) -> float:
        """Of all clauses, each made true and made false, the part that was; 100 for a table without rules."""
        counts = self.counts()
        whole = 2 * counts["clauses"]
        return 100 * (counts["clauses_true"] + counts["clauses_false"]) / whole if whole else 100.0

    def as_json(self) -> dict[str, Any]:
        """The shape of `coverage` in `potato test --json`, without the gaps' places."""
        return {**self.counts(), "percent": round(self.percent(), 1)}
