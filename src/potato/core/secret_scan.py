"""Find a run's secrets in what its agent wants to publish, in the forms an agent may hide them in."""

from __future__ import annotations

import base64
import html
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote, unquote

MIN_LENGTH: Final = 8
_WINDOW: Final = 12
_ESCAPES: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4}))")
_NOT_WORD: Final = re.compile(r"[\W_]+")


def leaked(texts: Iterable[str], secrets: Mapping[str, str]) -> list[str]:
    """Names of the secrets of which a piece stands in the texts, taken together.

    A piece is half of the secret, twelve characters at most, read without case, white space, punctuation and invisible
    characters: as it is, reversed, or in hex, base64 (three offsets, both alphabets, twice, reversed, of UTF-16) or base32,
    also behind percent-encoding, entities and backslash escapes. Secrets under eight characters are not looked for. It does
    not find compression or encryption.
    """
    wanted = {name: _windows(secret) for name, secret in secrets.items() if len(secret) >= MIN_LENGTH}
    if not wanted:
        return []
    haystacks = _readings("\n".join(texts))
    return sorted(name for name, windows in wanted.items() if any(window in hay for hay in haystacks for window in windows))


def masked(text: str, secrets: Mapping[str, str]) -> str:
    """The text with each form of each secret replaced; where pieces of one still stand in it, nothing of it."""
    for secret in secrets.values():
        if secret:
            for form in sorted(
                _forms(secret) | {quote(secret, safe=""), *_split(secret)} if len(secret) >= MIN_LENGTH else {secret}, key=len, reverse=True
            ):
                if form:
                    text = text.replace(form, "***")
    names = leaked([text], secrets)
    return f"(withheld: it holds the secret {', '.join(names)})" if names else text


def _split(secret: str) -> set[str]:
    """As JSON and as Python write it."""
    return {json.dumps(secret)[1:-1], repr(secret)[1:-1]}


def _readings(text: str) -> list[str]:
    """The text, squeezed, in each way it may be decoded."""
    decoded = [text, unquote(unquote(text)), html.unescape(html.unescape(text)), _ESCAPES.sub(lambda m: chr(int(m[1] or m[2], 16)), text)]
    return list(dict.fromkeys(_squeeze(part) for part in dict.fromkeys(decoded)))


def _squeeze(text: str) -> str:
    """Letters and digits only, in one case; full-width and other look-alike forms as plain ones."""
    return _NOT_WORD.sub("", unicodedata.normalize("NFKC", text).casefold())


def _windows(secret: str) -> set[str]:
    """Every piece of every form that is long enough to tell the secret."""
    found: set[str] = set()
    for form in _forms(secret):
        squeezed = _squeeze(form)
        whole = _WINDOW * max(len(form) // len(secret), 1)
        size = min(whole, max(MIN_LENGTH, len(squeezed) // 2), len(squeezed))
        if size >= MIN_LENGTH:
            found |= {squeezed[at : at + size] for at in range(len(squeezed) - size + 1)}
    return found or {_squeeze(secret)} - {""}


def _forms(secret: str) -> set[str]:
    raw = secret.encode()
    once = _base64(raw) | _base64(secret.encode("utf-16-le"))
    twice = _base64(base64.b64encode(raw))
    forms = {secret, raw.hex(), base64.b32encode(raw).decode().rstrip("="), *once, *twice}
    return forms | {form[::-1] for form in forms}


def _base64(data: bytes) -> set[str]:
    """The part of the encoding that does not depend on what stands around the data, at each of three offsets."""
    cores: set[str] = set()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + data).decode()
        core = encoded[(0, 2, 3)[offset] : len(encoded) - (0 if (len(data) + offset) % 3 == 0 else 4)]
        cores |= {core, core.translate(str.maketrans("+/", "-_"))}
    return cores
