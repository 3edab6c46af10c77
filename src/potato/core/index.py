"""Which of many rules can matter for one event: bitmaps over what the rules ask of each field.

Every rule is a bit. For each field, the value of the event selects the rules that can still be true; the fields' selections are
ANDed, and only what remains is evaluated. Globs with a shape are looked up by key, all at once; those without, and regular
expressions, are evaluated for remaining rules only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, cast

from potato.core.expression import Node, Reading
from potato.core.expression.compile import name_of, predicate_of
from potato.core.expression.condition import Conditions, Trigger, conditions
from potato.core.expression.nodes import Test
from potato.core.expression.pattern import Predicate, literal_ends
from potato.core.expression.shape import ShapeName
from potato.core.fields import FIELDS
from potato.core.value import UNKNOWN, Partial, Value

_FEW: Final = 12
_DENSE: Final = 64
_CHEAP_FIRST: Final = ("action", "repository", "owner")

Posting = int | tuple[int, ...]
"""A set of rules: a bitmap where they are many, their numbers where they are few."""


class Index:
    """Made once for a table; read from any thread.

    Nearly every rule asks for its event, so the rules are first divided by that: each part has bitmaps of its own rules only.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._conditions = [conditions(node) for node in nodes]
        self._named: dict[Value, list[int]] = {}
        self._unnamed: list[int] = []
        for number, one in enumerate(self._conditions):
            triggers = one.pop("event", None)
            names = [trigger[1] for trigger in triggers or () if not isinstance(trigger, Test) and trigger[0] == "exact"]
            for name in names:
                self._named.setdefault(name, []).append(number)
            if triggers is None or len(names) < len(triggers):
                self._unnamed.append(number)
        self._parts: dict[Value, _Part] = {}

    def candidates(self, reading: Reading) -> Sequence[int]:
        """The numbers of the rules that may not be false, in order. No rule that is true or unknown is missing."""
        event = reading.get("event")
        if event is UNKNOWN:
            return range(len(self._conditions))
        name = event if event in self._named else None  # all events that no rule names share a part
        part = self._parts.get(name)
        if part is None:
            part = self._parts[name] = self._part(sorted({*self._named.get(name, ()), *self._unnamed}))
        return part.candidates(reading)

    def _part(self, numbers: Sequence[int]) -> _Part:
        return _Part(numbers, [self._conditions[number] for number in numbers])


class _Part:
    """The rules for one event."""

    def __init__(self, numbers: Sequence[int], every: Sequence[Conditions]) -> None:
        self._numbers = tuple(numbers)
        self._all = (1 << len(every)) - 1
        self._fields = [_FieldIndex(name, every) for name in _order(every)]

    def candidates(self, reading: Reading) -> list[int]:
        live = self._all
        for field in self._fields:
            live = field.narrow(live, reading)
            if not live:
                return []
        return [self._numbers[at] for at in _numbers(live)]


def _order(every: Sequence[Conditions]) -> list[str]:
    """The fields that the rules have conditions on: those with one value first, lists last, the costly paths at the very end."""
    used = {name for one in every for name in one}
    lists = ("path", *(name for name, field in FIELDS.items() if field.kind == "strings" and name != "path"))
    return sorted(used, key=lambda name: (name == "path", name in lists, name not in _CHEAP_FIRST, name))


class _FieldIndex:
    def __init__(self, name: str, every: Sequence[Conditions]) -> None:
        self._name = name
        self._many = FIELDS[name].kind == "strings"
        collected: dict[Trigger, list[int]] = {}
        asking: list[int] = []
        for number, one in enumerate(every):
            triggers = one.get(name)
            if triggers is not None:
                asking.append(number)
                for trigger in triggers:
                    collected.setdefault(trigger, []).append(number)
        self._asking = _bitmap(asking)
        self._free = ((1 << len(every)) - 1) & ~self._asking
        self._keys: dict[str, dict[Value, Posting]] = {}
        tests: list[tuple[Test, int]] = []
        for trigger, numbers in collected.items():
            if isinstance(trigger, Test):
                tests.append((trigger, _bitmap(numbers)))
            else:
                dense = len(numbers) * _DENSE > len(every)
                self._keys.setdefault(trigger[0], {})[trigger[1]] = _bitmap(numbers) if dense else tuple(numbers)
        self._lengths = {shape: _lengths(keys) for shape, keys in self._keys.items() if shape in ("prefix", "suffix")}
        self._tests = _Tests(tests)

    def narrow(self, live: int, reading: Reading) -> int:
        """The rules of `live` that what the event has in this field leaves open."""
        asking = live & self._asking
        if not asking or (self._many and asking.bit_count() <= _FEW):
            return live
        value = reading.get(self._name)
        if value is UNKNOWN or isinstance(value, Partial):
            return live
        if self._many:
            texts = reading.values(self._name)
            found = self._of_list(reading)
        else:
            texts = (value,) if isinstance(value, str) else ()
            found = _posted(self._keys.get("exact", {}), value)
        for shape, lengths in self._lengths.items():
            for _, key in _ends(texts, lengths, self._keys[shape], front=shape == "prefix"):
                found |= _posted(self._keys[shape], key)
        found |= self._tests.true_of(texts, asking & ~found, reading)
        return live & (self._free | found)

    def _of_list(self, reading: Reading) -> int:
        found = 0
        for shape, table in self._keys.items():
            if shape not in self._lengths:
                keys = reading.keys(self._name, cast("ShapeName", shape))
                smaller, larger = (keys, table) if len(keys) < len(table) else (table, keys)
                for key in smaller:
                    if key in larger:
                        found |= _posted(table, key)
        return found


class _Tests:
    """Patterns without a shape. Globs are found by the longer of their literal ends; regular expressions are tried."""

    def __init__(self, tests: Sequence[tuple[Test, int]]) -> None:
        self._anywhere: list[tuple[str, Predicate, int]] = []
        anchored: dict[bool, dict[str, list[tuple[str, Predicate, int]]]] = {True: {}, False: {}}
        for test, bitmap in tests:
            entry = (name_of(test), predicate_of(test), bitmap)
            ends = literal_ends(test.operand) if isinstance(test.operand, str) else ("", "")
            front = len(ends[0]) >= len(ends[1])
            anchor = ends[0] if front else ends[1]
            (anchored[front].setdefault(anchor, []) if anchor else self._anywhere).append(entry)
        self._anchored = [(front, _lengths(entries), entries) for front, entries in anchored.items() if entries]

    def true_of(self, texts: Sequence[str], wanted: int, reading: Reading) -> int:
        """The rules of `wanted` whose pattern one of the texts matches."""
        found = 0
        for front, lengths, anchored in self._anchored:
            for text, anchor in _ends(texts, lengths, anchored, front=front):
                for name, predicate, bitmap in anchored[anchor]:
                    if bitmap & wanted & ~found and predicate(text):
                        found |= bitmap
                        reading.found.add(name)
        for name, predicate, bitmap in self._anywhere:
            if bitmap & wanted & ~found and any(map(predicate, texts)):
                found |= bitmap
                reading.found.add(name)
        return found


def _lengths(texts: Iterable[Value]) -> list[int]:
    return sorted({len(str(text)) for text in texts})


def _ends(texts: Sequence[str], lengths: Sequence[int], wanted: Collection[Value], *, front: bool) -> Iterator[tuple[str, str]]:
    """Each text with each of `wanted` that it starts (or ends) with."""
    for length in lengths:
        if front:
            for text in texts:
                if text[:length] in wanted:
                    yield text, text[:length]
        else:
            for text in texts:
                if len(text) >= length and text[len(text) - length :] in wanted:
                    yield text, text[len(text) - length :]


def _posted(table: Mapping[Value, Posting], key: Value) -> int:
    posting = table.get(key, 0)
    return posting if isinstance(posting, int) else _bitmap(posting)


def _bitmap(numbers: Sequence[int]) -> int:
    if len(numbers) == 1:
        return 1 << numbers[0]
    if not numbers:
        return 0
    octets = bytearray(numbers[-1] // 8 + 1)
    for number in numbers:
        octets[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(octets, "little")


def _numbers(bitmap: int) -> Iterator[int]:
    """The set bits, ascending."""
    digits = bin(bitmap)
    last = len(digits) - 1
    at = digits.rfind("1")
    while at > 1:
        yield last - at
        at = digits.rfind("1", 2, at)
