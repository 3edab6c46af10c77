"""How long an analysis may go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_STEPS_A_LOOK: Final = 64


class Cut(Exception):  # noqa: N818 - the analysis ends, nothing failed
    """The time is used up."""


@dataclass(slots=True)
class Budget:
    """`expired` is asked now and then, for asking costs time too."""

    expired: Callable[[], bool] = lambda: False
    _steps: int = 0

    def step(self) -> None:
        """Count a step. Raises `Cut` once the time is used up."""
        self._steps += 1
        if self._steps % _STEPS_A_LOOK == 0 and self.expired():
            raise Cut
