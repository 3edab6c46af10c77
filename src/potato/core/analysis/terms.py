"""Syntax tree -> terms: the disjunctive normal form, which holds for unknown values too."""

from __future__ import annotations

from itertools import product
from typing import Final, NamedTuple

from potato.core.expression.nodes import And, Node, Not, Or, Test

MAX_TERMS: Final = 128


class Clause(NamedTuple):
    """A clause that must be true, or must not."""

    test: Test
    wanted: bool


Term = tuple[Clause, ...]
"""Clauses that must all hold."""


def terms(node: Node, *, wanted: bool = True) -> list[Term] | None:
    """The terms of which one must hold for `node` to be true (or not true); `None` for more than `MAX_TERMS`."""
    match node:
        case Test():
            return [(Clause(node, wanted),)]
        case Not():
            return terms(node.item, wanted=not wanted)
        case And() | Or():
            parts: list[list[Term]] = []
            for item in node.items:
                part = terms(item, wanted=wanted)
                if part is None:
                    return None
                parts.append(part)
            return _all_of(parts) if isinstance(node, And) is wanted else _any_of(parts)


def _any_of(parts: list[list[Term]]) -> list[Term] | None:
    joined = [term for part in parts for term in part]
    return joined if len(joined) <= MAX_TERMS else None


def _all_of(parts: list[list[Term]]) -> list[Term] | None:
    size = 1
    for part in parts:
        size *= len(part)
        if size > MAX_TERMS:
            return None
    return [tuple(clause for term in chosen for clause in term) for chosen in product(*parts)]
