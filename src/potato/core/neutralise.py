"""Make agents' text harmless where GitHub or other bots would act on it.

Mentions notify people, closing keywords close issues when a pull request merges, slash commands
drive other bots, and our own markers say which comment belongs to whom: none of these may come
from an agent's text.

Source: https://docs.github.com/en/issues/tracking-your-work-with-issues/using-issues/linking-a-pull-request-to-an-issue
and https://docs.github.com/en/get-started/writing-on-github (mentions).
"""

from __future__ import annotations

import re
from typing import Final

_GAP: Final = "&#8203;"
_MENTION: Final = re.compile(r"@(?=[A-Za-z0-9])")
_CLOSING: Final = re.compile(
    r"\b((?:close[sd]?|fix(?:e[sd])?|resolve[sd]?)\b:?\s+)"
    r"((?:[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100})?#(?=\d)|GH-(?=\d)|https?://(?=\S))",
    re.IGNORECASE,
)
_COMMAND: Final = re.compile(r"^([ \t>]*)/(?=[A-Za-z])", re.MULTILINE)
_MARKER: Final = re.compile(r"<!--(?=\s*potato)", re.IGNORECASE)
_LINE_BREAKS: Final = re.compile(r"[\r\n\x0b\x0c\x85\u2028\u2029]+")
_ZERO_WIDTH: Final = "\u200b"


def markdown(text: str) -> str:
    """For bodies: an entity breaks each trigger, so that readers of the source see it was done."""
    text = _MARKER.sub("&lt;!--", text)
    text = _CLOSING.sub(lambda m: f"{m[1]}{_GAP}{m[2]}{_GAP}", text)
    text = _COMMAND.sub(rf"\1{_GAP}/", text)
    return _MENTION.sub(f"@{_GAP}", text)


def plain(text: str) -> str:
    """For titles, which are not Markdown and become commit messages: one line, a zero-width space breaks each trigger."""
    text = _LINE_BREAKS.sub(" ", text)
    text = _CLOSING.sub(lambda m: f"{m[1]}{_ZERO_WIDTH}{m[2]}{_ZERO_WIDTH}", text)
    return _MENTION.sub(f"@{_ZERO_WIDTH}", text)
