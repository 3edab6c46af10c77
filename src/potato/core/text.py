"""Suggestions and safe printing of text that strangers control."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

_MAX_KNOWN: Final = 300
"""Comparing is slow; a suggestion among more would be luck anyway."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`Did you mean 'x'?`, or nothing where no known word is near."""
    known = list(known)
    if len(known) > _MAX_KNOWN:
        return ""
    near = difflib.get_close_matches(word[:80], known, n=1, cutoff=0.6)
    return f"Did you mean '{near[0]}'?" if near else ""


def printable(text: str, limit: int = 2000) -> str:
    """The text on one line: control, bidi and invisible characters shown as escapes, then cut.

    What remains cannot move a cursor, hide text or start a line of its own.
    """
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if _visible(c) else c.encode("unicode_escape").decode() for c in cut)


def inert(text: str, limit: int = 4000) -> str:
    """The text on one line, printable, and with nothing in it that GitHub Actions could take for a command.

    Commands are lines that begin with `::`, or hold `##[` anywhere; an invisible word joiner breaks both wherever they stand.

    Source: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
    """
    return printable(text, limit).replace("::", ":\u2060:").replace("##[", "#\u2060#[")


def _visible(char: str) -> bool:
    return char.isprintable() and char not in "\u2028\u2029"
