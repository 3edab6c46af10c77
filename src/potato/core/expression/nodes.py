"""The syntax tree of a rule's expression. Spans are character offsets in the expression's own text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Span = tuple[int, int]
Comparison = Literal["==", "!=", "<", "<=", ">", ">=", "~", "!~", "in", "is"]
Quantifier = Literal["any", "all", "none"]
Literal_ = str | int | bool


@dataclass(frozen=True, slots=True)
class Regex:
    """The text between the slashes of `/.../`, in RE2 syntax."""

    pattern: str


class Test(NamedTuple):
    """One clause: a field, an operator and what it is compared with. `is` stands for a bare boolean field."""

    field: str
    op: Comparison
    operand: Literal_ | Regex | tuple[Literal_, ...]
    span: Span
    field_span: Span
    operand_span: Span
    quantifier: Quantifier | None = None


@dataclass(frozen=True, slots=True)
class Not:
    """`!item`."""

    item: Node
    span: Span


@dataclass(frozen=True, slots=True)
class And:
    """`a && b && ...`, two items at least."""

    items: tuple[Node, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Or:
    """`a || b || ...`, two items at least."""

    items: tuple[Node, ...]
    span: Span


Node = Test | Not | And | Or
