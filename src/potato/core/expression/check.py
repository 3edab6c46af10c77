"""Types and names of an expression, checked when the config loads, not when an event arrives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from potato.core.expression.nodes import And, Node, Not, Or, Regex, Span, Test
from potato.core.expression.pattern import PatternError, compile_pattern
from potato.core.fields import ANY, FIELDS, Field, possible_values
from potato.core.text import did_you_mean

_ORDER: Final = frozenset({"<", "<=", ">", ">="})
_TYPE_NAMES: Final = {str: "text", int: "a number", bool: "true or false"}
_KIND_NAMES: Final = {"string": "text", "strings": "a list of text", "int": "a number", "bool": "true or false"}


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake or a warning about a span of the expression."""

    code: str
    message: str
    span: Span
    hint: str = ""
    severity: str = "error"


def check(node: Node) -> list[Finding]:
    """All mistakes and warnings, in the order of the text."""
    findings = list(_check(node, ANY))
    return sorted(findings, key=lambda finding: finding.span) if findings else findings


def _check(node: Node, events: frozenset[str]) -> Iterator[Finding]:
    """`events` are those for which the value of `node` can matter, by the clauses it is joined with."""
    match node:
        case Test():
            yield from _check_test(node, events)
        case Not():
            yield from _check(node.item, events)
        case Or():
            for item in node.items:
                yield from _check(item, events)
        case And():
            for item in node.items:
                events &= possible_events(item)
            for item in node.items:
                yield from _check(item, events or ANY)


def possible_events(node: Node) -> frozenset[str]:
    """The events for which `node` may be true, as far as its `event` clauses tell."""
    match node:
        case Test(field="event", op="=="):
            return frozenset({str(node.operand)}) & ANY
        case Test(field="event", op="in", operand=tuple() as names):
            return frozenset(map(str, names)) & ANY
        case And():
            return ANY.intersection(*map(possible_events, node.items))
        case Or():
            return frozenset[str]().union(*map(possible_events, node.items))
        case _:
            return ANY


def _check_test(test: Test, events: frozenset[str]) -> Iterator[Finding]:
    field = FIELDS.get(test.field)
    if field is None:
        where = f" of {next(iter(events))}" if len(events) == 1 else ""
        known = [name for name, known in FIELDS.items() if known.events & events]
        yield Finding("unknown-field", f"'{test.field}' is no field{where}.", test.field_span,
                      _instead_of(test.field, known))  # fmt: skip
        return
    if not field.events & events:
        names = ", ".join(sorted(events)[:3])
        yield Finding("field-never-present", f"'{field.name}' is never on {names}; this clause is always false.",
                      test.field_span, severity="warning")  # fmt: skip
    if test.op == "is" and field.kind != "bool":
        yield Finding("wrong-type", f"'{field.name}' is {_KIND_NAMES[field.kind]}, no condition by itself.",
                      test.field_span, f'Compare it: {field.name} == "...".')  # fmt: skip
        return
    wrong = _wrong_operator(test, field) or _wrong_operand(test, field)
    if wrong:
        yield wrong
    elif test.op in ("~", "!~"):
        yield from _check_pattern(test)
    elif test.op in ("==", "!=", "in"):
        yield from _check_values(test, field, events)


_KNOWN_VALUES: Final = {"merged": 'A merge is action "closed".', "pr": "Did you mean 'pull_request'?", "PR": "Did you mean 'pull_request'?"}
_ALIASES: Final = {
    "files": "path", "file": "path", "paths": "path", "user": "actor", "sender": "actor", "labels": "label", "head": "branch",
    "repo": "repository", "comment": "body", "commands": "command", "jobs": "job", "schedule": "cron", "result": "status", "type": "event",
}  # fmt: skip


def _instead_of(name: str, known: list[str]) -> str:
    """What the writer may have meant."""
    if name in ("true", "false"):
        return "A rule must test a field of the event."
    if name in _ALIASES:
        return f"Did you mean '{_ALIASES[name]}'?"
    return did_you_mean(name, known) or did_you_mean(name, FIELDS)


def _wrong_operator(test: Test, field: Field) -> Finding | None:
    if test.quantifier and field.kind != "strings":
        return Finding("wrong-type", f"{test.quantifier}() is for lists; '{field.name}' has one value.", test.span,
                       "Write the clause without it.")  # fmt: skip
    if test.op in ("!=", "!~") and field.kind == "strings" and test.quantifier is None:
        positive = "==" if test.op == "!=" else "~"
        return Finding("negated-list", f"'{field.name}' has many values, so '{test.op}' could mean two things.", test.span,
                       f"Write !({field.name} {positive} ...) for 'none of them' or any({field.name} {test.op} ...).")  # fmt: skip
    if test.op in ("~", "!~") and field.kind not in ("string", "strings"):
        return Finding("wrong-type", f"'{field.name}' is {_KIND_NAMES[field.kind]}, not text to match.", test.span)
    if test.op in _ORDER and field.kind != "int":
        return Finding("wrong-type", f"'{field.name}' is {_KIND_NAMES[field.kind]}, which has no order.", test.span)
    return None


def _wrong_operand(test: Test, field: Field) -> Finding | None:
    wanted = {"int": int, "bool": bool}.get(field.kind, str)
    operands = test.operand if isinstance(test.operand, tuple) else (test.operand,)
    for operand in operands:
        if not isinstance(operand, Regex) and type(operand) is not wanted:
            bare = str(operand).strip()
            hint = (
                f'Quote it: "{operand}".' if wanted is str else f"Write {bare} without quotes." if isinstance(operand, str) and bare else ""
            )
            message = f"'{field.name}' is {_KIND_NAMES[field.kind]}, compared with {_TYPE_NAMES[type(operand)]}."
            return Finding("wrong-type", message, test.operand_span, hint)
    return None


def _check_pattern(test: Test) -> Iterator[Finding]:
    pattern = test.operand
    assert isinstance(pattern, (str, Regex))  # noqa: S101 - the parser gives no other operand to ~
    try:
        compile_pattern(pattern, in_path=test.field == "path")
    except PatternError as error:
        yield Finding("bad-pattern", f"{error}.", test.operand_span)
        return
    if test.field == "path" and isinstance(pattern, str):
        if pattern.startswith(("/", "./")):
            yield Finding("path-never-matches", "paths start at the repository's root, without '/' or './'.",
                          test.operand_span, f'Write "{pattern.lstrip("./")}".', "warning")  # fmt: skip
        if any(char in pattern for char in "{}[]"):
            yield Finding("literal-brackets", "'{', '}', '[' and ']' are plain characters in a glob.",
                          test.operand_span, "Join several globs with '||', or write ~ /.../.", "warning")  # fmt: skip


def _check_values(test: Test, field: Field, events: frozenset[str]) -> Iterator[Finding]:
    possible = possible_values(field.name, events & field.events or field.events)
    if possible is None:
        return
    operands = test.operand if isinstance(test.operand, tuple) else (test.operand,)
    for operand in map(str, operands):
        if operand not in possible:
            where = f" of {next(iter(events))}" if len(events) == 1 and field.name != "event" else ""
            hint = did_you_mean(operand, possible) or _KNOWN_VALUES.get(operand, "")
            if field.name == "status" and operand == "completed":
                hint = "'status' is the outcome once completed; test action, or a conclusion such as \"success\"."
            yield Finding("unknown-value", f"'{operand}' is no {field.name}{where}.", test.operand_span, hint)


def clauses_of(node: Node) -> list[Test]:
    """Every clause of the expression, in the order of the text."""
    match node:
        case Test():
            return [node]
        case Not():
            return clauses_of(node.item)
        case And() | Or():
            return [test for item in node.items for test in clauses_of(item)]


def fields_of(node: Node) -> frozenset[str]:
    """The fields that the expression reads."""
    match node:
        case Test():
            return frozenset({node.field})
        case Not():
            return fields_of(node.item)
        case And() | Or():
            return frozenset[str]().union(*map(fields_of, node.items))
