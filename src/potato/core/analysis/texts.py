"""Is there a text that some globs match and others do not? The product of their automata, searched breadth first."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from potato.core.analysis.budget import Budget

MAX_STATES: Final = 2_000
_FRESH: Final = "x0-_yzqjkw59"


class Pattern(NamedTuple):
    """A glob that a text must match, or must not."""

    glob: str
    wanted: bool


class TooLarge(Exception):  # noqa: N818 - the search gives up, nothing failed
    """More than `MAX_STATES` states."""


@dataclass(slots=True)
class _State:
    """Where reading a character leads: by the character, by any, or by any but a slash. `skip` needs no character."""

    char: str = ""
    then: int = 0
    any: list[int] = field(default_factory=list[int])
    within: list[int] = field(default_factory=list[int])
    skip: list[int] = field(default_factory=list[int])


class _Automaton:
    """A glob as a nondeterministic automaton; a set of its states is a bitmap."""

    def __init__(self, glob: str, *, in_path: bool) -> None:
        self._states = [_State()]
        at = 0
        while at < len(glob):
            at += self._token(glob, at, in_path=in_path)
        self._closures = [self._closure(number) for number in range(len(self._states))]
        self._accepting = 1 << (len(self._states) - 1)
        self._steps: dict[tuple[int, str], int] = {}
        self.start = self._closures[0]

    def _token(self, glob: str, at: int, *, in_path: bool) -> int:
        here = len(self._states) - 1
        state = self._states[here]
        if in_path and glob.startswith("**/", at) and (at == 0 or glob[at - 1] == "/"):
            loop = _State(any=[here + 1], char="/", then=here + 2)
            state.skip += [here + 1, here + 2]
            self._states += [loop, _State()]
            return 3
        if glob[at] == "*":
            double = in_path and glob.startswith("**", at)
            (state.any if double or not in_path else state.within).append(here)
            state.skip.append(here + 1)
            self._states.append(_State())
            return 2 if double else 1
        if glob[at] == "?":
            (state.within if in_path else state.any).append(here + 1)
        else:
            state.char, state.then = glob[at], here + 1
        self._states.append(_State())
        return 1

    def _closure(self, number: int) -> int:
        seen, waiting = 0, [number]
        while waiting:
            here = waiting.pop()
            if not seen >> here & 1:
                seen |= 1 << here
                waiting += self._states[here].skip
        return seen

    def step(self, states: int, char: str) -> int:
        """The states after reading one character."""
        key = (states, char)
        known = self._steps.get(key)
        if known is None:
            known = 0
            for number in _bits(states):
                state = self._states[number]
                targets = [*state.any, *(state.within if char != "/" else ()), *((state.then,) if char == state.char else ())]
                for target in targets:
                    known |= self._closures[target]
            self._steps[key] = known
        return known

    def chars(self, states: int) -> set[str]:
        """The characters that some of the states ask for."""
        return {self._states[number].char for number in _bits(states)} - {""}

    def accepts(self, states: int) -> bool:
        """Whether the text read so far matches."""
        return bool(states & self._accepting)


def find_text(patterns: Sequence[Pattern], *, in_path: bool, budget: Budget) -> str | None:
    """The shortest text that all wanted globs match and no other does; `None` if there is none.

    Raises `TooLarge` when it gives up, and `Cut` when the time is used up.
    """
    automata = [_Automaton(pattern.glob, in_path=in_path) for pattern in patterns]
    fresh = next(char for char in [*_FRESH, "\ue000"] if all(char not in pattern.glob for pattern in patterns) or char == "\ue000")
    start = tuple(automaton.start for automaton in automata)
    came: dict[tuple[int, ...], tuple[tuple[int, ...], str] | None] = {start: None}
    waiting = deque([start])
    while waiting:
        budget.step()
        here = waiting.popleft()
        if all(a.accepts(s) is p.wanted for a, s, p in zip(automata, here, patterns, strict=True)):
            return _spelled(came, here)
        chars = {char for automaton, states in zip(automata, here, strict=True) for char in automaton.chars(states)}
        for char in (*sorted(chars), fresh, "/"):
            there = tuple(automaton.step(states, char) for automaton, states in zip(automata, here, strict=True))
            if there in came or any(p.wanted and not s for s, p in zip(there, patterns, strict=True)):
                continue
            came[there] = (here, char)
            waiting.append(there)
        if len(came) > MAX_STATES:
            raise TooLarge
    return None


def _spelled(came: dict[tuple[int, ...], tuple[tuple[int, ...], str] | None], end: tuple[int, ...]) -> str:
    chars: list[str] = []
    step = came[end]
    while step:
        chars.append(step[1])
        step = came[step[0]]
    return "".join(reversed(chars))


def _bits(states: int) -> list[int]:
    found: list[int] = []
    while states:
        low = states & -states
        found.append(low.bit_length() - 1)
        states ^= low
    return found
