"""One event as rules read it: its fields, and what was found out about them so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from potato.core.expression.shape import Places, ShapeName, keys_of
from potato.core.value import UNKNOWN, Partial, Value

Fields = Mapping[str, Value]


class Reading:
    """Made for one event and one thread. `get` answers a field's value; `found` names clauses on lists known to be true."""

    __slots__ = ("_joined", "_keys", "_places", "fields", "found", "get")

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.get = fields.get
        self.found: set[str] = set()
        self._keys: dict[tuple[str, str], frozenset[str]] = {}
        self._joined: dict[tuple[str, str], str | None] = {}
        self._places: dict[str, Places] = {}

    def keys(self, field: str, shape: ShapeName) -> frozenset[str]:
        """The keys in `shape` of a field with many values; of one known in part, those of the known values."""
        made = self._keys.get((field, shape))
        if made is None:
            made = self._keys[field, shape] = frozenset(self.values(field)) if shape == "exact" else keys_of(shape, self._places_of(field))
        return made

    def values(self, field: str) -> tuple[str, ...]:
        """The known values of a field with many."""
        value = self.get(field)
        known = value.values if isinstance(value, Partial) else () if value is None or value is UNKNOWN else value
        return cast("tuple[str, ...]", known)

    def joined(self, field: str, mark: str) -> str | None:
        """The known values in one text, `mark` before, between and after them; nothing if one of them holds the mark itself."""
        if (field, mark) not in self._joined:
            values = self.values(field)
            text = f"{mark}{mark.join(values)}{mark}"
            self._joined[field, mark] = text if text.count(mark) == max(len(values), 1) + 1 else None
        return self._joined[field, mark]

    def _places_of(self, field: str) -> Places:
        made = self._places.get(field)
        if made is None:
            made = self._places[field] = Places(self.values(field))
        return made
