"""A term -> an event that fulfils it, or the proof that there is none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, cast

from potato.core.analysis.budget import Budget
from potato.core.analysis.terms import Clause, Term
from potato.core.analysis.texts import Pattern, TooLarge, find_text
from potato.core.expression.compile import normal_operand, operands_of, predicate_of
from potato.core.expression.nodes import Regex, Test
from potato.core.fields import ANY, FIELDS, possible_values
from potato.core.value import Value
from potato.core.vocabulary import ACTIONS, FREE_ACTION

_USUAL: Final = ("pull_request", "issues", "push", "issue_comment", "workflow_run")
_EVENTS: Final = (*_USUAL, *sorted(ANY.difference(_USUAL)))
_PLAIN: Final = ("x", "main", "src/x.py", "")


class Undecided(Exception):  # noqa: N818 - a third answer, nothing failed
    """No witness was found and none could be ruled out: a regular expression, or too large a search."""


class _No(Exception):  # noqa: N818 - control flow within this module
    """No value fulfils the clauses."""


class _Demand(NamedTuple):
    """What one text is asked: the clause as it stands, or its negation."""

    test: Test
    wanted: bool


def witness(term: Term, budget: Budget) -> dict[str, Value] | None:
    """The fields of an event that fulfils every clause; `None` if there can be none.

    Raises `Undecided`, and `Cut` when the time is used up.
    """
    by_field: dict[str, list[Clause]] = defaultdict(list)
    for clause in term:
        by_field[clause.test.field].append(clause)
    unsure = False
    known: dict[tuple[str, frozenset[str] | None], Value | _No | Undecided] = {}
    for event in _possible_events(by_field.get("event", ())):
        budget.step()
        if not all(predicate_of(clause.test)(event) is clause.wanted for clause in by_field.get("event", ())):
            continue
        try:
            return _fields(event, by_field, known, budget)
        except _No:
            continue
        except Undecided:
            unsure = True
    if unsure:
        raise Undecided
    return None


def _possible_events(clauses: Sequence[Clause]) -> Iterable[str]:
    """Those that a clause names, or all; each is still to be checked against all clauses."""
    named = [operands_of(clause.test) for clause in clauses if clause.wanted and clause.test.op in ("==", "in")]
    return [event for event in min(named, key=len) if event in ANY] if named else _EVENTS


def _fields(event: str, by_field: dict[str, list[Clause]], known: dict[Any, Any], budget: Budget) -> dict[str, Value]:
    """One value for each field that is asked about; what was found for the same possibilities is used again."""
    fields: dict[str, Value] = {"event": event}
    unsure = False
    for name, clauses in by_field.items():
        if name == "event":
            continue
        there = event in FIELDS[name].events and not (name == "action" and not ACTIONS[event] and event not in FREE_ACTION)
        possible = possible_values(name, frozenset({event})) if there else frozenset[str]()
        key = (name, there, possible)
        if key not in known:
            known[key] = _attempt(name, clauses, possible, budget, there=there)
        found = known[key]
        if isinstance(found, _No):
            raise found
        if isinstance(found, Undecided):
            unsure = True
        elif found is not None:
            fields[name] = found
    if unsure:
        raise Undecided
    return fields


def _attempt(name: str, clauses: Sequence[Clause], possible: frozenset[str] | None, budget: Budget, *, there: bool) -> Any:  # noqa: ANN401 - a value or why there is none
    try:
        return _value(name, clauses, possible, budget, there=there)
    except (_No, Undecided) as error:
        return error


def _value(name: str, clauses: Sequence[Clause], possible: frozenset[str] | None, budget: Budget, *, there: bool) -> Value:
    kind = FIELDS[name].kind
    if kind == "strings":
        return _list(clauses, budget, there=there)
    if not any(clause.wanted for clause in clauses) and not (name == "action" and there):
        return None  # absent: every clause is false
    if not there:
        raise _No
    if kind == "bool":
        return _first((True, False), clauses, budget)
    if kind == "int":
        numbers = {number for clause in clauses for number in operands_of(clause.test)}
        return _first(sorted({int(number) + step for number in numbers for step in (-1, 0, 1)}, key=_natural_first), clauses, budget)
    if possible is not None:
        return _first(sorted(possible), clauses, budget)
    return _text([_Demand(*clause) for clause in clauses], budget)


def _list(clauses: Sequence[Clause], budget: Budget, *, there: bool) -> tuple[str, ...] | None:
    """The shortest list: one text for each clause that asks for some, all of them as the others ask of every text."""
    every: list[_Demand] = []
    some: list[_Demand] = []
    not_all: list[_Demand] = []
    filled = False
    for test, wanted in clauses:
        if test.quantifier == "all":
            (every if wanted else not_all).append(_Demand(test, wanted))
            filled |= wanted
        elif (test.quantifier == "none") is wanted:
            every.append(_Demand(test, wanted=False))
        else:
            some.append(_Demand(test, wanted=True))
    if not some and not filled:
        return None
    if not there:
        raise _No
    found = [_text([demand, *every], budget) for demand in (*some, *not_all)]
    return tuple(dict.fromkeys(found or [_text(every, budget)]))


def _text(demands: Sequence[_Demand], budget: Budget) -> str:
    """A text that fulfils all demands. Raises `_No` and `Undecided`."""
    checks = [(predicate_of(demand.test), demand.wanted) for demand in demands]
    named = [text for demand in demands if _asks_for_value(demand) for text in operands_of(demand.test)]
    if named:
        return cast("str", _first_of(named, checks, budget))
    patterns = [pattern for demand in demands for pattern in _patterns(demand)]
    for text in (*(sample for pattern in patterns if pattern.wanted for sample in _samples(pattern.glob)), *_PLAIN):
        if all(check(text) is wanted for check, wanted in checks):
            return text
    try:
        text = find_text(patterns, in_path=any(demand.test.field == "path" for demand in demands), budget=budget)
    except TooLarge:
        raise Undecided from None
    if text is None:
        raise _No
    if all(check(text) is wanted for check, wanted in checks):
        return text
    raise Undecided


def _asks_for_value(demand: _Demand) -> bool:
    return demand.test.op in ("==", "in") if demand.wanted else demand.test.op == "!="


def _patterns(demand: _Demand) -> Iterable[Pattern]:
    """The demand as globs; a regular expression gives none."""
    test = demand.test
    if isinstance(test.operand, Regex):
        return ()
    wanted = demand.wanted is (test.op not in ("!=", "!~"))
    if test.op in ("~", "!~"):
        return (Pattern(str(normal_operand(test.field, test.operand)), wanted),)
    return tuple(Pattern(str(operand), wanted=False) for operand in operands_of(test) if not _has_wildcard(operand))


def _has_wildcard(operand: Any) -> bool:  # noqa: ANN401 - a clause
    """A value with `*` in it would be read as a glob; it is one text of many and left out, which `_text` checks."""
    return isinstance(operand, str) and ("*" in operand or "?" in operand)


def _samples(glob: str) -> Iterable[str]:
    """A few texts that the glob matches, for most terms are fulfilled by one of them."""
    for stars in ("x", "", "x/y"):
        text = glob.replace("**/", f"{stars}/" if stars else "").replace("**", stars).replace("*", stars.replace("/", "")).replace("?", "x")
        yield text


def _natural_first(number: int) -> tuple[bool, int]:
    return number < 1, number


def _first(values: Iterable[Value], clauses: Sequence[Clause], budget: Budget) -> Value:
    return _first_of(values, [(predicate_of(clause.test), clause.wanted) for clause in clauses], budget)


def _first_of(values: Iterable[Value], checks: Sequence[tuple[Callable[[Any], bool], bool]], budget: Budget) -> Value:
    for value in values:
        budget.step()
        if all(bool(check(value)) is wanted for check, wanted in checks):
            return value
    raise _No
