"""Text -> tokens, with exact places."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from potato.core.expression.nodes import Span


class ExpressionError(Exception):
    """A mistake in an expression: code, message, hint and the span it stands at."""

    def __init__(self, code: str, message: str, span: Span, hint: str = "") -> None:
        super().__init__(code, message, span, hint)
        self.code = code
        self.message = message
        self.span = span
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is `name`, `string`, `int`, `regex`, `end`, or the symbol itself; `value` is the decoded content."""

    kind: str
    value: str
    span: Span


_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<int>-?[0-9]+(?![A-Za-z0-9_]))
    |(?P<string>"(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+')
    |(?P<regex>/(?:[^/\\\n]|\\.)*+/)
    |(?P<symbol>&&|\|\||==|!=|!~|<=|>=|[!~<>()\[\],])""",
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_HINTS: Final = {
    "$": "Fields have plain names, such as action; there is no ${{ }} here.",
    ".": "Fields have plain names, such as action or title.",
    "&": "Write '&&'.",
    "|": "Write '||'.",
    "=": "Write '=='.",
    '"': "The string is not closed on its line.",
    "'": "The string is not closed on its line.",
    "/": "The pattern is not closed on its line; write '\\/' for a slash inside it.",
    "\u201c": "Use straight quotes.",
    "\u201d": "Use straight quotes.",
}


def tokenize(text: str) -> list[Token]:
    """Every token, and an `end` token. Raises `ExpressionError` with code `syntax-error`."""
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            char = text[at]
            hint = "Write '~'." if text.startswith("=~", at) else _HINTS.get(char, "")
            raise ExpressionError("syntax-error", f"unexpected {char!r}", (at, at + 1), hint)
        span = match.span()
        kind = match.lastgroup or ""
        if kind == "symbol":
            tokens.append(Token(match[0], match[0], span))
        elif kind == "string":
            tokens.append(Token(kind, _unescape(match[0], span), span))
        elif kind == "regex":
            tokens.append(Token(kind, match[0][1:-1].replace("\\/", "/"), span))
        elif kind != "space":
            tokens.append(Token(kind, match[0], span))
        at = span[1]
    tokens.append(Token("end", "", (at, at)))
    return tokens


def _unescape(quoted: str, span: Span) -> str:
    def replace(match: re.Match[str]) -> str:
        char = match[1]
        if char not in "\\\"'":
            at = span[0] + 1 + match.start()
            hint = "Only \\\\, \\\" and \\' are escapes; write a regular expression between slashes: ~ /.../."
            raise ExpressionError("bad-escape", f"'\\{char}' is no escape in a string", (at, at + 2), hint)
        return char

    return _ESCAPE.sub(replace, quoted[1:-1])
