"""Find a run's secrets in what its agent wants to publish, in the forms an agent may hide them in."""

from __future__ import annotations

import base64
import functools
import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Final
from urllib.parse import quote, unquote

MIN_LENGTH: Final = 8
_WINDOW: Final = 12
_KEPT: Final = 256
_MOST_LETTERS: Final = 8
_MOST_IN_ONE: Final = 5_000
_AUTOMATON_BYTES: Final = 64 << 20
_ESCAPES: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4}))")
_ZEROS: Final = re.compile(r"(?<=&#)0+(?=[0-9])")
_NO_CHARACTER: Final = re.compile(r"&#[0-9]{8,};?")
_NOT_WORD: Final = re.compile(r"[\W_]+")


def leaked(texts: Iterable[str], secrets: Mapping[str, str]) -> list[str]:
    """Names of the secrets of which a piece stands in the texts, taken together.

    A piece is half of the secret, twelve characters at most, read without case, white space, punctuation and invisible
    characters: as it is, reversed, or in hex, base64 (three offsets, both alphabets, twice, reversed, of UTF-16) or base32,
    also behind percent-encoding, entities and backslash escapes. Secrets under eight characters are not looked for. It does
    not find other codings (base85, decimal numbers, shifted letters), compression or encryption.
    """
    wanted = {name: _finder(secret) for name, secret in secrets.items() if len(secret) >= MIN_LENGTH}
    if not wanted:
        return []
    haystacks = _readings("\n".join(texts))
    return sorted(name for name, holds in wanted.items() if any(holds(hay) for hay in haystacks))


def masked(text: str, secrets: Mapping[str, str]) -> str:
    """The text with each form of each secret replaced; where pieces of one still stand in it, nothing of it."""
    for secret in secrets.values():
        for form in _written(secret):
            text = text.replace(form, "***")
    names = leaked([text], secrets)
    return f"(withheld: it holds the secret {', '.join(names)})" if names else text


@functools.lru_cache(maxsize=_KEPT)
def _written(secret: str) -> tuple[str, ...]:
    """Its forms, also as JSON and as Python write it, the longest first; one that is too short to look for is only itself."""
    if len(secret) < MIN_LENGTH:
        return (secret,) if secret else ()
    more = {quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    return tuple(sorted((form for form in _forms(secret) | more if form), key=len, reverse=True))


@functools.lru_cache(maxsize=_KEPT)
def _finder(secret: str) -> Callable[[str], bool]:
    """Whether a squeezed text holds a piece of it: one automaton of all pieces, or a look-up at each place where they would be too many."""
    windows = _windows(secret)
    if len(windows) <= _MOST_IN_ONE:
        import re2

        options = re2.Options()
        options.max_mem = _AUTOMATON_BYTES
        pattern = re2.compile("|".join(sorted(windows)), options)  # letters and digits only
        return lambda text: pattern.search(text) is not None
    sizes = sorted({len(window) for window in windows})
    return lambda text: any(text[at : at + size] in windows for size in sizes for at in range(len(text) - size + 1))


def _readings(text: str) -> list[str]:
    """The text, squeezed, in each way it may be decoded."""
    decoded = [text, unquote(unquote(text)), _unescaped(_unescaped(text)), _ESCAPES.sub(lambda m: chr(int(m[1] or m[2], 16)), text)]
    return list(dict.fromkeys(_squeeze(part) for part in dict.fromkeys(decoded)))


def _unescaped(text: str) -> str:
    """Its entities as characters; a number that is none's is nothing: Python would not read thousands of digits."""
    return html.unescape(_NO_CHARACTER.sub("", _ZEROS.sub("", text)))


def _squeeze(text: str) -> str:
    """Letters and digits only, in one case, without accents; full-width and other look-alike forms as plain ones."""
    return _NOT_WORD.sub("", text.casefold()) if text.isascii() else text.translate(_PLAIN)


class _Plain(dict[int, str | None]):
    """Code point -> what it is read as, character by character: normalising a text as a whole takes time that grows with the square of
    a run of marks, and makes eighteen letters of some.
    """  # noqa: D205 - one sentence more

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        if not char.isprintable():  # neither a letter nor a digit, and there are a million of them
            return None
        apart = "" if unicodedata.combining(char) else unicodedata.normalize("NFKD", char)
        letters = "".join(part for part in apart if not unicodedata.combining(part)).casefold()
        self[code] = "".join(letter for letter in letters if letter.isalnum())[:_MOST_LETTERS] or None
        return self[code]


_PLAIN: Final = _Plain()


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
