"""The inline executor: each step runs at once, in this process. Used in CI jobs and by `potato run`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class InlineDurable:
    """No recovery: what ends early is told by the run's stored state."""

    async def step(self, name: str, call: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG002 - the port's face
        """Run it."""
        return await call()
