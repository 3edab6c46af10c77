"""Syntax tree -> closures over the fields of one event. No I/O, no state: safe from any thread.

An absent field makes every clause false; an unknown one makes it unknown, and unknown spreads by
Kleene's logic: false && unknown is false, true || unknown is true.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from potato.core.expression.nodes import And, Node, Not, Or, Regex, Test
from potato.core.expression.pattern import compile_pattern
from potato.core.value import UNKNOWN, Partial, Truth, Value

Fields = Mapping[str, Value]
Evaluate = Callable[[Fields], Truth]

_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "is": operator.eq,
}  # fmt: skip


def compile_expression(node: Node) -> Evaluate:
    """A function from an event's fields to true, false or unknown (`None`). The tree must have passed `check`."""
    match node:
        case Test():
            return compile_test(node)
        case Not():
            return _not(compile_expression(node.item))
        case And():
            return _and(tuple(map(compile_expression, node.items)))
        case Or():
            return _or(tuple(map(compile_expression, node.items)))


def _not(item: Evaluate) -> Evaluate:
    def evaluate(fields: Fields) -> Truth:
        result = item(fields)
        return None if result is None else not result

    return evaluate


def _and(items: tuple[Evaluate, ...]) -> Evaluate:
    def evaluate(fields: Fields) -> Truth:
        result: Truth = True
        for item in items:
            truth = item(fields)
            if truth is False:
                return False
            if truth is None:
                result = None
        return result

    return evaluate


def _or(items: tuple[Evaluate, ...]) -> Evaluate:
    def evaluate(fields: Fields) -> Truth:
        result: Truth = False
        for item in items:
            truth = item(fields)
            if truth:
                return True
            if truth is None:
                result = None
        return result

    return evaluate


def compile_test(test: Test) -> Evaluate:
    """One clause. A list without quantifier means *any*."""
    predicate = _predicate(test)
    name, quantifier = test.field, test.quantifier

    def evaluate(fields: Fields) -> Truth:
        value = fields.get(name)
        if value is None:
            return quantifier == "none"
        if value is UNKNOWN:
            return None
        if isinstance(value, (tuple, Partial)):
            return _quantify(value, predicate, quantifier)
        return predicate(value)

    return evaluate


def _quantify(value: tuple[str, ...] | Partial, predicate: Callable[[Any], bool], quantifier: str | None) -> Truth:
    """any: one matches. none: no one does. all: there are some, and each matches."""
    values, complete = (value.values, False) if isinstance(value, Partial) else (value, True)
    if quantifier == "all":
        if not all(map(predicate, values)):
            return False
        return bool(values) if complete else None
    if any(map(predicate, values)):
        return quantifier != "none"
    return quantifier == "none" if complete else None


def _predicate(test: Test) -> Callable[[Any], bool]:
    operand = _normal(test.field, test.operand)
    if test.op in ("~", "!~"):
        matches = compile_pattern(cast("str | Regex", operand), in_path=test.field == "path")
        return matches if test.op == "~" else lambda value: not matches(value)
    if test.op == "in":
        return frozenset(cast("tuple[Any, ...]", operand)).__contains__
    compare = _OPERATORS[test.op]
    return lambda value: compare(value, operand)


def _normal(field: str, operand: Any) -> Any:  # noqa: ANN401 - the operand's type is the caller's
    """Commands may be written with or without their slash."""
    if field != "command":
        return operand
    if isinstance(operand, tuple):
        return tuple(_normal(field, item) for item in cast("tuple[Any, ...]", operand))
    return operand.removeprefix("/") if isinstance(operand, str) else operand
