"""Syntax tree -> closures over one event's reading. No I/O, no state: safe from any thread.

An absent field makes every clause false; an unknown one makes it unknown, and unknown spreads by
Kleene's logic: false && unknown is false, true || unknown is true.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final, cast

from potato.core.expression.nodes import And, Literal_, Node, Not, Or, Regex, Test
from potato.core.expression.pattern import compile_pattern, compile_prefilter
from potato.core.expression.reading import Reading
from potato.core.expression.shape import Shape, shape_of
from potato.core.fields import FIELDS
from potato.core.value import UNKNOWN, Partial, Truth

Evaluate = Callable[[Reading], Truth]

_NOWHERE: Final = (0, 0)
_FEW: Final = 3

_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "is": operator.eq,
}  # fmt: skip


def compile_expression(node: Node) -> Evaluate:
    """A function from an event's reading to true, false or unknown (`None`). The tree must have passed `check`."""
    match node:
        case Test():
            return compile_test(node)
        case Not():
            return _not(compile_expression(node.item))
        case And():
            return _and(tuple(map(compile_expression, cheap_first(node))))
        case Or():
            return _or(tuple(map(compile_expression, cheap_first(node))))


def cheap_first(node: And | Or) -> list[Node]:
    """The items in the order of what they cost: it does not change the result, for nothing of it acts or fails."""
    return sorted(node.items, key=_cost)


def _cost(node: Node) -> int:
    """About how long evaluating it takes, in comparisons."""
    match node:
        case Test():
            one = 1 if node.op not in ("~", "!~") else 8 if isinstance(node.operand, Regex) else 2
            return one if FIELDS[node.field].kind != "strings" else one * (3 if node.quantifier is None else 6)
        case Not():
            return _cost(node.item)
        case And() | Or():
            return sum(map(_cost, node.items))


def _not(item: Evaluate) -> Evaluate:
    def evaluate(reading: Reading) -> Truth:
        result = item(reading)
        return None if result is None else not result

    return evaluate


def _and(items: tuple[Evaluate, ...]) -> Evaluate:
    def evaluate(reading: Reading) -> Truth:
        result: Truth = True
        for item in items:
            truth = item(reading)
            if truth is False:
                return False
            if truth is None:
                result = None
        return result

    return evaluate


def _or(items: tuple[Evaluate, ...]) -> Evaluate:
    def evaluate(reading: Reading) -> Truth:
        result: Truth = False
        for item in items:
            truth = item(reading)
            if truth:
                return True
            if truth is None:
                result = None
        return result

    return evaluate


def compile_test(test: Test) -> Evaluate:
    """One clause. A list without quantifier means *any*."""
    if FIELDS[test.field].kind != "strings":
        return _of_one(test.field, predicate_of(test))
    shape = shape_of_test(test)
    if shape:
        return _by_key(test, shape)
    plain = test.op == "~" and test.quantifier in (None, "any")
    if plain and isinstance(test.operand, Regex):
        return _remembered(name_of(test), _of_regex(test, predicate_of(test)))
    evaluate = _of_many(test, predicate_of(test))
    return _remembered(name_of(test), evaluate) if plain else evaluate


def any_of(test: Test) -> Test:
    """The clause as one that asks whether any value matches, without its place: equal ones are equal."""
    return test._replace(quantifier=None, span=_NOWHERE, field_span=_NOWHERE, operand_span=_NOWHERE)


def name_of(test: Test) -> str:
    """The same for clauses that ask the same."""
    return f"{test.quantifier or 'any'} {test.field} {test.op} {test.operand!r}"


def _remembered(name: str, evaluate: Evaluate) -> Evaluate:
    return lambda reading: True if name in reading.found else evaluate(reading)


def shape_of_test(test: Test) -> Shape | None:
    """The look-up that answers a clause on a list: one that asks whether any value matches a glob with a shape, or none does."""
    if test.quantifier == "all" or test.op not in ("==", "~") or not isinstance(test.operand, str):
        return None
    operand = normal_operand(test.field, test.operand)
    shape = Shape("exact", operand) if test.op == "==" else shape_of(operand, in_path=test.field == "path")
    return shape if shape and shape.name not in ("prefix", "suffix") else None


def _of_one(name: str, predicate: Callable[[Any], bool]) -> Evaluate:
    def evaluate(reading: Reading) -> Truth:
        value = reading.get(name)
        if value is None:
            return False
        return None if value is UNKNOWN else predicate(value)

    return evaluate


def any_by_regex(test: Test, predicate: Callable[[Any], bool]) -> Callable[[Reading], bool]:
    """Whether any value matches: most lists are told by one search through all of them, which costs little more than one in one."""
    name, operand = test.field, test.operand
    prefilter = compile_prefilter(operand.pattern) if isinstance(operand, Regex) else None

    def found(reading: Reading) -> bool:
        values = reading.values(name)
        if prefilter and len(values) > _FEW and not prefilter("\n".join(values)):
            return False
        return any(map(predicate, values))

    return found


def _of_regex(test: Test, predicate: Callable[[Any], bool]) -> Evaluate:
    name, found = test.field, any_by_regex(test, predicate)

    def evaluate(reading: Reading) -> Truth:
        value = reading.get(name)
        if value is None:
            return False
        if value is UNKNOWN:
            return None
        return True if found(reading) else None if isinstance(value, Partial) else False

    return evaluate


def _of_many(test: Test, predicate: Callable[[Any], bool]) -> Evaluate:
    name, quantifier = test.field, test.quantifier

    def evaluate(reading: Reading) -> Truth:
        value = reading.get(name)
        if value is None:
            return quantifier == "none"
        return None if value is UNKNOWN else _quantify(cast("tuple[str, ...] | Partial", value), predicate, quantifier)

    return evaluate


def _by_key(test: Test, shape: Shape) -> Evaluate:
    name, found = test.field, test.quantifier != "none"
    shape_name, key = shape

    def evaluate(reading: Reading) -> Truth:
        value = reading.get(name)
        if value is None:
            return not found
        if value is UNKNOWN:
            return None
        if key in reading.keys(name, shape_name):
            return found
        return None if isinstance(value, Partial) else not found

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


def predicate_of(test: Test) -> Callable[[Any], bool]:
    """What the clause asks of one value."""
    operand = normal_operand(test.field, test.operand)
    if test.op in ("~", "!~"):
        matches = compile_pattern(cast("str | Regex", operand), in_path=test.field == "path")
        return matches if test.op == "~" else lambda value: not matches(value)
    if test.op == "in":
        return frozenset(cast("tuple[Any, ...]", operand)).__contains__
    compare = _OPERATORS[test.op]
    return lambda value: compare(value, operand)


def operands_of(test: Test) -> tuple[Literal_, ...]:
    """The values that a clause names: one, or those of its list. A regular expression names none."""
    operand = normal_operand(test.field, test.operand)
    if isinstance(operand, tuple):
        return cast("tuple[Literal_, ...]", operand)
    return () if isinstance(operand, Regex) else (operand,)


def normal_operand(field: str, operand: Any) -> Any:  # noqa: ANN401 - the operand's type is the caller's
    """Commands may be written with or without their slash."""
    if field != "command":
        return operand
    if isinstance(operand, tuple):
        return tuple(normal_operand(field, item) for item in cast("tuple[Any, ...]", operand))
    return operand.removeprefix("/") if isinstance(operand, str) else operand
