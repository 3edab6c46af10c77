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
            async with asyncio.timeout(timeout_s):  # not wait_for: on Python 3.11 that loses a cancellation that comes with the ring
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True
