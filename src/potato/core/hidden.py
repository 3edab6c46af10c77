"""Take out of foreign text what people do not see when they read it: there an instruction to an agent would hide.

On GitHub these are HTML comments, comments written as link definitions, and characters without a shape: bidi controls, zero-width ones,
Unicode's tags and runs of variation selectors, by which whole sentences can be written unseen.

Source: https://docs.github.com/en/get-started/writing-on-github/getting-started-with-writing-and-formatting-on-github/basic-writing-and-formatting-syntax#hiding-content-with-comments
and https://www.unicode.org/reports/tr36/
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

REMOVED: Final = "[hidden text removed]"
_COMMENT: Final = re.compile(r"<!--.*?(?:--!?>|\Z)", re.DOTALL)
_LINK_COMMENT: Final = re.compile(
    r"^[ ]{0,3}\[[^\]\n]{1,200}\]:[ \t]*(?:#|<>|<#>|/)[ \t]*(?:(?:\"[^\n]*\"|'[^\n]*'|\([^\n]*\))[ \t]*)?$", re.MULTILINE
)
_SUSPECT: Final = re.compile(r"[^\n\t -~]")
_SELECTORS: Final = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
_BLANK: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")
"""Letters that look like nothing."""


def without_hidden(text: str, *, markdown: bool = True) -> str:
    """The text as people see it. In place of hidden text that was more than nothing stands `REMOVED`; files keep their comments."""
    if markdown:
        text = _COMMENT.sub(lambda m: REMOVED if m[0].strip("<!->\n\t ") else "", text)
        text = _LINK_COMMENT.sub(REMOVED, text)
    return without_shapeless(text)


def without_shapeless(text: str) -> str:
    """Without characters that have no shape; one variation selector after a character that has one stays."""
    if _SUSPECT.search(text) is None:
        return text
    kept: list[str] = []
    for char in text:
        if char in _SELECTORS:
            if kept and kept[-1] not in _SELECTORS and not kept[-1].isspace() and not kept[-1].isascii():
                kept.append(char)
        elif char in "\n\t" or (unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") and char not in _BLANK):
            kept.append(char)
    return "".join(kept)
