"""How long an analysis may go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


class Cut(Exception):  # noqa: N818 - the analysis ends, nothing failed
    """The time is used up."""


@dataclass(frozen=True, slots=True)
class Budget:
    """`expired` is asked at every step: a term, a state, a value that is tried."""

    expired: Callable[[], bool] = lambda: False

    def step(self) -> None:
        """Go on. Raises `Cut` once the time is used up."""
        if self.expired():
            raise Cut
