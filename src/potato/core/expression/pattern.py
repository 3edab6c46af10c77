"""Globs and regular expressions, compiled to predicates whose time is linear in the text.

`*` matches any characters, `?` one; in paths neither crosses `/`, and `**` does. Everything else is
literal, and the whole text must match. `/re/` is an RE2 search (https://github.com/google/re2/wiki/Syntax).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from potato.core.expression.nodes import Regex

Predicate = Callable[[str], bool]

MAX_PATTERN: Final = 2000
MAX_WILDCARDS: Final = 64
_RE2_MEMORY: Final = 1 << 20
_LOOKS_FURTHER: Final = re.compile(r"\\[AzZCQ]|\(\?[A-Za-z]*[-U]")


class PatternError(Exception):
    """The pattern cannot be used; the message says why."""


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str | Regex, *, in_path: bool) -> Predicate:
    """A predicate over one text. Raises `PatternError`."""
    if isinstance(pattern, Regex):
        return _regex(pattern.pattern)
    return _glob(pattern, in_path=in_path)


@lru_cache(maxsize=1024)
def compile_prefilter(pattern: str) -> Predicate | None:
    """What must hold of many texts, joined by line feeds, if the regular expression is to be found in one of them.

    At the joints `^` and `$` match, and no word continues, as at the ends of each text. `None` for patterns that can tell them apart.
    """
    if _LOOKS_FURTHER.search(pattern):
        return None
    try:
        return _regex(f"(?m){pattern}")
    except PatternError:
        return None


def is_literal(glob: str) -> bool:
    """No wildcard in it."""
    return "*" not in glob and "?" not in glob


def _regex(pattern: str) -> Predicate:
    import re2

    if len(pattern) > MAX_PATTERN:
        message = f"the pattern is longer than {MAX_PATTERN} characters"
        raise PatternError(message)
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _RE2_MEMORY
    try:
        search = re2.compile(pattern, options).search
    except re2.error as error:
        reason = error.args[0]
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        message = f"no RE2 regular expression: {text}"
        raise PatternError(message) from None
    return lambda text: search(text) is not None


def _glob(glob: str, *, in_path: bool) -> Predicate:
    if len(glob) > MAX_PATTERN or glob.count("*") + glob.count("?") > MAX_WILDCARDS:
        message = f"the pattern is longer than {MAX_PATTERN} characters or has more than {MAX_WILDCARDS} wildcards"
        raise PatternError(message)
    if is_literal(glob):
        return glob.__eq__
    if in_path:
        return _path_glob(glob)
    if "?" in glob:
        return _via_re2(glob, in_path=False)
    return _stars(glob)


def _stars(glob: str) -> Predicate:
    """Only `*`, which matches anything: the pieces are found from the left, the last at the end."""
    first, *middle, last = glob.split("*")
    pieces = tuple(piece for piece in middle if piece)
    least = len(first) + len(last)
    if not pieces:
        return lambda text: len(text) >= least and text.startswith(first) and text.endswith(last)

    def match(text: str) -> bool:
        if len(text) < least or not text.startswith(first) or not text.endswith(last):
            return False
        at, end = len(first), len(text) - len(last)
        for piece in pieces:
            at = text.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return True

    return match


def _path_glob(glob: str) -> Predicate:
    """The usual forms by comparing ends; their literal parts cannot overlap, for a front ends with a slash and a tail has none."""
    front = glob[: glob.rfind("/", 0, glob.index("*") if "*" in glob else 0) + 1]
    rest = glob[len(front) :]
    if "?" in glob:
        return _via_re2(glob, in_path=True)
    if rest == "**":
        return lambda text: text.startswith(front)
    if not front and rest.startswith("**/") and rest.endswith("/**") and len(rest) > len("**//**") and is_literal(rest[3:-3]):
        within = rest[2:-2]
        return lambda text: within in f"/{text}"
    below = rest.startswith("**/")
    name = rest[3:] if below else rest
    if below and is_literal(name) and "/" not in name:
        last = f"/{name}"
        return lambda text: text.endswith(last) and text.startswith(front) if front else (text.endswith(last) or text == name)
    tail = name[1:]
    if name[:1] == "*" and is_literal(tail) and "/" not in tail:
        if below:
            return lambda text: text.endswith(tail) and text.startswith(front)
        start = len(front)
        return lambda text: text.endswith(tail) and text.startswith(front) and text.find("/", start) < 0
    return _via_re2(glob, in_path=True)


def _via_re2(glob: str, *, in_path: bool) -> Predicate:
    """By RE2, which is linear whatever the wildcards; translated when it is first used, for of many rules an event needs few."""
    compiled: list[Callable[[str], object]] = []
    front, tail = literal_ends(glob)

    def match(text: str) -> bool:
        if not (text.startswith(front) and text.endswith(tail)):
            return False  # most texts are told apart by their ends, which costs a tenth of a regular expression
        if not compiled:
            compiled.append(_fullmatch(_translated(glob, in_path=in_path)))
        return compiled[0](text) is not None

    return match


def _translated(glob: str, *, in_path: bool) -> str:
    star, one = ("[^/]*", "[^/]") if in_path else ("(?s:.)*", "(?s:.)")
    parts: list[str] = []
    at = 0
    while at < len(glob):
        if in_path and glob.startswith("**/", at) and (at == 0 or glob[at - 1] == "/"):
            parts.append("(?:(?s:.)*/)?")
            at += 3
        elif glob.startswith("**", at):
            parts.append("(?s:.)*")
            at += 2
        else:
            char = glob[at]
            parts.append(star if char == "*" else one if char == "?" else _escape(char))
            at += 1
    return "".join(parts)


def literal_ends(glob: str) -> tuple[str, str]:
    """What every match starts and ends with: the glob's literal front and tail. In a path `**/` may stand for nothing."""
    first = min(at for at in (glob.find("*"), glob.find("?")) if at >= 0)
    last = max(glob.rfind("*"), glob.rfind("?"))
    tail = glob[last + 1 :]
    return glob[:first], tail[1:] if tail.startswith("/") and glob[:last].endswith("*") else tail


def _escape(char: str) -> str:
    return char if char.isalnum() or char in "_/-" or ord(char) > 127 else f"\\x{{{ord(char):x}}}"  # noqa: PLR2004 - ASCII


def _fullmatch(pattern: str) -> Callable[[str], object]:
    import re2

    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options).fullmatch
