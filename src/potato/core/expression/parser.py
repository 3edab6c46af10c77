"""Tokens -> syntax tree, by recursive descent.

```
rule = or ;  or = and {"||" and} ;  and = un {"&&" un} ;  un = "!" un | prim
prim = "(" or ")" | ("any"|"all"|"none") "(" test ")" | test
test = FIELD [ ("=="|"!="|"<"|"<="|">"|">=") lit | ("~"|"!~") (STRING|REGEX) | "in" "[" lit {"," lit} "]" ]
lit  = STRING | INT | "true" | "false"
```
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from potato.core.expression.lexer import ExpressionError, Token, tokenize
from potato.core.expression.nodes import And, Comparison, Literal_, Node, Not, Or, Quantifier, Regex, Test

MAX_DEPTH: Final = 64
MAX_CLAUSES: Final = 2000
_COMPARE: Final = frozenset({"==", "!=", "<", "<=", ">", ">="})
_QUANTIFIERS: Final = frozenset({"any", "all", "none"})
_INT64: Final = 1 << 63
_WORDS: Final = {
    "and": "Write '&&'.", "or": "Write '||'.", "not": "Write '!'.", "contains": 'Write ~ "*text*".', "startswith": 'Write ~ "text*".',
    "endswith": 'Write ~ "*text".', "matches": "Write ~ /.../.", "is": "Write '=='.",
}  # fmt: skip


def parse(text: str) -> Node:
    """The tree of one expression. Raises `ExpressionError`, its span an offset range in `text`."""
    return _Parser(tokenize(text)).parse()


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = [*tokens, tokens[-1], tokens[-1]]  # nothing is read beyond the end
        self._at = 0
        self._peek = tokens[0]
        self._depth = 0
        self._clauses = 0

    def parse(self) -> Node:
        node = self._or()
        if self._peek.kind != "end":
            raise self._unexpected("'&&', '||' or the end")
        return node

    @property
    def _end(self) -> int:
        """Where the token read last ends; closing parentheses count."""
        return self._tokens[self._at - 1].span[1]

    def _next(self) -> Token:
        token = self._peek
        self._at += 1
        self._peek = self._tokens[self._at]
        return token

    def _go_to(self, at: int) -> None:
        self._at = at
        self._peek = self._tokens[at]

    def _expect(self, kind: str, what: str) -> Token:
        if self._peek.kind != kind:
            raise self._unexpected(what)
        return self._next()

    def _unexpected(self, wanted: str) -> ExpressionError:
        token = self._peek
        found = "the end" if token.kind == "end" else f"'{token.value[:40]}'"
        hint = _WORDS.get(token.value.lower(), "") if token.kind == "name" else ""
        if token.kind == "(" and self._at and self._tokens[self._at - 1].kind == "name":
            hint = 'There are no functions; write FIELD ~ "*text*".'
        elif not hint and token.kind == "name" and self._at and self._tokens[self._at - 1].kind in ("~", "!~"):
            hint = f'Quote text: "{token.value[:40]}".'
        return ExpressionError("syntax-error", f"expected {wanted}, found {found}", token.span, hint)

    def _or(self) -> Node:
        return self._chain("||", self._and, Or)

    def _and(self) -> Node:
        return self._chain("&&", self._unary, And)

    def _chain(self, symbol: str, part: Callable[[], Node], kind: type[And | Or]) -> Node:
        start = self._peek.span[0]
        items = [part()]
        while self._peek.kind == symbol:
            self._next()
            items.append(part())
        return items[0] if len(items) == 1 else kind(tuple(items), (start, self._end))

    def _unary(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError("too-deep", f"nested deeper than {MAX_DEPTH}", self._peek.span)
        try:
            if self._peek.kind != "!":
                return self._primary()
            start = self._next().span[0]
            return Not(self._unary(), (start, self._end))
        finally:
            self._depth -= 1

    def _primary(self) -> Node:
        if self._peek.kind == "(":
            self._next()
            node = self._or()
            self._expect(")", "')'")
            return node
        token = self._peek
        if token.value in _QUANTIFIERS and token.kind == "name" and self._tokens[self._at + 1].kind == "(":
            self._go_to(self._at + 2)
            test = self._test(cast("Quantifier", token.value), token.span[0])
            return test._replace(span=(token.span[0], self._expect(")", "')' after one clause").span[1]))
        return self._test(None, token.span[0])

    def _test(self, quantifier: Quantifier | None, start: int) -> Test:
        name = self._expect("name", "a field")
        if name.value.lower() == "not":
            raise ExpressionError("syntax-error", f"'{name.value}' is no operator", name.span, _WORDS["not"])
        self._clauses += 1
        if self._clauses > MAX_CLAUSES:
            message = f"more than {MAX_CLAUSES} clauses in one expression"
            raise ExpressionError("too-long", message, name.span, "Split it into several rules.")
        op = self._peek
        operand: Literal_ | Regex | tuple[Literal_, ...]
        if op.kind in _COMPARE:
            self._next()
            operand, span = self._literal()
        elif op.kind in ("~", "!~"):
            self._next()
            operand, span = self._pattern()
        elif op.kind == "name" and op.value == "in":
            self._next()
            operand, span = self._list()
        else:
            return Test(name.value, "is", True, (start, name.span[1]), name.span, name.span, quantifier)
        return Test(name.value, cast("Comparison", op.value), operand, (start, span[1]), name.span, span, quantifier)

    def _literal(self) -> tuple[Literal_, tuple[int, int]]:
        token = self._peek
        if token.kind == "string":
            return self._next().value, token.span
        if token.kind == "int":
            self._next()
            if len(token.value) > 20 or not -_INT64 <= int(token.value) < _INT64:  # noqa: PLR2004 - digits of 2**63 and a sign
                raise ExpressionError("wrong-type", "the number is wider than 64 bits", token.span)
            return int(token.value), token.span
        if token.kind == "name" and token.value in ("true", "false"):
            return self._next().value == "true", token.span
        error = self._unexpected("a value")
        if token.kind == "name":
            error.hint = f'Quote text: "{token.value}".'
        elif token.kind == "regex":
            error.hint = "Use '~' with a pattern."
        raise error

    def _pattern(self) -> tuple[str | Regex, tuple[int, int]]:
        token = self._peek
        if token.kind == "string":
            return self._next().value, token.span
        if token.kind == "regex":
            return Regex(self._next().value), token.span
        raise self._unexpected('a "glob" or a /regular expression/')

    def _list(self) -> tuple[tuple[Literal_, ...], tuple[int, int]]:
        token = self._next()
        if token.kind != "[":
            self._go_to(self._at - 1)
            error = self._unexpected("'[' after 'in'")
            error.hint = f'Write in ["{token.value[:40] if token.kind in ("string", "name") else "..."}"].'
            raise error
        items = [self._literal()[0]]
        while self._peek.kind == ",":
            self._next()
            items.append(self._literal()[0])
        end = self._expect("]", "',' or ']'").span[1]
        return tuple(items), (token.span[0], end)
