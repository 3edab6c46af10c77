"""Text -> tokens, with exact places."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from potato.core.expression.nodes import Span


class ExpressionError(Exception):
    """A mistake in an expression: code, message, hint and the span it stands at."""

    def __init__(self, code: str, message: str, span: Span, hint: str = "") -> None:
        super().__init__(code, message, span, hint)
        self.code = code
        self.message = message
        self.span = span
        self.hint = hint


class Token(NamedTuple):
    """`kind` is `name`, `string`, `int`, `regex`, `end`, or the symbol itself; `value` is the decoded content."""

    kind: str
    value: str
    span: Span


_TOKEN: Final = re.compile(
    r"""(\s*+)(?:
    ([A-Za-z_][A-Za-z0-9_]*)
    |(-?[0-9]+(?![A-Za-z0-9_]))
    |("(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+')
    |(/(?:[^/\\\n]|\\.)*+/)
    |(&&|\|\||==|!=|!~|<=|>=|[!~<>()\[\],]))""",
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
    for space, name, number, string, regex, symbol in _TOKEN.findall(text):
        raw = name or symbol or string or number or regex
        start = at + len(space)
        if not text.startswith(raw, start):
            break
        at = start + len(raw)
        span = (start, at)
        if name:
            tokens.append(Token("name", name, span))
        elif symbol:
            tokens.append(Token(symbol, symbol, span))
        elif string:
            tokens.append(Token("string", _unescape(string, span) if "\\" in string else string[1:-1], span))
        elif number:
            tokens.append(Token("int", number, span))
        else:
            tokens.append(Token("regex", regex[1:-1].replace("\\/", "/"), span))
    at += len(text[at:]) - len(text[at:].lstrip())
    if at < len(text):
        hint = "Write '~'." if text.startswith("=~", at) else _HINTS.get(text[at], "")
        raise ExpressionError("syntax-error", f"unexpected {text[at]!r}", (at, at + 1), hint)
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
