"""Make agents' text harmless where GitHub or other bots would act on it.

Mentions notify people, closing keywords close issues when a pull request merges, slash commands
drive other bots, and our own markers say which comment belongs to whom: none of these may come
from an agent's text. Where in doubt a trigger is broken that was none: text stays readable either way.

Source: https://docs.github.com/en/issues/tracking-your-work-with-issues/using-issues/linking-a-pull-request-to-an-issue
and https://docs.github.com/en/get-started/writing-on-github (mentions).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_GAP: Final = "&#8203;"
_ZERO_WIDTH: Final = "\u200b"
_ENTITY: Final = re.compile(r"&(?!(?:amp|lt|gt|quot|nbsp);)(?=#|[A-Za-z][A-Za-z0-9]{1,40};)")
_MENTION: Final = re.compile(r"@(?=[A-Za-z0-9])")
_CLOSING: Final = re.compile(
    r"(?<![A-Za-z0-9])((?:close[sd]?|fix(?:e[sd])?|resolve[sd]?)(?![A-Za-z0-9])[^A-Za-z0-9]{0,40}?"
    r"(?:[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100})??)"
    r"(#(?=\d)|GH-(?=\d)|https?://(?=\S))",
    re.IGNORECASE,
)
_COMMAND: Final = re.compile(r"^([^\S\n]*(?:[>*+-][^\S\n]*)*)/(?=[A-Za-z])", re.MULTILINE)
_MARKER: Final = re.compile(r"<!--(?=\s*potato)", re.IGNORECASE)
_LINE_BREAKS: Final = re.compile(r"\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_SUSPECT: Final = re.compile(r"[^\n\t -~]")


def clean(text: str) -> str:
    """One kind of line break, without control characters and invisible ones (bidi, zero-width): nothing hides in what remains."""
    text = _LINE_BREAKS.sub("\n", text)
    return _SUSPECT.sub(lambda m: m[0] if unicodedata.category(m[0]) not in ("Cc", "Cf", "Cs", "Co", "Cn") else "", text)


def markdown(text: str) -> str:
    """For bodies: an entity breaks each trigger, so that readers of the source see it was done.

    Entities of the agent's own are shown as written: GitHub decodes them before it looks for mentions.
    """
    text = _ENTITY.sub("&amp;", clean(text))
    text = _MARKER.sub("&lt;!--", text)
    text = _CLOSING.sub(lambda m: f"{m[1]}{_GAP}{m[2]}{_GAP}", text)
    text = _COMMAND.sub(rf"\1{_GAP}/", text)
    return _MENTION.sub(f"@{_GAP}", text)


def plain(text: str) -> str:
    """For titles, which are not Markdown and become commit messages: one line, a zero-width space breaks each trigger."""
    text = " ".join(clean(text).split())
    text = _CLOSING.sub(lambda m: f"{m[1]}{_ZERO_WIDTH}{m[2]}{_ZERO_WIDTH}", text)
    return _MENTION.sub(f"@{_ZERO_WIDTH}", text)
