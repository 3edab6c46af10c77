"""What must hold for an expression not to be false, field by field: the conditions that an index can look up.

A condition is necessary, not sufficient: an event that fulfils none of a field's triggers makes the expression false, if it has
that field known in full; one that fulfils some is still to be evaluated.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from potato.core.expression.compile import any_of, normal_operand, operands_of
from potato.core.expression.nodes import And, Node, Not, Or, Test
from potato.core.expression.shape import Shape, shape_of
from potato.core.fields import FIELDS
from potato.core.value import Value

ABSENT: Final = None

Trigger = tuple[str, Value] | Test
"""A shape's name and a key (`exact` and the value, where there is no glob), or a clause to evaluate; its spans are void."""

Conditions = dict[str, frozenset[Trigger]]
"""Field -> triggers of which one must be fulfilled. A field that is not there may have any value."""


def conditions(node: Node, *, wanted: bool = True) -> Conditions:
    """The conditions for `node` (or, with `wanted` false, its negation) not to be false."""
    match node:
        case Test():
            found = _of_test(node, wanted=wanted)
            return {} if found is None else {node.field: found}
        case Not():
            return conditions(node.item, wanted=not wanted)
        case And() | Or():
            parts = [conditions(item, wanted=wanted) for item in node.items]
            return _all(parts) if isinstance(node, And) is wanted else _any(parts)


def _all(parts: Iterable[Conditions]) -> Conditions:
    merged: Conditions = {}
    for part in parts:
        for field, triggers in part.items():
            before = merged.get(field)
            merged[field] = triggers if before is None else _stricter(field, before, triggers)
    return merged


def _stricter(field: str, one: frozenset[Trigger], other: frozenset[Trigger]) -> frozenset[Trigger]:
    """A field with one value must be in both; of a list's, one is enough and the shorter is kept."""
    if FIELDS[field].kind != "strings" and _all_exact(one) and _all_exact(other):
        return one & other
    return min(one, other, key=len)


def _all_exact(triggers: frozenset[Trigger]) -> bool:
    return all(not isinstance(trigger, Test) and trigger[0] == "exact" for trigger in triggers)


def _any(parts: list[Conditions]) -> Conditions:
    shared = set(parts[0]).intersection(*parts[1:])
    return {field: frozenset[Trigger]().union(*(part[field] for part in parts)) for field in shared}


def _of_test(test: Test, *, wanted: bool) -> frozenset[Trigger] | None:
    kind = FIELDS[test.field].kind
    if kind == "bool":
        return _of_bool(test, wanted=wanted)
    if kind == "strings":
        return _of_list(test, wanted=wanted)
    if not wanted:
        return _exact((*operands_of(test), ABSENT)) if test.op == "!=" else None
    if test.op in ("==", "in"):
        return _exact(operands_of(test))
    return _of_pattern(test) if test.op == "~" else None


def _of_bool(test: Test, *, wanted: bool) -> frozenset[Trigger]:
    fitting = {value for value in (True, False) if (value in operands_of(test)) is (test.op != "!=")}
    return _exact(fitting if wanted else ({True, False} - fitting) | {ABSENT})


def _of_list(test: Test, *, wanted: bool) -> frozenset[Trigger] | None:
    """Only a clause that asks for some matching value has a condition: any and all do, and the negation of none."""
    if test.op in ("!=", "!~") or (test.quantifier == "none") is wanted:
        return None
    if test.op == "~":
        return _of_pattern(test)
    return _exact(operands_of(test))


def _of_pattern(test: Test) -> frozenset[Trigger]:
    shape: Shape | None = None
    if isinstance(test.operand, str):
        shape = shape_of(normal_operand(test.field, test.operand), in_path=test.field == "path")
    return frozenset({(shape.name, shape.key) if shape else any_of(test)})


def _exact(values: Iterable[Value]) -> frozenset[Trigger]:
    return frozenset([("exact", value) for value in values])
