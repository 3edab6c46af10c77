"""The inline executor: each step runs at once, in this process. Used in CI jobs and by `potato run`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class InlineDurable:
    """No recovery: what ends early is told by the run's stored state."""

    patient = False

    async def step(self, name: str, call: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG002 - the port's face
        """Run it."""
        return await call()

    async def commit(self, call: Callable[[], T]) -> T:
        """Run it; nobody else is kept waiting for long."""
        return call()

    async def stoppable(self, run_id: str, work: Coroutine[Any, Any, T]) -> T:  # noqa: ARG002 - the port's face
        """Await it; the whole process is what can be stopped."""
        return await work
