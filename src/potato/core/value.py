"""The values that rules see, and the third truth value.

A field of an event is one of: a string, an integer, a boolean, a tuple of strings (a field with
many values), `Partial` (a tuple known only in part), `UNKNOWN` (a fact nobody could fetch) or
absent, which is `None`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class _Unknown(Enum):
    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown.UNKNOWN


@dataclass(frozen=True, slots=True)
class Partial:
    """Some of a list: a match in it is known, a non-match is not."""

    values: tuple[str, ...]


Value = str | int | bool | tuple[str, ...] | Partial | _Unknown | None

Truth = bool | None
"""Kleene's three values; `None` is *unknown*."""


def negate(truth: Truth) -> Truth:
    """`not`, with unknown staying unknown."""
    return None if truth is None else not truth
