"""Suggestions and safe printing of text that strangers control."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`Did you mean 'x'?`, or nothing where no known word is near."""
    near = difflib.get_close_matches(word[:80], list(known), n=1, cutoff=0.6)
    return f"Did you mean '{near[0]}'?" if near else ""


def printable(text: str, limit: int = 2000) -> str:
    """The text on one line: control, bidi and invisible characters shown as escapes, then cut.

    What remains cannot move a cursor, hide text or start a line of its own.
    """
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if _visible(c) else c.encode("unicode_escape").decode() for c in cut)


def _visible(char: str) -> bool:
    return char.isprintable() and char not in "\u2028\u2029"
