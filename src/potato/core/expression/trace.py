"""Evaluate an expression and keep why: each clause with what was expected, what was there, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from potato.core.expression.compile import compile_test
from potato.core.expression.nodes import And, Node, Not, Or, Regex, Test
from potato.core.expression.reading import Reading
from potato.core.value import UNKNOWN, Partial, Truth, Value, negate

_SHOWN = 20
_compiled = lru_cache(maxsize=20_000)(compile_test)


@dataclass(frozen=True, slots=True)
class Trace:
    """One node of the explanation. `result` is `None` for unknown; clauses have `field`, `expected` and `actual`."""

    op: str
    result: Truth
    text: str
    children: tuple[Trace, ...] = ()
    field: str | None = None
    expected: Any = None
    actual: Any = None

    def as_json(self) -> dict[str, Any]:
        """The shape that `explain --json`, the store and the API share."""
        tree: dict[str, Any] = {"op": self.op, "result": self.result, "text": self.text}
        if self.field is not None:
            tree |= {"field": self.field, "expected": self.expected, "actual": self.actual}
        return tree | {"children": [child.as_json() for child in self.children]}

    def deciding(self) -> list[Trace]:
        """The clauses that made the result what it is; a negated clause stands with its `!`."""
        if not self.children or self.op == "stop" or (self.op == "not" and not self.children[0].children):
            return [self]
        wanted = negate(self.result) if self.op == "not" else self.result
        return [leaf for child in self.children if child.result is wanted for leaf in child.deciding()]


def trace(node: Node, reading: Reading, source: str) -> Trace:
    """Evaluate every node of the tree, without short cuts; the result equals the compiled one."""
    text = " ".join(source[node.span[0] : node.span[1]].split())
    match node:
        case Test():
            op = node.op if node.quantifier is None else f"{node.quantifier} {node.op}"
            return Trace(op, _compiled(node)(reading), text, (), node.field, _expected(node), _actual(reading.get(node.field)))
        case Not():
            child = trace(node.item, reading, source)
            return Trace("not", negate(child.result), text, (child,))
        case And() | Or():
            children = tuple(trace(item, reading, source) for item in node.items)
            results = [child.result for child in children]
            decisive = isinstance(node, Or)
            result: Truth = decisive if decisive in results else None if None in results else not decisive
            return Trace("or" if decisive else "and", result, text, children)


def _expected(test: Test) -> Any:  # noqa: ANN401 - a literal, or a list of them
    if isinstance(test.operand, Regex):
        return f"/{test.operand.pattern}/"
    return list(test.operand) if isinstance(test.operand, tuple) else test.operand


def _actual(value: Value) -> Any:  # noqa: ANN401 - JSON of any field
    """Long lists and texts are cut: a trace is for reading."""
    if value is UNKNOWN:
        return "unknown"
    if isinstance(value, Partial):
        return [*_shown(value.values), "(rest unknown)"]
    if isinstance(value, tuple):
        return _shown(value)
    return _cut(value) if isinstance(value, str) else value


def _shown(values: tuple[str, ...]) -> list[str]:
    rest = len(values) - _SHOWN
    return [*map(_cut, values[:_SHOWN]), *([f"(+{rest} more)"] if rest > 0 else [])]


def _cut(text: str) -> str:
    return text if len(text) <= 200 else text[:199] + "…"  # noqa: PLR2004 - enough to recognise it
