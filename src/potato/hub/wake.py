"""A bell that any thread may ring and one loop waits for."""

from __future__ import annotations

import asyncio


class Wake:
    """Made in the loop that waits."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def ring(self) -> None:
        """From any thread; rings before somebody waits are not lost."""
        if not self._event.is_set() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, timeout_s: float) -> bool:
        """Until it rings or the time is over; whether it rang."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout_s)
        except TimeoutError:
            return False
        self._event.clear()
        return True
