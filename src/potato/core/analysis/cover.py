"""Is a rule always covered by others?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from potato.core.analysis.budget import Budget
from potato.core.analysis.terms import Term, terms
from potato.core.analysis.witness import Undecided, witness
from potato.core.expression.compile import name_of
from potato.core.expression.nodes import Node

MAX_REMAINDERS: Final = 256
MAX_JOINED: Final = 2048


def covering(node: Node, others: Sequence[Node], budget: Budget) -> list[int]:
    """The numbers of `others` of which one is true whenever `node` is; as few as are found, none where that is not proven.

    One that covers alone is preferred. Raises `Cut` when the time is used up.
    """
    whole = terms(node)
    if whole is None or not others:
        return []
    for number, other in enumerate(others):
        if _without(whole, other, budget) == []:
            return [number]
    remaining, used = whole, list[int]()
    for number, other in enumerate(others):
        left = _without(remaining, other, budget)
        if left is None:
            continue
        if left != remaining:
            used.append(number)
        if not left:
            return used
        remaining = left
    return []


def _without(whole: Sequence[Term], other: Node, budget: Budget) -> list[Term] | None:
    """What remains of the terms where `other` is false; `None` where that takes too many terms."""
    denied = terms(other, wanted=False)
    if denied is None or len(whole) * len(denied) > MAX_JOINED:
        return None
    remaining: list[Term] = []
    for term in whole:
        for denial in denied:
            joined = (*term, *(clause for clause in denial if clause not in term))
            if not _contradicts(joined) and _possible(joined, budget):
                remaining.append(joined)
            if len(remaining) > MAX_REMAINDERS:
                return None
    return remaining


def _contradicts(term: Term) -> bool:
    """The same clause wanted and not wanted."""
    return len({name_of(clause.test) for clause in term}) < len({(name_of(clause.test), clause.wanted) for clause in term})


def _possible(term: Term, budget: Budget) -> bool:
    """Whether the term may hold; what is undecided may."""
    try:
        return witness(term, budget) is not None
    except Undecided:
        return True
